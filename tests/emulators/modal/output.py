"""What a process wrote, kept so that it can be read again from any byte."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

CHUNK = 64 * 1024


class Output:
    """One stream of one process: grows until :meth:`end`, readers wait for more."""

    def __init__(self, on_data: Callable[[bytes], None] | None = None) -> None:
        self.data = bytearray()
        self.ended = False
        self._on_data = on_data
        self._news = asyncio.Event()

    def feed(self, data: bytes) -> None:
        """Add what the process wrote."""
        self.data += data
        if self._on_data is not None:
            self._on_data(data)
        self._wake()

    def end(self) -> None:
        """Nothing more comes for readers."""
        self.ended = True
        self._wake()

    async def read(self, offset: int) -> AsyncIterator[tuple[int, bytes]]:
        """Chunks from ``offset`` on, each with where it begins, until the end."""
        while True:
            news = self._news
            while offset < len(self.data):
                chunk = bytes(self.data[offset : offset + CHUNK])
                yield offset, chunk
                offset += len(chunk)
            if self.ended:
                return
            await news.wait()

    def _wake(self) -> None:
        self._news.set()
        self._news = asyncio.Event()
