"""The box's programs: `python -m devbox.providers.local.server FOLDER`, its start-up on stdin.

The program started becomes the guard (guard.py) in the background, and its child the SSH server.
The server listens before it imports asyncssh, so that a client's first packets wait in the kernel
rather than the client for us: nothing heavy may be imported at the top of this file.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import time
from pathlib import Path

from devbox.providers.local import guard
from devbox.providers.local.box_dir import RUNNING, BoxDir, Start

ALREADY = 3
"""Exit code: this box has a living guard already."""


def main() -> int:
    """stdin: {"life", "uptime", "env", "keys"}; env may hold secrets, which stay in memory.
    Returns once the guard holds its lock, in the background from there."""
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGTERM, signal.SIGCHLD):
        # nohup or a shell's '&' may have made us ignore some, and every session would with us.
        signal.signal(number, signal.SIG_DFL)
    start: Start = json.load(sys.stdin)
    folder = BoxDir(Path(sys.argv[1]))
    held = folder.take("guard.lock")
    if held is None:
        return ALREADY
    if os.fork():
        os._exit(0)
    os.setsid()
    guard.adopt_orphans()
    server = os.fork()
    if server:
        guard.watch(folder, start["life"], server, start["uptime"])
        sys.stderr.flush()
        os._exit(0)  # at once: whoever reads the meter next finds nothing left
    os.close(held)
    return _serve(folder, start)


def _serve(folder: BoxDir, start: Start) -> int:
    folder.take("server.lock")
    goal = folder.goal()
    if goal is None or (goal.want, goal.life) != (RUNNING, start["life"]):
        return 0
    listener = _listen(folder)
    folder.beat()
    folder.stamp_start(start["life"])
    folder.write_server(listener.getsockname()[1], start["life"])
    began = time.time(), time.monotonic()

    from devbox.providers.local import sshd

    reason = sshd.serve(folder, start, listener, began)
    if reason and not folder.holds("guard.lock"):
        # Someone killed our guard: we see to our own end.
        guard.finish(folder, start["life"], reason)
    sys.stderr.flush()
    os._exit(0)


def _listen(folder: BoxDir) -> socket.socket:
    """On the port of the last life where it is free, so that open editors find the box again."""
    last = folder.server()
    for port in (last.port if last else 0, 0):
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except OSError:
            listener.close()
            if not port:
                raise
            continue
        listener.listen(128)
        listener.setblocking(False)
        return listener
    raise AssertionError


if __name__ == "__main__":
    sys.exit(main())
