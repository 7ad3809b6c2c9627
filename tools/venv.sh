#!/bin/sh
# Make a virtual environment: venv.sh PYTHON FOLDER. Installs python3-venv when root on Debian.
set -eu
python=${1:-}
folder=$2
if [ -z "$python" ]; then
    echo "devbox needs Python 3.11 or newer: apt-get install python3, or brew install python" >&2
    exit 1
fi
[ -x "$folder/bin/pip" ] && exit 0
if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    "$(dirname "$0")/need.sh" ensurepip:python3-venv
fi
"$python" -m venv "$folder"
