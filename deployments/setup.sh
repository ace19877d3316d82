#!/bin/sh
# Make the virtual environment that the Makefile uses. Reads PYTHON, VENV, LOCK.
set -eu

fail() { printf 'allsky360 set-up: %s\n' "$1" >&2; exit 1; }

command -v "$PYTHON" >/dev/null 2>&1 ||
    fail "$PYTHON is not installed. Run: sudo apt install python3 python3-venv"
"$PYTHON" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' ||
    fail "$("$PYTHON" -V) is not supported; Python 3.11 to 3.13 is. Name another: make PYTHON=python3.12 …"
"$PYTHON" -c 'import ensurepip, venv' 2>/dev/null ||
    fail "the venv module is missing. Run: sudo apt install python3-venv"

started=$(date +%s)
[ -x "$VENV/bin/python" ] || "$PYTHON" -m venv "$VENV"
# uv comes from the package index like everything else; --require-hashes checks every file.
"$VENV/bin/python" -m pip --version >/dev/null 2>&1 || "$VENV/bin/python" -m ensurepip
"$VENV/bin/python" -m pip install --quiet --disable-pip-version-check uv
"$VENV/bin/uv" pip install --quiet --python "$VENV/bin/python" --require-hashes -r "$LOCK"
"$VENV/bin/uv" pip install --quiet --python "$VENV/bin/python" --no-deps --editable .
touch "$VENV/.installed"
printf 'allsky360 set-up: done in %s s (%s)\n' "$(($(date +%s) - started))" "$VENV"
