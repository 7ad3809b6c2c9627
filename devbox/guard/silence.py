"""Boxes whose watchdog says nothing for several looks in a row, told once each time."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from devbox.files import write_atomic
from devbox.guard import place
from devbox.lifecycle import Finding
from devbox.text import duration
from devbox.workspace import Workspace

#: looks in a row; the first one after this computer woke up may still find no network
LOOKS = 3


def note(ws: Workspace, findings: Sequence[Finding]) -> None:
    """Count the looks at which a box's provider answered and its watchdog did not."""
    before = _read()
    now = {f.box_id: before.get(f.box_id, 0) + 1 for f in findings if f.kind == "silent"}
    # A provider that did not answer either tells nothing about the box.
    now |= _of(before, {f.box_id for f in findings if f.kind == "failed"} - now.keys())
    for box_id, count in now.items():
        box = ws.store.boxes.get(box_id)
        if box and count == LOOKS and before.get(box_id) == LOOKS - 1:
            ago = _last_sign(ws, box_id)
            seen = f", last heard of {duration(ago)} ago" if ago else ""
            message = (
                f"its watchdog did not answer {LOOKS} times in a row{seen}: it may not pause "
                "itself, and costs"
            )
            ws.store.events.add(box_id, "watchdog-silent", message, ws.clock())
            ws.narrate(f"{box.name}: {message}")
    if now != before:
        write_atomic(_file(), msgspec.json.encode(now))


def _of(counts: dict[str, int], boxes: Collection[str]) -> dict[str, int]:
    return {box_id: count for box_id, count in counts.items() if box_id in boxes}


def _last_sign(ws: Workspace, box_id: str) -> float | None:
    """Seconds since the last thing that the box told and we kept."""
    last = ws.store.usage.place(box_id)
    return max(0.0, ws.clock() - last.at) if last else None


def _read() -> dict[str, int]:
    with suppress(OSError, msgspec.MsgspecError):
        return msgspec.json.decode(_file().read_bytes(), type=dict[str, int])
    return {}


def _file() -> Path:
    return place.folder() / "silent.json"
