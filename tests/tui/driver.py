"""What tests do to a dashboard and read from it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from textual.pilot import Pilot
from textual.widgets import OptionList

from devbox.tui.app import Dashboard
from devbox.tui.static_lines import Lines
from tests.tui.fakes import FakeAsks, FakeFeed, FakeOperations


class Driven(NamedTuple):
    app: Dashboard
    pilot: Pilot[None]
    feed: FakeFeed
    asks: FakeAsks
    operations: FakeOperations

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)
        await self.pilot.pause()

    async def type(self, text: str) -> None:
        names = {" ": "space", "/": "slash", ".": "full_stop", "-": "minus", "_": "underscore"}
        await self.press(*(names.get(letter, letter) for letter in text))

    async def choose(self, word: str) -> None:
        """The row of the open list that begins so."""
        listing = self.app.screen.query_one(OptionList)
        (row,) = (n for n, one in enumerate(listing.options) if str(one.prompt).startswith(word))
        listing.highlighted = row
        await self.press("enter")

    async def until(self, condition: Callable[[], Any], seconds: float = 120.0) -> None:
        """Wait until it holds."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, self.text
            await asyncio.sleep(0.01)
        await self.pilot.pause()

    async def turn(self) -> None:
        self.app.turn()
        await self.pilot.pause()

    async def select(self, name: str) -> None:
        self.app.fleet.go(self.app.fleet.keys.index(f"id-{name}"))
        await self.pilot.pause()
        self.app.redraw()  # on a busy machine the details come later than the cursor
        await self.pilot.pause()

    @property
    def dialog(self) -> str:
        """The class of the open dialog, '' for none."""
        return type(self.app.screen).__name__ if len(self.app.screen_stack) > 1 else ""

    @property
    def names(self) -> list[str]:
        """The boxes shown, in order."""
        return [key.removeprefix("id-") for key in self.app.fleet.keys]

    @property
    def selected(self) -> str:
        return self.app.view.box.name if self.app.view else ""

    @property
    def text(self) -> str:
        """The screen as characters."""
        lines = self.app.screen._compositor.render_strips()
        return "\n".join(strip.text.rstrip() for strip in lines)

    @property
    def told(self) -> list[str]:
        """The notices shown."""
        return [notice.message for notice in self.app._notifications]

    def page(self, name: str) -> str:
        return self.app.screen_stack[0].query_one(f"#{name}", Lines).text
