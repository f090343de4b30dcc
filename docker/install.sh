#!/bin/sh
# Installs this package at the locked versions: the one step that the images and the test in a clean Debian share.
#
# Usage: sh docker/install.sh [EXTRAS], with EXTRAS of pyproject.toml such as "node".
# PYTHON names the Python to install into; if not given, the first one that has DOLFINx, else python3: builders such as
# Apptainer do not put the base image's own on the path. On Debian and Ubuntu, as root, it first adds the
# compiler that FFCx needs at run time and the libraries that VTK draws with.
set -eu
cd "$(dirname "$0")/.."
python=${PYTHON:-}
for candidate in python3 /dolfinx-env/bin/python3 /usr/local/bin/python3 /usr/bin/python3; do
    [ -z "$python" ] || break
    ! "$candidate" -c 'import dolfinx' 2>/dev/null || python=$candidate
done
python=${python:-python3}

if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
    apt-get update -q=2
    DEBIAN_FRONTEND=noninteractive apt-get install -q=2 --no-install-recommends gcc libc6-dev libegl1 libgl1 libxrender1
    rm -rf /var/lib/apt/lists/*
fi

# The lock as constraints: versions without hashes, since the base may bring packages of its own.
constraints=$(mktemp)
trap 'rm -f "$constraints"' EXIT
sed -e '/^ /d' -e '/^#/d' -e 's/ *\\$//' requirements/run.txt >"$constraints"
"$python" -m pip install --no-cache-dir --constraint "$constraints" ".${1:+[$1]}"
