"""What each action does: DEEDS maps the ids of `actions` to functions of the dashboard."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from devbox.tui.handlers import boxes, connect, jobs, look

if TYPE_CHECKING:
    from devbox.tui.app import Dashboard

Deed = Callable[["Dashboard"], None]

DEEDS: dict[str, Deed] = {**boxes.DEEDS, **connect.DEEDS, **jobs.DEEDS, **look.DEEDS}
