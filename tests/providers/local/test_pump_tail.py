"""What a feeder hands over while it is released is written before the program's input ends."""

from __future__ import annotations

import asyncio
import os

from devbox.providers.local.pump import Sink


async def test_the_last_piece_and_the_end_may_come_while_the_sink_is_released() -> None:
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)
    last = b"y" * 300_000

    def release() -> None:
        if pending:
            sink.write(pending.pop())
            sink.write_eof()

    pending = [last]
    sink = Sink(write_end, lambda: None, release)
    sink.write(b"x" * 300_000)
    received = bytearray()
    async with asyncio.timeout(10):
        while block := await asyncio.to_thread(os.read, read_end, 1 << 16):
            received += block
    os.close(read_end)
    assert bytes(received) == b"x" * 300_000 + last
