"""What a batch over more workers takes and costs, from what is on record; the rest is said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from devbox.jobs.fetch import fetch
from devbox.jobs.follow import followed
from devbox.jobs.submit import submit
from devbox.model import Box, RunState
from devbox.money import past_runs
from devbox.money.past_runs import PastRun
from devbox.scale import recorded
from devbox.scale.plan import Workers, _knee
from devbox.spec import JobSpec
from devbox.state.store import Store
from devbox.workspace import Workspace
from tests.boxes import open_interval
from tests.command_line import Devbox
from tests.core.test_state import a_box
from tests.jobs.test_control import command
from tests.money.test_plan import T0, TOML, cached, ran

__all__ = ["cached"]  # a fixture

DIVIDED = TOML.replace('patterns = ["*.mp4"]', 'patterns = ["*.mp4"], spread = "files"')


@pytest.fixture
def clips(cached: Path) -> Path:
    """A project with 64 clips of 1,000 to 1,630 bytes."""
    (cached / "devbox.toml").write_text(DIVIDED)
    folder = cached / "clips"
    folder.mkdir()
    for number in range(64):
        (folder / f"{number}.mp4").write_bytes(b"x" * (1000 + 10 * number))
    return folder


def planned(devbox: Devbox, *words: str) -> dict[str, Any]:
    told = devbox("plan", "render", "--provider", "local", "--json", *words).data["workers"]
    assert isinstance(told, dict)
    return told


def came_up(store: Store, number: int, *, seconds: float, free: float, hardware: str) -> None:
    """A box that was billed from `free` seconds after it was asked for."""
    at = T0 + number * 10_000
    box = a_box(f"up{number}", hardware=hardware)
    intent = store.boxes.insert(box, "running", {}, at)
    open_interval(store.ledger, box, box.price, at + free)
    store.boxes.finish(intent, "running", at + seconds)


def test_without_a_run_there_it_says_that_times_are_unknown(clips: Path, devbox: Devbox) -> None:
    told = planned(devbox, "--workers", "8", "--", "--clips", str(clips))
    assert (told["hardware"], told["pieces"], told["rows"], told["knee"]) == (
        "l40sx1",
        64,
        [],
        None,
    )
    assert told["unknown"] == [
        "times: no run of render with these arguments succeeded on local l40sx1"
    ]
    said = devbox("plan", "render", "--workers", "8", "--", "--clips", str(clips)).out
    assert "64 pieces over workers, each local l40sx1" in said
    assert "not in it: times: no run of render" in said


def test_time_and_cost_of_more_workers_are_of_runs_starts_and_prices(
    clips: Path, devbox: Devbox
) -> None:
    store = Store.open()
    ran(store, 1, seconds=640.0, items=64, vram=3 << 30, hardware="l40sx1")
    for number, seconds in enumerate((100.0, 120.0, 500.0)):
        came_up(store, number, seconds=seconds, free=20.0, hardware="l40sx1")
    came_up(store, 9, seconds=7.0, free=0.0, hardware="l4x1")
    store.close()
    told = planned(devbox, "--workers", "6", "--", "--clips", str(clips))
    rows = {row["workers"]: row for row in told["rows"]}
    assert list(rows) == [1, 2, 4, 6]
    assert rows[1]["seconds"] == pytest.approx(120 + 640 + 4, abs=5.0)
    assert rows[1]["total_micro"] == pytest.approx(1_800_000 * 744 / 3600, rel=0.01)
    assert rows[4]["seconds"] == pytest.approx(120 + 160, abs=20.0)
    assert rows[4]["total_micro"] > rows[1]["total_micro"] + 3 * 1_800_000 * 100 / 3600
    assert (told["knee"], told["beyond"]) == (1, False), "2 workers cost 13 % more"
    assert told["known"] == [
        "times of items: those of run r1, by the bytes of each; setup and model are in it",
        "start of a worker: 2m, the median of 3 starts there",
    ]
    assert told["unknown"][0].startswith("sending 82.2 KB of input")
    said = devbox("plan", "render", "--workers", "4", "--", "--clips", str(clips)).out
    assert "the knee is 1 worker: twice as many" in said
    items = planned(devbox, "--workers", "2", "--items", "64")
    assert "all alike" in items["known"][0]
    assert items["rows"][0]["seconds"] == pytest.approx(rows[1]["seconds"], abs=5.0)


def test_the_items_own_times_count_where_they_were_fetched(clips: Path, devbox: Devbox) -> None:
    """One clip takes as long as all others: more workers than two gain nothing."""
    store = Store.open()
    ran(store, 1, seconds=1320.0, items=64, vram=3 << 30, hardware="l40sx1")
    store.close()
    journal = clips.parent / "results" / "r1" / recorded.JOURNAL
    journal.parent.mkdir(parents=True)
    lines, at = [], 1000.0
    for number in range(64):
        seconds = 630.0 if number == 5 else 10.0
        name = f"{number}.mp4"
        lines.append({"t": at, "item": name, "state": "started", "attempt": 1})
        at += seconds
        lines.append({"t": at, "item": name, "state": "done", "seconds": 2 * seconds,
                      "error": "", "attempt": 1})  # fmt: skip
    journal.write_text("".join(json.dumps(line) + "\n" for line in lines))
    told = planned(devbox, "--workers", "8", "--", "--clips", str(clips))
    assert told["known"] == [
        "times of items: those of run r1 of these very items",
        "1m before its first item, by the same run",
    ]
    rows = {row["workers"]: row for row in told["rows"]}
    assert rows[1]["seconds"] == pytest.approx(1320.0, rel=0.01)
    assert rows[8]["seconds"] >= 690.0
    assert rows[8]["limit"] == "the longest piece"
    assert rows[2]["seconds"] < rows[1]["seconds"]
    (clips / "new.mp4").write_bytes(b"x" * 1315)
    told = planned(devbox, "--workers", "2", "--", "--clips", str(clips))
    assert told["known"][0].endswith("of these very items, 1 by its mean")


@pytest.mark.parametrize(
    "damage",
    [
        b"{",
        b"\xff\n",
        b'{"t": 1, "item": "a", "state": "done", "attempt": 2, "seconds": 1}',
        b'{"t": 1, "item": "a", "state": "done", "attempt": 1, "seconds": 1}',
        b'{"t": "x"}',
        b"[]",
        b"",
    ],
)
def test_a_journal_that_cannot_be_believed_is_left_out(tmp_path: Path, damage: bytes) -> None:
    run = PastRun("r1", "", "succeeded", b"{}", 100.0, 4, "local", "cpu")
    journal = tmp_path / "r1" / recorded.JOURNAL
    journal.parent.mkdir(parents=True)
    journal.write_bytes(damage)
    assert recorded.of_run(tmp_path, run) is None
    good = b'{"t": 1, "item": "a", "state": "started", "attempt": 1}\n'
    good += b'{"t": 31, "item": "a", "state": "done", "attempt": 1, "seconds": 5}\n'
    journal.write_bytes(good)
    assert recorded.of_run(tmp_path, run) == recorded.Record("run r1", {"a": 30.0}, 70.0)
    late = msgspec.structs.replace(run, seconds=9.0)
    assert recorded.of_run(tmp_path, late) is None, "longer than its run"
    assert recorded.of_run(tmp_path / "none", run) is None


@pytest.mark.parametrize(
    ("rows", "knee"),
    [
        ([(1, 100.0, 10), (2, 51.0, 10), (4, 26.0, 11), (8, 20.0, 12)], (4, False)),
        ([(1, 100.0, 10), (2, 51.0, 12)], (1, False)),
        ([(1, 100.0, 10), (2, 51.0, 11), (4, 26.0, 12)], (4, True)),
        ([(1, 100.0, None), (2, 51.0, None), (3, 34.0, None)], (2, True)),
        ([(1, 100.0, 0), (2, 80.0, 0)], (1, False)),
        ([(1, 100.0, 5)], (1, True)),
    ],
)
def test_the_knee(rows: list[tuple[int, float, int | None]], knee: tuple[int, bool]) -> None:
    assert _knee([Workers(*row, "the work") for row in rows]) == knee


def test_what_cannot_be_divided_is_refused(clips: Path, devbox: Devbox) -> None:
    assert "--items COUNT" in devbox("plan", "render", "--workers", "2").err
    assert devbox("plan", "--workers", "2").code == 2
    (clips.parent / "devbox.toml").write_text(TOML)
    words = ["plan", "render", "--workers", "2", "--", "--clips", str(clips)]
    assert 'spread = "files" in [jobs.render.inputs.clips]' in devbox(*words).err


def test_the_journal_of_a_real_run_is_fetched_with_its_results(
    local_workspace: Workspace, local_box: Box
) -> None:
    code = """
import time
def run(job):
    time.sleep(0.1)
    for name in job.items(["a", "b"]):
        with job.item(name):
            time.sleep(0.05)
            job.write(name, name)
"""
    now = local_workspace.clock()
    open_interval(local_workspace.store.ledger, local_box, local_box.price, now - 9)
    write = command(local_workspace, local_box, "sh", "-c", f"cat > spread.py <<'E'\n{code}\nE")
    followed(local_workspace, write)
    assert not (fetch(local_workspace, write) / recorded.JOURNAL).exists(), "it is of a command"
    job = JobSpec(name="spread", module="spread")
    ended = followed(local_workspace, submit(local_workspace, local_box, job, {}, {})).run
    assert ended.state == RunState.SUCCEEDED
    folder = fetch(local_workspace, ended)
    run = past_runs.of_job(local_workspace.store, job, {}, ())[0]
    found = recorded.of_run(folder.parent, run)
    assert found is not None
    assert sorted(found.seconds) == ["a", "b"]
    assert found.load is not None
    assert found.load >= 0.1
