#!/bin/sh
# Makes .venv/types, where types are checked against the lock's numpy whichever numpy is borrowed: its annotations
# change from version to version. All other packages are those of .venv. Usage: sh requirements/types.sh UV
set -eu
cd "$(dirname "$0")/.."
uv=$1
wanted=$(sed -n 's/^numpy==\([^ ]*\).*/\1/p' requirements/test.txt)
rm -rf .venv/types
[ "$(.venv/bin/python -c 'import numpy; print(numpy.__version__)')" != "$wanted" ] || exit 0
"$uv" venv --quiet --python .venv/bin/python .venv/types
sed -n '/^numpy==/,/^[^ ]/{/^numpy==/p;/^ /p;}' requirements/test.txt >.cache/numpy.txt
"$uv" pip install --quiet --python .venv/types/bin/python --no-deps --require-hashes -r .cache/numpy.txt
place=$(.venv/types/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
.venv/bin/python -c 'import sys; print(*(p for p in sys.path if "-packages" in p), sep="\n")' >"$place/beside.pth"
