"""devbox.toml edited after the first `up`: what a box can follow it follows, the rest is named."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from devbox import lifecycle, spec
from devbox.lifecycle import respec
from devbox.lifecycle.operation import BoxOperation
from devbox.model import Box, BoxState, Hardware, Offer, Price
from devbox.providers.base import Kept
from devbox.providers.local.provider import Local
from devbox.remote import agent
from devbox.remote.connection import connect
from devbox.workspace import Workspace


def written(home: Path, text: str) -> Workspace:
    folder = home / "project"
    folder.mkdir(exist_ok=True)
    (folder / "devbox.toml").write_text(text)
    spec.trust_file(folder / "devbox.toml")
    return Workspace.open(folder)


@pytest.fixture(autouse=True)
def clean_up(home: Path) -> Iterator[None]:
    yield
    ws = written(home, "[boxes.b]\n")
    for box in ws.store.boxes.all():
        lifecycle.down(ws, box, save=False)


def test_what_can_change_in_place_is_armed_again(home: Path) -> None:
    box = lifecycle.up(written(home, "[boxes.b]\n"), "b")
    said: list[str] = []
    ws = written(home, '[boxes.b]\nmax_uptime = "1h"\nidle.after = "10m"\nsync.down = ["x"]\n')
    ws.narrate = said.append
    again = lifecycle.up(ws, "b")
    assert again.id == box.id
    assert "b: follows devbox.toml in max_uptime, idle, sync" in said
    assert box.started
    with connect(again) as connection:
        verdict = agent.verdict(connection)
    assert verdict.deadline == pytest.approx(box.started + 3600, abs=5)
    assert spec.decode_box(again.spec).idle.after == spec.Seconds(600)
    said.clear()
    assert lifecycle.up(ws, "b").id == box.id
    assert not [line for line in said if "follows" in line]


class _Paid(Local):
    """Offers and abilities as of a provider with flavours; nothing of it is called."""

    resume_takes = frozenset({"hardware", "image"})

    def __init__(self) -> None:
        pass

    def offers_for(self, wanted: spec.BoxSpec) -> list[Offer]:
        rows = (("cpu", 0, 30_000), ("t4", 16, 400_000), ("l4", 24, 800_000))
        return [
            Offer("local", Hardware(name, vram=vram << 30), Price(micro), 0.0)
            for name, vram, micro in rows
        ]


@pytest.mark.parametrize(
    ("made", "wanted", "state", "offer", "left"),
    [
        ({"hardware": "t4"}, {"hardware": "cpu"}, "paused", "cpu", 0),
        ({"hardware": "t4"}, {"hardware": "cpu"}, "running", None, 1),
        ({"vram": 8 << 30}, {"vram": 16 << 30}, "paused", None, 0),
        ({"vram": 8 << 30}, {"vram": 20 << 30}, "paused", "l4", 0),
        ({}, {"max_price": 0.1}, "running", None, 1),
        ({"image": "a"}, {"image": "b"}, "paused", None, 0),
        ({"env": {"A": "1"}}, {}, "paused", None, 1),
    ],
)
def test_other_hardware_is_taken_at_a_resume_or_named(
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    made: dict[str, Any],
    wanted: dict[str, Any],
    state: str,
    offer: str | None,
    left: int,
) -> None:
    ws = written(home, "[boxes.b]\n")
    monkeypatch.setattr(ws, "provider_of", lambda box: _Paid())
    box = Box(
        id="x", name="b", provider="local", token="b-1", state=BoxState(state), hardware="t4",
        price=Price(400_000), created=0, updated=0, seen=0, handle="h",
        spec=spec.encode_box(spec.BoxSpec(**made)),
    )  # fmt: skip
    found = respec.compare(BoxOperation(ws, box), spec.BoxSpec(**wanted))
    assert (found.offer.hardware.name if found.offer else None, len(found.left)) == (offer, left)
    if state == "paused" and not left:
        assert found.spec == spec.BoxSpec(**wanted)


def test_a_box_whose_pause_keeps_no_disk_is_armed_again_as_one(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Local, "pause_keeps", lambda self, wanted: Kept(False, "none of its files"))
    lifecycle.up(written(home, "[boxes.b]\n"), "b")
    box = lifecycle.up(written(home, '[boxes.b]\nidle.after = "10m"\n'), "b")
    with connect(box) as connection:
        orders = json.loads(connection.run(["cat", ".devbox-box/config.json"]).out)
    assert orders["policy"]["after"] == 600
    assert orders["disk_kept"] is False
