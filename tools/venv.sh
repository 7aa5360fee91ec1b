#!/usr/bin/env bash
# Makes the virtual environment: pinned dependencies by hash, then Fairlead itself. Called by the Makefile.
set -euo pipefail
venv=$1
python=${PYTHON:-python3}
if ! command -v "$python" > /dev/null; then
  echo "setup: $python was not found: install Python 3.11 or newer, or name one with PYTHON=" >&2
  exit 1
fi
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  echo "setup: $("$python" --version) is too old: Fairlead needs Python 3.11 or newer; name one with PYTHON=" >&2
  exit 1
fi
if ! "$python" -c 'import venv, ensurepip' 2> /dev/null; then
  echo "setup: $python lacks the module venv: install it (Debian: apt-get install python3-venv)" >&2
  exit 1
fi
echo "setup: making $venv with the pinned dependencies (about a minute, once)" >&2
"$python" -m venv "$venv"
pip() { "$venv/bin/python" -m pip --disable-pip-version-check -q "$@"; }
pip install --require-hashes -r requirements.lock
pip install --no-deps --no-build-isolation -e .
touch "$venv/.installed"
