"""Bytes between a channel and a program, by hand and with backpressure both ways."""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Callable

CHUNK = 1 << 17
_DRAIN = 16  # pieces; a terminal that is written to for ever is cut there


class Source:
    """A program's output. `give` gets each piece, `end` is called once, at its end."""

    def __init__(self, fd: int, give: Callable[[bytes], None], end: Callable[[], None]) -> None:
        self._fd, self._give, self._end = fd, give, end
        self._loop = asyncio.get_running_loop()
        self.is_open = True
        self.is_paused = True
        self.resume()

    def pause(self) -> None:
        if self.is_open and not self.is_paused:
            self.is_paused = True
            self._loop.remove_reader(self._fd)

    def resume(self) -> None:
        if self.is_open and self.is_paused:
            self.is_paused = False
            self._loop.add_reader(self._fd, self._readable)

    def close(self) -> None:
        """Stop reading. `end` is not called."""
        if self.is_open:
            self.pause()
            self.is_open = False
            os.close(self._fd)

    def drain(self) -> None:
        """Give what is there now, then stop reading."""
        for _ in range(_DRAIN):
            if not self.is_open:
                return
            try:
                data = os.read(self._fd, CHUNK)
            except OSError:
                break
            if not data:
                break
            self._give(data)
        self.close()

    def _readable(self) -> None:
        try:
            data = os.read(self._fd, CHUNK)
        except BlockingIOError:
            return
        except OSError:  # EIO: the last program on the terminal has closed it
            data = b""
        if data:
            self._give(data)
        else:
            self.close()
            self._end()


class Sink:
    """A program's input. `hold` and `release` pause and resume whoever feeds it."""

    def __init__(self, fd: int, hold: Callable[[], None], release: Callable[[], None]) -> None:
        self._fd, self._hold, self._release = fd, hold, release
        self._loop = asyncio.get_running_loop()
        self._queue: deque[memoryview] = deque()
        self._ending = False
        self.is_open = True

    def write(self, data: bytes) -> None:
        """Data for a program that reads no more is dropped, as a shell's pipe would."""
        if not self.is_open or self._ending:
            return
        rest = memoryview(data)
        if not self._queue:
            rest = rest[self._put(rest) :]
            if rest and self.is_open:
                self._hold()
                self._loop.add_writer(self._fd, self._writable)
        if rest and self.is_open:
            self._queue.append(rest)

    def write_eof(self) -> None:
        """Close it once everything is written."""
        self._ending = True
        if not self._queue:
            self.close()

    def close(self) -> None:
        if self.is_open:
            self.is_open = False
            self._loop.remove_writer(self._fd)
            os.close(self._fd)
            if self._queue:
                self._queue.clear()
                self._release()

    def _writable(self) -> None:
        while self._queue:
            done = self._put(self._queue[0])
            if not self.is_open:
                return
            if done < len(self._queue[0]):
                self._queue[0] = self._queue[0][done:]
                return
            self._queue.popleft()
        self._loop.remove_writer(self._fd)
        self._release()  # may bring more, and the end with it
        if self._ending and not self._queue:
            self.close()

    def _put(self, data: memoryview) -> int:
        try:
            return os.write(self._fd, data)
        except BlockingIOError:
            return 0
        except OSError:  # nobody reads there any more
            self.close()
            return len(data)
