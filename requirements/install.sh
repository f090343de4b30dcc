#!/bin/sh
# Makes .venv in this clone from the hashed locks beside this file. Nothing outside the clone is changed.
#
# An environment that already has DOLFINx (>= 0.11, real scalars) is used as it is: conda, a virtual environment that
# is switched on, the official image, Debian. Its packages are seen from .venv, and only what it lacks is installed.
# Otherwise DOLFINx comes from the lock, on a Python >= 3.12 from PATH, from pyenv's folder, or fetched by uv.
# To choose: PYTHON=/path/to/python make setup
set -eu
cd "$(dirname "$0")/.."
here=$(pwd)
pyenv=${PYENV_ROOT:-${HOME:-/root}/.pyenv}/versions
export XDG_CACHE_HOME="$here/.cache" UV_CACHE_DIR="${UV_CACHE_DIR:-$here/.cache/uv}"
export UV_PYTHON_INSTALL_DIR="$here/.cache/python" UV_PYTHON_INSTALL_BIN=0
export UV_HTTP_TIMEOUT="${UV_HTTP_TIMEOUT:-300}" PIP_DISABLE_PIP_VERSION_CHECK=1
mkdir -p .cache

say() { echo "setup: $*" >&2; }

# FFCx compiles forms against Python's headers, which a bare system Python may lack; no wheels are free-threaded.
is_usable() {
    "$1" - 2>/dev/null <<'EOF'
import os
import sys
import sysconfig

headers = os.path.isfile(os.path.join(sysconfig.get_path("include"), "Python.h"))
threaded = sysconfig.get_config_var("Py_GIL_DISABLED")
sys.exit(not ((3, 12) <= sys.version_info < (3, 15) and headers and not threaded))
EOF
}

# The wheel of DOLFINx in somebody's environment does not count: it works in that environment only, and the lock has it.
has_dolfinx() {
    (cd / && "$1" - 2>/dev/null) <<'EOF'
import re
import sys

import dolfinx
from petsc4py import PETSc

import dolfinx.fem.petsc

version = tuple(int(part) for part in re.findall(r"\d+", dolfinx.__version__)[:2])
real = not issubclass(PETSc.ScalarType, complex)
sys.exit(not (sys.version_info >= (3, 12) and version >= (0, 11) and real))
EOF
}

# A Python that already has DOLFINx, but never this clone's own .venv.
provider() {
    set -- ${VIRTUAL_ENV:+"$VIRTUAL_ENV/bin/python"} ${CONDA_PREFIX:+"$CONDA_PREFIX/bin/python"} \
        "$(command -v python3 || true)" /usr/bin/python3
    [ -z "${PYTHON:-}" ] || set -- "$PYTHON"
    for candidate in "$@"; do
        case "$candidate" in "$here"/.venv/* | "") continue ;; esac
        if has_dolfinx "$candidate"; then
            echo "$candidate"
            return
        fi
    done
}

# Any Python >= 3.12; shims of pyenv may fail, so its folder of versions is looked into.
interpreter() {
    set -- python3.13 python3.12 python3.14 python3 python "$pyenv"/3.13*/bin/python "$pyenv"/3.1[24]*/bin/python
    for candidate in ${PYTHON:+"$PYTHON"} "$@"; do
        if is_usable "$candidate"; then
            "$candidate" -c 'import os, sys; print(os.path.realpath(sys.executable))'
            return
        fi
    done
}

# uv from PATH, or from an environment of its own inside the clone.
find_uv() {
    if uv --version >/dev/null 2>&1; then
        uv=uv
        return
    fi
    tool=$here/.cache/bootstrap
    uv=$tool/bin/uv
    for candidate in "$@" python3 /usr/bin/python3 "$pyenv"/3.*/bin/python; do
        if "$uv" --version >/dev/null 2>&1; then
            return
        fi
        rm -rf "$tool"
        "$candidate" -m venv "$tool" >/dev/null 2>&1 || continue
        "$tool/bin/python" -m pip install --quiet --require-hashes -r requirements/uv.txt >&2 || continue
    done
    if ! "$uv" --version >/dev/null 2>&1; then
        say "cannot get uv: install it, or a Python with venv and pip (apt install python3-venv), and try again"
        exit 1
    fi
}

found=$(provider)
base=${found:-$(interpreter)}
find_uv ${base:+"$base"}
if [ -z "$base" ]; then
    say "no Python 3.12 to 3.14 with headers here: uv fetches one into .cache"
    if ! "$uv" python install 3.13 || ! base=$("$uv" python find --managed-python 3.13); then
        say "no Python could be fetched: install Python 3.12 to 3.14 with its headers (apt install python3-dev)"
        exit 1
    fi
fi

say "$base, $("$uv" --version)"
# A .venv that borrowed DOLFINx is made again once there is none to borrow, and the other way round.
state="$base, DOLFINx $([ -n "$found" ] && echo borrowed || echo from the lock)"
if [ "$(cat .venv/.base 2>/dev/null)" != "$state" ] || ! .venv/bin/python -c '' 2>/dev/null; then
    rm -rf .venv
    "$uv" venv --quiet --python "$base" .venv
    echo "$state" >.venv/.base
fi
install() { "$uv" pip install --quiet --python .venv/bin/python --no-deps --require-hashes "$@"; }

if [ -n "$found" ]; then
    say "uses the DOLFINx of $found"
    "$found" requirements/borrow.py .venv
    list() { .venv/bin/python requirements/missing.py requirements/test.txt >.cache/missing.txt; }
    for level in 1 2 3 4 5 6 7 8; do
        list
        grep -q == .cache/missing.txt || break
        say "adds $(grep -c == .cache/missing.txt) packages (level $level)"
        install -r .cache/missing.txt
    done
    sh requirements/types.sh "$uv"
else
    install -r requirements/test.txt
fi
install -r requirements/oracle.txt
"$uv" pip install --quiet --python .venv/bin/python --no-deps --no-build-isolation --editable .
# Bytecode for what a fit loads: half of its start, and an environment may forbid Python to write it later.
.venv/bin/python requirements/bytecode.py
