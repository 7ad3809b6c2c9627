"""A box that warns of its pause: its files are fetched before it."""

from __future__ import annotations

from pathlib import Path

from msgspec.structs import replace

from devbox import spec
from devbox.model import Box, BoxState
from devbox.spec import BoxSpec
from devbox.tui.notices import RECENT, StandBy
from devbox.tui.queries import Asks
from devbox.wire.messages import BoxEvent
from tests.tui import fakes, fleets
from tests.tui.conftest import Open

NOW = fakes.NOW


def said(feed: fakes.FakeFeed, seq: int, kind: str, ago: float) -> None:
    feed.cells["id-train"].put(BoxEvent(seq, NOW - ago, kind, "would pause in 5m"), NOW)


def names(boxes: list[Box]) -> list[str]:
    return [box.name for box in boxes]


def test_each_warning_is_answered_once() -> None:
    feed, standby = fleets.fleet(), StandBy()
    assert standby.look(feed) == []  # the fleet's own warning is old
    said(feed, 2, "warning", 30)
    assert names(standby.look(feed)) == ["train"]
    assert standby.look(feed) == []
    said(feed, 3, "saving", 10)
    assert standby.look(feed) == []
    said(feed, 4, "warning", 5)
    assert names(standby.look(feed)) == ["train"]


def test_a_warning_that_is_over_is_not_answered() -> None:
    feed = fleets.fleet()
    said(feed, 2, "warning", RECENT + 60)
    assert StandBy().look(feed) == []
    said(feed, 3, "warning", 20)
    said(feed, 4, "called-off", 10)
    assert StandBy().look(feed) == []
    said(feed, 5, "warning", 5)
    feed.views = [
        view._replace(box=replace(view.box, state=BoxState.PAUSED)) for view in feed.views
    ]
    assert StandBy().look(feed) == []


async def test_its_files_are_fetched_by_work_that_goes_on_by_itself(dashboard: Open) -> None:
    async with dashboard() as it:
        said(it.feed, 2, "warning", 5)
        it.asks.saved_before_pause = lambda boxes: boxes  # type: ignore[method-assign]
        await it.turn()
        await it.until(lambda: it.operations.begun)
        await it.turn()
        assert it.operations.begun == [("sync", "down", "demo/train", "--before-pause")]
        assert "fetch from train before it pauses" in it.text


async def test_nothing_is_fetched_where_one_only_looks(dashboard: Open) -> None:
    async with dashboard(readonly=True) as it:
        said(it.feed, 2, "warning", 5)
        it.asks.saved_before_pause = lambda boxes: boxes  # type: ignore[method-assign]
        await it.turn()
        await it.turn()
        assert it.operations.begun == []


def test_boxes_of_a_known_folder_are_saved_unless_their_spec_says_no(home: Path) -> None:
    project = home / "project"
    project.mkdir()
    (project / "devbox.toml").write_text("[boxes.train]\n[boxes.train.sync]\ndown = ['results/']\n")
    asks = Asks(project)
    down = BoxSpec(sync=spec.Sync(down=("results/",)))
    late = BoxSpec(sync=spec.Sync(down=("results/",), before_pause=False))

    def box(name: str, wanted: BoxSpec) -> Box:
        return replace(fakes.box(name), spec=spec.encode_box(wanted), project="another")

    ours = replace(box("train", down), root=str(project))
    known = replace(box("other", down), root=str(home / "elsewhere"))
    assert names(asks.saved_before_pause([ours, known, box("train", down)])) == ["train", "other"]
    # Results of runs are fetched also where no rule names a file and the pause keeps the disk.
    assert names(asks.saved_before_pause([replace(ours, spec=spec.encode_box(BoxSpec()))])) == [
        "train"
    ]
    command = BoxSpec(command=("train.sh",))
    for wanted in (late, command):
        assert asks.saved_before_pause([replace(ours, spec=spec.encode_box(wanted))]) == []
