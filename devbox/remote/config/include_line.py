"""One Include line at the top of someone else's ssh config, put in and taken out byte for byte."""

from __future__ import annotations

from pathlib import Path, PurePath

from devbox import files
from devbox.errors import SshError
from devbox.remote.config.blocks import quoted


def text(target: PurePath) -> str:
    """The line for `target`. ssh treats the path as a glob, so those characters are escaped."""
    plain = quoted(target, tokens=False)
    return "Include " + "".join(f"\\{c}" if c in "*?[" else c for c in plain)


def by_hand(target: PurePath) -> str:
    """What a user does where devbox cannot write the file."""
    return f"put this line at its top yourself: {text(target)}"


def add(config: Path, target: PurePath, made: Path) -> bool:
    """Make the Include the first line of `config`, creating the file (0600, its folder 0700) if
    need be. False when it is the first line already. SshError when the file is not writable.
    made: a file of ours that exists while `config` is one that we created."""
    there = config.exists()
    before = config.read_bytes() if there else b""
    if before.splitlines()[:1] == [text(target).encode()]:
        return False
    check_writable(config, target)
    config.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not there and not config.is_symlink():
        made.touch()
    files.write_atomic(config, put(before, target))
    return True


def take(config: Path, target: PurePath, made: Path) -> bool:
    """Remove the Include from `config`; a file that we made and nobody wrote in since goes with
    it. False when it is not there."""
    before = config.read_bytes() if config.exists() else b""
    after = strip(before, target)
    if after == before:
        return False
    check_writable(config, target)
    if made.exists() and not after.strip():
        config.unlink()
    else:
        files.write_atomic(config, after)
    made.unlink(missing_ok=True)
    return True


def restore(config: Path, before: bytes | None, made: Path) -> None:
    """Undo `add`: the previous bytes are back, or there is no file again."""
    if before is None:
        config.resolve().unlink()
        made.unlink(missing_ok=True)
    else:
        files.write_atomic(config, before)


def put(content: bytes, target: PurePath) -> bytes:
    """`content` with the Include first, and nowhere else, in the line ending the file uses."""
    first = content.split(b"\n", 1)[0]
    ending = b"\r\n" if b"\n" in content and first.endswith(b"\r") else b"\n"
    return text(target).encode() + ending + strip(content, target)


def strip(content: bytes, target: PurePath) -> bytes:
    """`content` without the Include; every other byte stays."""
    ours = text(target).encode()
    return b"".join(
        line for line in content.splitlines(keepends=True) if line.strip(b" \t\r\n") != ours
    )


def check_writable(config: Path, target: PurePath) -> None:
    """SshError for a file or folder its owner made read-only (also for root, who could write)."""
    for path in (config, config.parent):
        if path.exists() and not path.stat().st_mode & 0o200:
            raise SshError(
                f"{path} is read-only",
                means="it was left as it is; devbox's own commands work without it",
                fix=f"for your editor, {by_hand(target)}",
            )
