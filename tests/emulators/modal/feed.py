"""A list that grows while readers follow it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")

STDOUT, STDERR, SYSTEM = 1, 2, 3
"""Values of ``api_pb2.FileDescriptor`` (stdout, stderr, info)."""


@dataclass(frozen=True)
class LogLine:
    """A piece of log: when (emulator seconds), which stream, what."""

    at: float
    source: int
    text: str


class Feed(Generic[T]):
    """Grows until :meth:`end`."""

    def __init__(self) -> None:
        self.items: list[T] = []
        self.ended = False
        self._news = asyncio.Event()

    def add(self, item: T) -> None:
        self.items.append(item)
        self._wake()

    def end(self) -> None:
        self.ended = True
        self._wake()

    async def follow(
        self, start: int = 0, limit: float | None = None
    ) -> AsyncIterator[tuple[int, T]]:
        """Items from index ``start`` on, until the end or ``limit`` seconds of wall time."""
        loop = asyncio.get_running_loop()
        deadline = None if limit is None else loop.time() + limit
        while True:
            news = self._news
            while start < len(self.items):
                yield start, self.items[start]
                start += 1
            if self.ended:
                return
            try:
                async with asyncio.timeout_at(deadline):
                    await news.wait()
            except TimeoutError:
                return

    def _wake(self) -> None:
        self._news.set()
        self._news = asyncio.Event()
