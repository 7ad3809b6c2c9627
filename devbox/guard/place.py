"""The guard's folder, DEVBOX_HOME/guard, and the lock that one guard at a time holds. Imports
little: this stays in memory."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from devbox import paths
from devbox.errors import Busy
from devbox.files import private_dir


def folder() -> Path:
    return private_dir(paths.home() / "guard")


def hold() -> int:
    """Be the guard of this DEVBOX_HOME, as long as the file that is returned stays open. Busy names
    the one there is."""
    handle = os.open(folder() / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        raise Busy(
            f"a guard runs already (process {running() or 'unknown'})",
            means="this one did not begin; the other continues",
            fix="devbox guard --status",
        ) from None
    os.ftruncate(handle, 0)
    os.pwrite(handle, b"%d\n" % os.getpid(), 0)
    return handle


def running() -> int | None:
    """Process id of the guard; 0 for one that did not say its own; None when none runs."""
    try:
        handle = os.open(folder() / "lock", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            said = os.pread(handle, 20, 0).strip()
            return int(said) if said.isdigit() else 0
        return None
    finally:
        os.close(handle)
