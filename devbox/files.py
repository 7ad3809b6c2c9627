"""Files written so that a crash or a second process never leaves half of one, in folders that only
we can write to."""

from __future__ import annotations

import errno
import os
import shlex
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from devbox.errors import DevboxError, Locked


def our_uids() -> set[int]:
    """Who counts as us: this process's user and, for root through sudo, the user who called it."""
    caller = os.environ.get("SUDO_UID", "")
    through_sudo = os.geteuid() == 0 and caller.isdecimal()
    return {os.geteuid(), int(caller)} if through_sudo else {os.geteuid()}


def private_dir(path: Path, *, parents: bool = False) -> Path:
    """`path` as a folder that only we can write to, made (0700) when it is missing. DevboxError for
    one that is there and is not: what we would read there, others could have put there."""
    path.mkdir(mode=0o700, parents=parents, exist_ok=True)
    link, found = os.lstat(path), os.stat(path)
    if not {link.st_uid, found.st_uid} <= our_uids():
        raise _shared(path, "belongs to another user", f"move it away: {shlex.quote(str(path))}")
    if found.st_mode & 0o022:
        fix = f"look at what is in it, then: chmod go-w {shlex.quote(str(path))}"
        raise _shared(path, "can be written to by other users", fix)
    return path


def _shared(path: Path, why: str, fix: str) -> DevboxError:
    return DevboxError(
        f"devbox's folder {path} {why}", means="nothing was read or changed there", fix=fix
    )


def write_atomic(path: Path, content: bytes | str, *, mode: int | None = None) -> None:
    """Replace `path` in one step. A symlink is followed and kept; the mode of an existing file
    is kept unless `mode` is given; a new file is 0600. OSError for links in a circle."""
    target = Path(os.path.realpath(path))
    if target.is_symlink():
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
    if mode is None:
        mode = (target.stat().st_mode & 0o7777) if target.exists() else 0o600
    import tempfile

    data = content.encode() if isinstance(content, str) else content
    handle, temporary = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(temporary, mode)
        os.replace(temporary, target)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(temporary)
        raise


@contextmanager
def locked(path: Path, *, timeout: float = 30.0) -> Iterator[None]:
    """Hold an inter-process lock on `path` (the lock file itself). Locked after `timeout` s."""
    from filelock import FileLock, Timeout

    try:
        with FileLock(path, timeout=timeout):
            yield
    except Timeout as error:
        raise Locked(
            f"another devbox process has held {path.name} for {timeout:.0f} s",
            fix="wait for it to end, or look for it with: ps aux | grep devbox",
        ) from error
