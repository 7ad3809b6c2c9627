"""The terminals of this box's user: who typed last, and a line for whoever looks at one.

The kernel moves a terminal's access time when a program reads input from it, in steps of 8 s
(drivers/tty/tty_io.c, tty_update_time), whatever the ssh server in front of it counts.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any, Dict, List, Optional

from devbox.onbox.wire import clean

PTS = Path("/dev/pts")
_LIMIT = 300  # characters


def mine(folder: Path = PTS) -> List[Path]:
    """The pseudo-terminals that belong to this user."""
    found = []
    try:
        names = os.listdir(folder)
    except OSError:
        return []
    for name in names:
        if not name.isdigit():
            continue
        path = folder / name
        try:
            about = path.stat()
        except OSError:
            continue  # closed meanwhile
        if about.st_uid == os.getuid() and stat.S_ISCHR(about.st_mode):
            found.append(path)
    return sorted(found, key=lambda path: int(path.name))


def look(folder: Path = PTS) -> Optional[Dict[str, Any]]:
    """The "tty" part of a sample; None where terminals cannot be seen."""
    if not folder.is_dir():
        return None
    times = []
    for path in mine(folder):
        try:
            times.append(path.stat().st_atime)
        except OSError:
            continue  # closed meanwhile
    return {"count": len(times), "input_at": max(times) if times else None}


def say(message: str, folder: Path = PTS) -> int:
    """Show one line on each; how many took it. A terminal that is stuck is passed over."""
    line = clean(message, _LIMIT).replace("\n", " ")
    data = f"\r\n[devbox] {line}\r\n".encode("utf-8", "replace")
    told = 0
    for path in mine(folder):
        try:
            handle = os.open(path, os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK)
        except OSError:
            continue  # closed meanwhile
        try:
            told += os.write(handle, data) > 0
        except OSError:
            continue  # its reader stands still; the event tells it too
        finally:
            os.close(handle)
    return told
