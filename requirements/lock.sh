#!/bin/sh
# Writes the lock files anew: one resolution for all platforms and Pythons, hashed, naming no host.
set -eu
cd "$(dirname "$0")/.."
uv=$(command -v uv || echo .cache/bootstrap/bin/uv)
lock() {
    "$uv" pip compile --quiet --upgrade --universal --python-version 3.12 --generate-hashes --no-emit-index-url "$@"
}
lock --extra fem --extra node --extra test --extra docs --group build pyproject.toml -o requirements/test.txt
lock --extra fem --extra node --group build --constraints requirements/test.txt pyproject.toml -o requirements/run.txt
lock --no-deps --group oracle --constraints requirements/test.txt -o requirements/oracle.txt
lock --no-deps --group setup -o requirements/uv.txt
