"""Which boxes are followed, and when they are connected again."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from devbox.model import Box
from devbox.telemetry.live import LiveTelemetry
from devbox.tui import streams
from devbox.tui.streams import Streams
from tests.tui import fakes


async def test_what_is_cut_is_connected_now_when_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun: list[str] = []

    async def follow(box: Box, cell: LiveTelemetry, **_: Any) -> None:
        begun.append(box.name)
        await asyncio.Event().wait()

    monkeypatch.setattr(streams, "follow", follow)
    found = Streams(lambda: 0.0)
    boxes = [fakes.box("live"), fakes.box("cut"), fakes.box("refused")]
    found.follow(boxes)
    await asyncio.sleep(0)
    found.cells["id-live"].put(fakes.sample(0, 0.0, 1), 0.0)
    found.cells["id-cut"].put(fakes.sample(0, 0.0, 1), 0.0)
    found.cells["id-cut"].fail("cut", "gone")
    found.cells["id-refused"].fail("refused", "no")
    begun.clear()
    found.again([*(box.id for box in boxes), "id-unknown"])
    await asyncio.sleep(0)
    assert begun == ["cut", "refused"]
    assert found.cells["id-cut"].sample is not None
    await found.stop()
