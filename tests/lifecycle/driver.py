"""A devbox process that is killed at one journalled step: driver.py VERB STEP before|after.

It is the real thing up to the kill -9: real store, real provider, real ssh.
"""

from __future__ import annotations

import os
import signal
import sys

from devbox import lifecycle
from devbox.workspace import Workspace


def main() -> None:
    verb, step, phase = sys.argv[1:4]
    ws = Workspace.open()

    def die(name: str, when: str) -> None:
        if (name, when) == (step, phase):
            os.kill(os.getpid(), signal.SIGKILL)

    ws.on_step = die
    if verb == "up":
        lifecycle.up(ws, "b")
    else:
        getattr(lifecycle, verb)(ws, ws.box("b"))


if __name__ == "__main__":
    main()
