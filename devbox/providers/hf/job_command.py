"""What the main process of a Job does that is a box: it makes the image fit and stays."""

from __future__ import annotations

import hashlib

# Programs that a box needs, each with the Debian package it comes in. Best effort: an image
# without apt-get, or that runs as another user, must bring them.
_SCRIPT = r"""
stop="$1"
rm -f "$stop"
trap 'exit 0' TERM INT
missing=
for pair in rsync:rsync python3:python3 git:git curl:curl ps:procps; do
  command -v "${pair%%:*}" >/dev/null 2>&1 || missing="$missing ${pair##*:}"
done
if [ -n "$missing" ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
  echo "devbox: installing$missing"
  apt-get update -qq && apt-get install -y -qq --no-install-recommends $missing
fi
echo "devbox: ready"
while [ ! -e "$stop" ]; do
  sleep 1 &
  wait $!
done
rm -f "$stop"
echo "devbox: stopped from inside"
"""


def command(token: str) -> list[str]:
    """Runs until the stop file appears, or the Job is cancelled or times out."""
    return ["sh", "-c", _SCRIPT, "devbox", stop_file(token)]


def stop_file(token: str) -> str:
    """The file whose appearance ends the Job of that token: the same path for every user and
    HOME, and the same only for this box."""
    return f"/tmp/.devbox-stop-{hashlib.sha256(token.encode()).hexdigest()[:24]}"  # noqa: S108
