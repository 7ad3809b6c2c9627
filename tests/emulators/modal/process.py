"""One process inside a machine: its input, its output, its exit."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tests.emulators.modal.output import CHUNK, Output

OnData = Callable[[bytes], None]


class StdinClosedError(Exception):
    """The process does not read any more."""


class Process:
    """Started with :class:`subprocess.Popen`, watched by the running event loop.

    ``exited`` resolves to the code, or the negative signal number. Output that
    was written before the exit is complete by then; a child that lives on may
    continue writing, which nobody sees.
    """

    def __init__(
        self,
        argv: Sequence[str],
        env: Mapping[str, str],
        on_stdout: OnData | None = None,
        on_stderr: OnData | None = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._popen = subprocess.Popen(
            argv,
            env=dict(env),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        self.pid = self._popen.pid
        self.stdout, self.stderr = Output(on_stdout), Output(on_stderr)
        self.written = 0
        self.exited: asyncio.Future[int] = self._loop.create_future()
        assert self._popen.stdin
        assert self._popen.stdout
        assert self._popen.stderr
        self._stdin: int | None = self._popen.stdin.fileno()
        self._pipes = {
            self._popen.stdout.fileno(): self.stdout,
            self._popen.stderr.fileno(): self.stderr,
        }
        for pipe in (self._stdin, *self._pipes):
            os.set_blocking(pipe, False)
        for pipe in self._pipes:
            self._loop.add_reader(pipe, self._readable, pipe)
        self._watch = os.pidfd_open(self.pid)
        self._loop.add_reader(self._watch, self._on_exit)

    @property
    def stdin_closed(self) -> bool:
        return self._stdin is None

    async def write(self, data: bytes, offset: int | None = None) -> None:
        """Feed stdin; bytes before ``written`` (a retry) are dropped.

        Raises:
            StdinClosedError: the process is gone or has closed its input.
        """
        if offset is not None:
            data = data[max(0, self.written - offset) :]
        view = memoryview(data)
        while view:
            if self._stdin is None:
                raise StdinClosedError
            try:
                count = os.write(self._stdin, view)
            except BlockingIOError:
                await self._writable(self._stdin)
                continue
            except BrokenPipeError:
                self.close_stdin()
                raise StdinClosedError from None
            self.written += count
            view = view[count:]

    def close_stdin(self) -> None:
        """End of input."""
        if self._stdin is not None:
            self._loop.remove_writer(self._stdin)
            self._stdin = None
            assert self._popen.stdin
            self._popen.stdin.close()

    def kill(self) -> None:
        """SIGKILL the process and its group, if it still runs."""
        if not self.exited.done():
            try:
                os.killpg(self.pid, signal.SIGKILL)
            except ProcessLookupError:
                self._on_exit()

    def close(self) -> None:
        """Stop watching; for when the machine is gone."""
        self.close_stdin()
        for pipe in list(self._pipes):
            self._drop(pipe)
        if not self.exited.done():
            self.kill()
            self._popen.wait(5)
            self._on_exit()

    async def _writable(self, pipe: int) -> None:
        ready: asyncio.Future[None] = self._loop.create_future()
        self._loop.add_writer(pipe, _settle, ready)
        try:
            either: set[asyncio.Future[Any]] = {ready, self.exited}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._loop.remove_writer(pipe)

    def _readable(self, pipe: int) -> bool:
        """Take one chunk; false when there is none now."""
        try:
            data = os.read(pipe, CHUNK)
        except BlockingIOError:
            return False
        if not data:
            self._drop(pipe)
            return False
        output = self._pipes[pipe]
        if not output.ended:
            output.feed(data)
        return True

    def _drop(self, pipe: int) -> None:
        self._loop.remove_reader(pipe)
        output = self._pipes.pop(pipe)
        output.end()
        for stream in (self._popen.stdout, self._popen.stderr):
            if stream is not None and not stream.closed and stream.fileno() == pipe:
                stream.close()

    def _on_exit(self) -> None:
        if self.exited.done():
            return
        code = self._popen.wait(5)
        self._loop.remove_reader(self._watch)
        os.close(self._watch)
        self.close_stdin()
        for pipe in list(self._pipes):
            while self._readable(pipe):
                continue
        self.stdout.end()
        self.stderr.end()
        self.exited.set_result(code)


def _settle(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
