"""The dashboard on a fleet that exists nowhere, driven by Textual's pilot."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from devbox.tui import main_screen
from devbox.tui.app import Dashboard
from devbox.tui.settings import Settings
from tests.tui import fakes, fleets
from tests.tui.driver import Driven

Open = Callable[..., AbstractAsyncContextManager[Driven]]


@pytest.fixture
def dashboard(home: Path, monkeypatch: pytest.MonkeyPatch) -> Open:
    """`async with dashboard(feed=…, size=(120, 36), keys={…}) as it:`"""

    # A slow machine must not see fewer of them.
    for severity in main_screen.STAYS:
        monkeypatch.setitem(main_screen.STAYS, severity, 600.0)

    @asynccontextmanager
    async def open_(
        feed: fakes.FakeFeed | None = None,
        size: tuple[int, int] = (120, 36),
        settings: Settings | None = None,
        readonly: bool = False,
        **asked: Any,
    ) -> AsyncIterator[Driven]:
        feed = feed or fleets.fleet()
        asks = fakes.FakeAsks(home)
        for name, value in asked.items():
            setattr(asks, name, value)
        operations = fakes.FakeOperations()
        app = Dashboard(feed, asks, operations, settings or Settings(), readonly=readonly)  # type: ignore[arg-type]
        async with app.run_test(size=size, notifications=True) as pilot:
            driven = Driven(app, pilot, feed, asks, operations)
            await driven.until(lambda: feed.ticks > 0)
            yield driven

    return open_
