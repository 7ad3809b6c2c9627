"""The one place that runs programs on this machine. Arguments are lists; no shell is involved."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from devbox.errors import DevboxError, ToolMissing
from devbox.text import clean

_INSTALL = {
    "ssh": "apt-get install openssh-client (or your system's OpenSSH package)",
    "ssh-keygen": "apt-get install openssh-client (or your system's OpenSSH package)",
    "rsync": "apt-get install rsync, or: brew install rsync",
    "git": "apt-get install git",
}


class Completed(NamedTuple):
    """A finished program: its exit code and what it printed (undecodable bytes replaced)."""

    code: int
    out: str
    err: str


def require(program: str) -> str:
    """Absolute path of `program`. ToolMissing says how to install it."""
    found = shutil.which(program)
    if not found:
        raise ToolMissing(
            f"{program} is not installed", fix=_INSTALL.get(program, f"install {program}")
        )
    return found


def spawn(argv: Sequence[str]) -> None:
    """Start a program that outlives us, such as one that opens a link; what it prints is
    dropped. ToolMissing when it is not installed."""
    subprocess.Popen(
        [require(argv[0]), *argv[1:]],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def run(
    argv: Sequence[str],
    *,
    input: bytes | None = None,
    timeout: float | None = 60.0,
    env: Mapping[str, str] | None = None,
    cwd: str | None = None,
    check: bool = True,
) -> Completed:
    """Run to the end. With check, a non-zero exit raises DevboxError with the last of stderr.

    timeout: seconds, after which the program is killed and DevboxError raised.
    """
    done = finished(argv, input=input, timeout=timeout, env=env, cwd=cwd)
    result = Completed(
        done.returncode,
        done.stdout.decode(errors="replace"),
        done.stderr.decode(errors="replace"),
    )
    if check and result.code:
        raise _failed(argv, result.code, result.err)
    return result


def output(
    argv: Sequence[str],
    *,
    input: bytes | None = None,
    timeout: float | None = 60.0,
    env: Mapping[str, str] | None = None,
    cwd: str | None = None,
) -> bytes:
    """What a program that must succeed printed, byte for byte. Raises as `run`."""
    done = finished(argv, input=input, timeout=timeout, env=env, cwd=cwd)
    if done.returncode:
        raise _failed(argv, done.returncode, done.stderr.decode(errors="replace"))
    return done.stdout


def finished(
    argv: Sequence[str],
    *,
    input: bytes | None = None,
    timeout: float | None = 60.0,
    env: Mapping[str, str] | None = None,
    cwd: str | None = None,
) -> subprocess.CompletedProcess[bytes]:
    """Run to the end, whatever its exit code; for what it printed as bytes."""
    program = require(argv[0])
    try:
        return subprocess.run(
            [program, *argv[1:]],
            input=input,
            stdin=subprocess.DEVNULL if input is None else None,
            capture_output=True,
            timeout=timeout,
            env=env,
            cwd=cwd,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise DevboxError(f"{argv[0]} did not finish within {timeout:.0f} s") from error


def _failed(argv: Sequence[str], code: int, err: str) -> DevboxError:
    return DevboxError(f"{argv[0]} ended with code {code}: {clean(err.strip()[-600:], 600)}")
