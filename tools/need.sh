#!/bin/sh
# Make sure programs are there: need.sh PROGRAM:DEBIAN-PACKAGES … ; installs them when root on
# Debian, otherwise names what to install. `ensurepip` stands for Python's own module.
set -eu
missing=""
for pair in "$@"; do
    program=${pair%%:*}
    if [ "$program" = ensurepip ] || ! command -v "$program" >/dev/null 2>&1; then
        missing="$missing ${pair#*:}"
    fi
done
[ -z "$missing" ] && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "installing:$missing"
    export DEBIAN_FRONTEND=noninteractive
    # shellcheck disable=SC2086
    apt-get install -y -qq $missing >/dev/null 2>&1 ||
        { apt-get update -qq && apt-get install -y -qq $missing >/dev/null; }
    exit 0
fi
echo "please install:$missing (Debian: sudo apt-get install$missing)" >&2
exit 1
