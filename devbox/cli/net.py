"""The last net of the command line: any exception as an error a user can act on."""

from __future__ import annotations

import errno
import os
import sys
import traceback

from devbox import __version__, paths
from devbox.errors import DevboxError
from devbox.files import write_atomic
from devbox.text import clean

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS)
_LIMIT = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)
_RECORDED = "what was asked of a provider is journalled, and boxes that run keep costing"


def explained(error: Exception) -> DevboxError:
    """`error` itself when it is devbox's. The system's errors by what they are; anything else is a
    fault of devbox: its traceback goes to a file, for a report, and not to the terminal."""
    if isinstance(error, DevboxError):
        return error
    if isinstance(error, OSError) and (known := of_system(error)):
        return known
    if isinstance(error, MemoryError):
        return DevboxError("there is not enough memory", means=_RECORDED, fix="close some programs")
    return _fault(error)


def of_system(error: OSError) -> DevboxError | None:
    """What the system refused, where that is told by its number; None for any other."""
    name = (
        clean(os.fsdecode(error.filename), 200) if isinstance(error.filename, (str, bytes)) else ""
    )
    at = f": {name}" if name else ""
    said = clean(error.strerror or str(error), 200)
    if error.errno in _FULL:
        return DevboxError(
            f"the disk is full{at} ({said})",
            means=_RECORDED,
            fix="free some space (df -h), then: devbox reconcile",
        )
    if error.errno in _REFUSED:
        return DevboxError(
            f"this account may not do that{at} ({said})",
            means=_RECORDED,
            fix=f"look at who owns it: ls -ld {name or paths.home()}",
        )
    if error.errno in _LIMIT:
        return DevboxError(
            f"this computer has run out of files or memory{at} ({said})",
            means=_RECORDED,
            fix="end some programs, or raise the limit: ulimit -n 4096",
        )
    if error.errno == errno.ENOENT and not _has_cwd():
        return DevboxError(
            "the current folder no longer exists", fix="go to one that does, such as: cd ~"
        )
    return None


def _has_cwd() -> bool:
    try:
        os.getcwd()
    except OSError:
        return False
    return True


def _fault(error: Exception) -> DevboxError:
    kind = type(error).__name__
    text = "".join(traceback.format_exception(error))
    try:
        file = paths.home() / "last-error.txt"
        report = f"devbox {__version__}, Python {sys.version}\n{text}"
        write_atomic(file, report.encode("utf-8", "replace"))
        where = f"report it with {file}, after a look for what is private in it"
    except (OSError, DevboxError):
        sys.stderr.write(clean(text, 20_000))
        where = "report it with the lines above"
    return DevboxError(
        f"devbox itself failed: {kind}: {clean(str(error), 300)}",
        means=_RECORDED,
        fix=f"devbox reconcile checks what runs; {where}",
    )
