"""What the main process of a Job does that is a box: it makes the image fit, guards it and stays.

The box half does not come along, since nothing documents how long a Job's command may be: a Job
that is not armed in time ends itself (devbox.providers.guarded), and its timeout is max_uptime.
"""

from __future__ import annotations

import hashlib

from devbox.providers import guarded
from devbox.providers.base import Request
from devbox.wire.messages import PauseRecipe

# Programs that a box needs, each with the Debian package it comes in. Best effort: an image
# without apt-get, or that runs as another user, must bring them.
_SCRIPT = r"""
stop="$1"
rm -f "$stop"
export HOME="${HOME:-/root}"
@GUARD@ &
guard=$!
trap 'kill "$guard"; exit 0' TERM INT
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
kill "$guard"
echo "devbox: stopped from inside"
"""


def command(request: Request) -> list[str]:
    """Runs until the stop file appears, or the Job is cancelled or times out."""
    guard = guarded.command(request, recipe(request.token))
    script = _SCRIPT.replace("@GUARD@", guard)
    return ["sh", "-c", script, "devbox", stop_file(request.token)]


def recipe(token: str) -> PauseRecipe:
    """The watchdog's recipe: the main process sees the file and ends, and with it the Job."""
    return PauseRecipe("exec", ("touch", stop_file(token)), armed=_file("armed", token))


def stop_file(token: str) -> str:
    """The file whose appearance ends the Job of that token."""
    return _file("stop", token)


def _file(what: str, token: str) -> str:
    """The same path for every user and HOME, and the same only for this box."""
    name = hashlib.sha256(token.encode()).hexdigest()[:24]
    return f"/tmp/.devbox-{what}-{name}"  # noqa: S108
