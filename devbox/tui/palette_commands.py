"""The command palette's entries, from the registry."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, cast

from textual.command import DiscoveryHit, Hit, Hits, Provider

from devbox.tui import actions

if TYPE_CHECKING:
    from devbox.tui.app import Dashboard


class Commands(Provider):
    """Every action but the plain moves; the help text names its key."""

    async def discover(self) -> Hits:
        for action in self._actions():
            yield DiscoveryHit(action.label, self._call(action), help=self._help(action))

    async def search(self, query: str) -> Hits:
        matcher = self.matcher(query)
        for action in self._actions():
            score = matcher.match(action.label)
            if score <= 0 and query.lower() in action.tooltip.lower():
                score = 0.1
            if score > 0:
                yield Hit(
                    score,
                    matcher.highlight(action.label),
                    self._call(action),
                    text=action.label,
                    help=self._help(action),
                )

    def _actions(self) -> list[actions.Action]:
        hidden = {"palette", "down", "up_row", "first", "last", "page_down", "page_up"}
        readonly = self._app.readonly
        return [a for a in actions.ACTIONS if a.id not in hidden and not (readonly and a.changes)]

    def _call(self, action: actions.Action) -> partial[None]:
        return partial(self._app.action_do, action.id)

    def _help(self, action: actions.Action) -> str:
        # shown as markup by the palette; registry texts hold no bracket, a key may
        keys = actions.keys(action, self._app.settings.keys).replace("[", "\\[")
        return f"{action.tooltip}  ({keys})"

    @property
    def _app(self) -> Dashboard:
        return cast("Dashboard", self.app)
