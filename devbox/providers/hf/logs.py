"""Log lines of Spaces and Jobs with the Hub's own times, read for a bounded while."""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Callable, Iterator
from itertools import islice
from typing import NamedTuple

from devbox.errors import DevboxError
from devbox.providers.hf import errors
from devbox.providers.hf.hub import Hub
from devbox.text import clean

#: seconds without a line after which a log has told what it had
_SILENCE = 2.0
_LONGEST = 20.0  # seconds
_MOST_LINES = 20_000
_LONGEST_LINE = 2000


class Line(NamedTuple):
    """at: unix seconds, None when the Hub gave no time."""

    at: float | None
    text: str


def lines(hub: Hub, path: str) -> Iterator[Line]:
    """What a log (a path below the endpoint) holds now, oldest first. Ends at its end, or after a
    short silence of one that continues."""
    import httpx2
    from huggingface_hub import hf_raise_for_status

    with errors.translated("reading a log"):
        try:
            with hub.session().stream(
                "GET",
                f"{hub.endpoint}{path}",
                headers=hub.headers(),
                timeout=httpx2.Timeout(_SILENCE, connect=10.0),
            ) as reply:
                if reply.status_code >= 400:
                    reply.read()
                hf_raise_for_status(reply)
                until = time.monotonic() + _LONGEST
                for raw in islice(reply.iter_lines(), _MOST_LINES):
                    yield from _line(raw, hub.times.moment)
                    if time.monotonic() > until:
                        return
        except httpx2.ReadTimeout:
            return


def tail(hub: Hub, path: str, count: int) -> list[Line]:
    """The last lines; none when the log cannot be read."""
    try:
        return list(deque(lines(hub, path), maxlen=count))
    except DevboxError:
        return []  # why: a log only explains; what it would explain is told without it


def first(hub: Hub, path: str) -> Line | None:
    """The first line; None when there is none, or it cannot be read."""
    try:
        return next(lines(hub, path), None)
    except DevboxError:
        return None  # why: as in `tail`


def _line(raw: str, moment: Callable[[object], float | None]) -> Iterator[Line]:
    if not raw.startswith("data: {"):
        return
    try:
        event = json.loads(raw.removeprefix("data: "))
        text = event["data"]
    except (ValueError, KeyError, RecursionError):
        return
    if isinstance(text, str):
        for each in text.splitlines() or [""]:
            yield Line(moment(event.get("timestamp")), clean(each, _LONGEST_LINE))
