"""The one place that runs programs on this machine. Arguments are lists; no shell is involved."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import IO, NamedTuple

from devbox.errors import DevboxError, TookTooLong, ToolMissing
from devbox.text import clean, size

MAX_OUTPUT = 64 * 1024**2  # bytes of each stream

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
    """Run to the end, whatever its exit code; for what it printed as bytes. TookTooLong after
    `timeout` seconds; DevboxError when it printed over MAX_OUTPUT: a box or a host may be what
    prints."""
    with subprocess.Popen(
        [require(argv[0]), *argv[1:]],
        stdin=subprocess.DEVNULL if input is None else subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,
        env=env,
        cwd=cwd,
    ) as process:
        assert process.stdout
        assert process.stderr
        sides = [_Side(process, stream) for stream in (process.stdout, process.stderr)]
        try:
            if process.stdin:
                feeder = threading.Thread(target=_feed, args=(process.stdin, input), daemon=True)
                # The feeder alone closes it: a second close could hit a file opened meanwhile.
                process.stdin = None
                feeder.start()
            until = time.monotonic() + (threading.TIMEOUT_MAX if timeout is None else timeout)
            code = process.wait(timeout)
            for side in sides:
                while side.is_alive() and not any(each.over for each in sides):
                    if time.monotonic() > until:  # a child of its own holds the pipe
                        raise subprocess.TimeoutExpired(argv, timeout or 0.0)
                    side.join(0.05)
        except subprocess.TimeoutExpired as error:
            process.kill()
            raise TookTooLong(f"{argv[0]} did not finish within {timeout:.0f} s") from error
        except BaseException:
            process.kill()
            raise
    if any(side.over for side in sides):
        raise DevboxError(f"{argv[0]} printed over {size(MAX_OUTPUT)}; it was stopped")
    return subprocess.CompletedProcess(argv, code, *(bytes(side.data) for side in sides))


class _Side(threading.Thread):
    """Reads one stream to its end, and ends the program when it gives too much."""

    def __init__(self, process: subprocess.Popen[bytes], stream: IO[bytes]) -> None:
        super().__init__(daemon=True)
        self.data, self.over = bytearray(), False
        self._process, self._stream = process, stream
        self.start()

    def run(self) -> None:
        with suppress(ValueError, OSError):  # why: it was given up and closed
            while block := os.read(self._stream.fileno(), 1 << 16):
                self.data += block
                if len(self.data) > MAX_OUTPUT:
                    self.over = True
                    self._process.kill()
                    return


def _feed(stream: IO[bytes], data: bytes | None) -> None:
    left = memoryview(data or b"")
    with suppress(BrokenPipeError), stream:  # why: its exit code says what it made of it
        while left:
            left = left[stream.write(left) :]


def _failed(argv: Sequence[str], code: int, err: str) -> DevboxError:
    return DevboxError(f"{argv[0]} ended with code {code}: {clean(err.strip()[-600:], 600)}")
