"""Programs on a box over the ssh client, devbox's own config and the connection it shares.

done = Exec(box).run(["nvidia-smi"])             # one program, to its end
program = Program(box, ["python3", "-c", …])     # starts now; its request can come later
"""

from __future__ import annotations

import os
import posixpath
import selectors
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import IO

from devbox import names
from devbox.errors import NoAnswer, SshError
from devbox.model import Box
from devbox.process import MAX_OUTPUT, Completed, require
from devbox.remote import command, keys, refusal
from devbox.remote.config import ssh_config
from devbox.text import clean, size
from devbox.wire.codec import MAX_LINE

_BLOCK = 1 << 16
_KEPT_ERR = 8192  # bytes of stderr kept, its end
_PIPE = 1 << 20  # bytes that a pipe holds at most (pipe(7), pipe-max-size)
_GREETING = 1 << 16  # bytes of what a login shell prints that are kept, its end
_LOGIN = 30.0  # seconds until the program must have begun
_ENDING = 2.0  # seconds a program may take to end once it has closed its stdout
#: Ask nothing on a terminal that others may be using.
QUIET = ("-o", "BatchMode=yes")
#: Do not become the shared connection, which would end with the program; use it where it is.
GUEST = ("-o", "ControlMaster=no")
_ALONE = ("-o", "ControlMaster=no", "-o", "ControlPath=none")


class _Silent(NoAnswer):
    """ssh said nothing at all, such as over a shared connection whose network is gone."""


class NotFinished(SshError):
    """A program ran longer than it was given; it may still run on the box."""


class Exec:
    """Runs programs of a box; see `agent_bootstrap.Runs`. It holds nothing open itself. NoAnswer
    for a box without an address, SshError where this computer's key is gone."""

    def __init__(self, box: Box) -> None:
        if box.endpoint is None:
            raise NoAnswer(
                f"box {box.name} has no ssh address yet", fix=f"devbox status {box.name}"
            )
        keys.require_identity(box)
        self.box, self.is_new = box, False
        #: what the box's login shell printed before the last program's own output
        self.noise = b""

    def run(
        self,
        argv: Sequence[str],
        *,
        input: bytes | None = None,
        timeout: float | None = 60.0,
        check: bool = True,
    ) -> Completed:
        """Run a program on the box to its end; arguments arrive unchanged. Raises as `finish`.

        input: all of its stdin (None: empty). check: SshError on a non-zero exit.
        """
        try:
            done = self._run(argv, input or b"", timeout)
        except _Silent:
            if timeout is not None and timeout <= _LOGIN:
                raise
            done = self._run(argv, input or b"", timeout, _ALONE)
            ssh_config.abandon(self.box)
        if check and done.code:
            raise failed(self.box, argv, done)
        return done

    def _run(
        self, argv: Sequence[str], input: bytes, timeout: float | None, options: Sequence[str] = ()
    ) -> Completed:
        with Program(self.box, argv, options=options) as program:
            code, out = program.finish(input, timeout=timeout)
        self.noise = program.noise
        return Completed(code, out.decode(errors="replace"), program.err)


def read(box: Box, remote: str, *, most: int) -> bytes:
    """The content of a file on the box. SshError when it cannot be read or is over `most` bytes."""
    argv = ["cat", "--", names.remote_path(remote)]
    with Program(box, argv) as program:
        code, out = program.finish(most=most)
    if code:
        raise failed(box, argv, Completed(code, "", program.err))
    return out


def shown(argv: Sequence[str]) -> str:
    """The program's name for an error; arguments may hold more than a user wants to see."""
    return clean(posixpath.basename(argv[0]), 60)


def failed(box: Box, argv: Sequence[str], done: Completed) -> SshError:
    """The error for a program that ended with a code other than 0."""
    ended = "was killed" if done.code == -1 else f"ended with code {done.code}"
    said = clean((done.err or done.out).strip()[-600:], 600)
    return SshError(f"{shown(argv)} on {box.name} {ended}: {said}")


