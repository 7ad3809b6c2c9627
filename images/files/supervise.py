"""Runs a Space's app as a child, so that the app can be restarted and its container stays:

    python3 supervise.py COMMAND ARGUMENT …

SIGHUP ends the command and starts it again, with the files as they are now. ~/.devbox-app.json
says who to send it to. When the command ends by itself, this ends with its code, as if the command
had been the main process.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time

LOOK = 0.1  # seconds between looks at the child
GRACE = 10.0  # seconds from SIGTERM to SIGKILL
NOTE = os.path.join(os.path.expanduser("~"), ".devbox-app.json")


def main(command):
    asked = []
    for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda received, _: asked.append(received))
    starts = 0
    while True:
        child = subprocess.Popen(command, start_new_session=True)
        starts += 1
        note({"pid": os.getpid(), "starts": starts, "command": command})
        while child.poll() is None and not asked:
            time.sleep(LOOK)
        if not asked:
            return child.returncode if child.returncode >= 0 else 128 - child.returncode
        end(child)
        if asked != [signal.SIGHUP] * len(asked):
            return 0
        del asked[:]


def end(child):
    """End the child and what it started in its session."""
    until = time.monotonic() + GRACE
    send(child, signal.SIGTERM)
    while child.poll() is None and time.monotonic() < until:
        time.sleep(LOOK)
    send(child, signal.SIGKILL)
    child.wait()


def send(child, number):
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, number)


def note(value):
    part = NOTE + ".new"
    try:
        with open(part, "w") as stream:
            json.dump(value, stream)
        os.replace(part, NOTE)
    except OSError as error:
        print(f"devbox: {NOTE} cannot be written: {error}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(f"usage: {sys.argv[0]} COMMAND …")
    sys.exit(main(sys.argv[1:]))
