"""Runs dockerd for as long as a holder lives: python -m tests.images.keeper"""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path

import psutil
from filelock import FileLock

from tests.images.engine import RUN, SOCKET, data_root, holder_name, stop

_LOOK = 0.5  # seconds between two looks at the holders


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    (RUN / "dockerd.pid").unlink(missing_ok=True)
    daemon = subprocess.Popen(
        [
            "dockerd",
            *("--host", f"unix://{SOCKET}"),
            *("--data-root", str(data_root())),
            *("--exec-root", str(RUN / "exec")),
            *("--pidfile", str(RUN / "dockerd.pid")),
            *("--log-level", "warn"),
        ],
        stdin=subprocess.DEVNULL,
    )
    while daemon.poll() is None:
        time.sleep(_LOOK)
        # Nobody can begin to hold it between the look and its end.
        with FileLock(RUN / "lock"):
            held = any(_alive(holder) for holder in (RUN / "holders").iterdir())
            if not held and daemon.poll() is None:
                stop(psutil.Process(daemon.pid))


def _alive(holder: Path) -> bool:
    try:
        alive = holder_name(psutil.Process(int(holder.name.partition("-")[0]))) == holder.name
    except psutil.NoSuchProcess:
        alive = False
    if not alive:
        holder.unlink(missing_ok=True)
    return alive


if __name__ == "__main__":
    main()