class Program:
    """A program started on a box, and a context manager that ends it.

    Its stdin stays open until `finish` or `close`: the box half ends a stream when that closes.
    noise: what the login shell printed before it. err: the end of its stderr, so far.
    """

    def __init__(
        self,
        box: Box,
        argv: Sequence[str],
        *,
        options: Sequence[str] = (),
        hears_ctrl_c: bool = True,
    ) -> None:
        line = command.argv(box, argv, options=(*QUIET, *options), mark=True)
        self.box, self.shown = box, shown(argv)
        self.noise, self.begun = b"", False
        self._err = b""
        self._process = subprocess.Popen(
            [require(line[0]), *line[1:]],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=not hears_ctrl_c,
        )

    @property
    def err(self) -> str:
        return self._err.decode(errors="replace")

    @property
    def is_alive(self) -> bool:
        """Whether ssh still runs it."""
        return self._process.poll() is None

    def begin(self) -> None:
        """Wait until a program runs that prints nothing. Raises as `refusal.error`."""
        with suppress(TimeoutError):
            next(self.chunks(), None)
        if not self.begun:
            self.close()
            raise refusal.error(self.box, self.err or "it does not answer")

    def finish(
        self, input: bytes = b"", *, timeout: float | None = 60.0, most: int = MAX_OUTPUT
    ) -> tuple[int, bytes]:
        """Its exit code and what it printed, after it was given all of its stdin.

        As `refusal.error` when ssh did not get there, NoAnswer when the connection was cut,
        NotFinished when it does not end within `timeout` seconds, SshError when it prints over
        `most` bytes.
        """
        assert self._process.stdin
        feeder = threading.Thread(target=_feed, args=(self._process.stdin, input), daemon=True)
        feeder.start()
        out = bytearray()
        try:
            for data in self.chunks(timeout=timeout):
                out += data
                if len(out) > most:
                    raise SshError(f"{self.shown} on {self.box.name} printed over {size(most)}")
        except TimeoutError:
            if not self.begun:
                raise _Silent(f"box {self.box.name} does not answer", box=self.box.id) from None
            raise NotFinished(
                f"{self.shown} on {self.box.name} did not finish within {timeout:.0f} s",
                means="it may still be running there",
            ) from None
        finally:
            code = self.close()
            feeder.join()
        if code is None or code < 0 or code == refusal.FAILED:
            raise self._cut() if self.begun else refusal.error(self.box, self.err)
        return code, bytes(out) if self.begun else self.noise

    def chunks(
        self, *, timeout: float | None = None, silence: float | None = None
    ) -> Iterator[bytes]:
        """What the program prints as it comes, until it has ended; perhaps b"" when it begins.
        TimeoutError after `timeout` seconds in all or `silence` seconds without a byte."""
        process = self._process
        assert process.stdout
        assert process.stderr
        start = heard = time.monotonic()
        with selectors.DefaultSelector() as ready:
            ready.register(process.stdout, selectors.EVENT_READ)
            ready.register(process.stderr, selectors.EVENT_READ)
            while process.stdout in (key.fileobj for key in ready.get_map().values()):
                limits = [start + timeout] if timeout is not None else []
                limits += [heard + silence] if silence is not None else []
                limits += [start + _LOGIN] if not self.begun else []
                left = min(limits) - time.monotonic() if limits else None
                if left is not None and left <= 0:
                    raise TimeoutError
                for key, _ in ready.select(left):
                    data = os.read(key.fd, _BLOCK)
                    if not data:
                        ready.unregister(key.fileobj)
                    elif key.fileobj is process.stderr:
                        self._err = (self._err + data)[-_KEPT_ERR:]
                    else:
                        heard = time.monotonic()
                        if not self.begun:
                            noise, own = command.answer(self.noise + data)
                            self.noise, self.begun = noise[-_GREETING:], own is not None
                            data = own or b""
                        if self.begun:
                            yield data
            # Its exit code is wanted, so it gets a moment. Its stderr is read meanwhile, but not
            # to the end: a shared connection in the background may hold it open.
            until = max(time.monotonic() + _ENDING, start + (timeout or 0.0))
            while process.poll() is None and time.monotonic() < until:
                for key, _ in ready.select(0.02):
                    data = os.read(key.fd, _BLOCK)
                    self._err = (self._err + data)[-_KEPT_ERR:]
                    if not data:
                        ready.unregister(key.fileobj)

    def lines(self, silence: float) -> Iterator[bytes]:
        """Lines as they come, until it has ended or said nothing for `silence` seconds."""
        cut = Lines()
        with suppress(TimeoutError):
            for data in self.chunks(silence=silence):
                yield from cut.feed(data)

    def close(self) -> int | None:
        """End it; its exit code (255: ssh itself failed), None when it had to be stopped."""
        process = self._process
        code = process.poll()
        if code is None:
            process.kill()
            process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe:
                with suppress(BrokenPipeError):
                    pipe.close()
        if process.stderr and not process.stderr.closed:
            os.set_blocking(process.stderr.fileno(), False)
            self._err = (self._err + (process.stderr.read(_PIPE) or b""))[-_KEPT_ERR:]
            process.stderr.close()
        return code

    def __enter__(self) -> Program:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _cut(self) -> NoAnswer:
        return NoAnswer(
            f"the connection to {self.box.name} was cut while running {self.shown}"
            + (f": {clean(self.err.strip()[-300:], 300)}" if self.err.strip() else ""),
            box=self.box.id,
        )


class Lines:
    """Cuts bytes into lines, without their newline. One over MAX_LINE is dropped, not kept."""

    def __init__(self) -> None:
        self._rest, self._overlong = b"", False

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that are complete now."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        if self._overlong and lines:
            del lines[0]
            self._overlong = False
        if len(self._rest) > MAX_LINE:
            self._rest, self._overlong = b"", True
        return lines


def _feed(stream: IO[bytes], body: bytes) -> None:
    # A program that does not read its request says why on stderr.
    with suppress(BrokenPipeError, ValueError), stream:
        stream.write(body)
