"""`devbox run --then` on the box: what an order waits for, what ends it, what it never loses."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from devbox.box import event_log, json_file, paths, processes
from devbox.box.runs import then
from devbox.box.runs.folder import RunFolder
from devbox.box.watchdog import arm, config
from devbox.wire.jobs import JobStatus
from devbox.wire.messages import Identity
from tests.idle.traces import HOUR, MINUTE, T0, gpu, sample
from tests.idle.world import ORDERS, World

NOBODY = Identity(2**22 + 1, "1", "b")


@pytest.fixture(autouse=True)
def woken() -> Iterator[None]:
    """The agent is this process here: a signal that wakes it must not end the tests."""
    before = signal.signal(signal.SIGHUP, lambda *_: None)
    yield
    signal.signal(signal.SIGHUP, before)


class Box(World):
    """A box on which a run goes, with an order for when it has ended."""

    def __init__(self, do: Any = "pause", **changes: Any) -> None:
        super().__init__(**changes)
        self.busy: list[str] = []
        self.more: dict[str, Any] = {}
        self.parts.sample_now = lambda: sample(jobs=list(self.busy), **self.more)
        self.begin("r1")
        self.give(do, "r1")

    def give(self, do: Any, run: str) -> None:
        now = self.now()
        order = then.Order(do, run, now.wall, now.mono, processes.boot_id())
        json_file.write(self.root / then.FILE, order)

    def begin(self, run: str) -> None:
        folder = RunFolder(run)
        folder.path.mkdir()
        me = processes.identity(os.getpid())
        folder.write_status(JobStatus(id=run, state="running", supervisor=me))
        self.busy.append(run)

    def end(self, run: str, state: Any = "succeeded") -> None:
        RunFolder(run).write_status(JobStatus(id=run, state=state))
        self.busy.remove(run)

    def work(self) -> None:
        """A user types a command over ssh."""
        self.more["ssh"] = {"sessions": 1, "rx_bytes": 7000, "tx_bytes": 9000}
        self.live(10)

    def waits(self) -> str:
        said = self.verdict()["then"]
        assert said
        return str(said["waits"])


@pytest.mark.parametrize("state", ["succeeded", "failed", "cancelled"])
def test_a_run_that_ends_has_the_box_paused_a_minute_later_whatever_it_came_to(state: str) -> None:
    box = Box()
    # a process that the run left behind, or another one
    box.more = {"gpus": [gpu(util=99)], "cpu": {"util": 90.0, "count": 8}}
    box.live(40 * MINUTE)
    assert (box.kinds(), box.waits()) == ([], "run")
    assert "pauses when run r1 ends" in box.verdict()["reasons"]
    box.end("r1", state)
    box.live(10)
    said = box.verdict()
    assert (said["state"], said["cause"]) == ("warned", "then")
    assert said["pauses_at"] == pytest.approx(T0 + 41 * MINUTE, abs=6)
    assert event_log.read(box.root)[-1].message.startswith(
        f"would pause in 1m: run r1 {state}; then it pauses"
    )
    box.live(40)
    assert box.kinds() == ["warning"]
    box.live(20)
    box.until_event("paused")
    assert box.pause_file.exists()
    told = {event.kind: event.message for event in event_log.read(box.root)}
    assert told["pausing"].startswith(f"run r1 {state}: asking the provider to pause")
    assert then.read(box.root) is None, "it was carried out"


def test_it_waits_for_other_runs_for_who_is_at_work_and_for_keep() -> None:
    box = Box()
    box.begin("r2")
    box.live(MINUTE)
    box.end("r1")
    box.live(40 * MINUTE)
    assert box.waits() == "others"
    assert "but waits for r2" in box.verdict()["then"]["text"]
    box.busy, box.more = [], {"waiting": ["r2"]}  # for a round
    box.live(5 * MINUTE)
    assert (box.waits(), box.verdict()["cause"]) == ("others", "idle")
    box.busy, box.more = ["r2"], {}
    box.end("r2")
    box.work()
    box.live(200, step=5)
    assert (box.kinds(), box.waits()) == ([], "use")
    config.set_hold(box.root, box.now().mono + 20 * MINUTE, box.now())
    box.live(20 * MINUTE - 30)
    assert (box.kinds(), box.waits()) == ([], "keep")
    box.live(MINUTE)
    assert box.kinds() == ["warning"]
    box.live(MINUTE)
    box.until_event("paused")


def test_a_run_that_does_not_start_in_time_is_over() -> None:
    box = Box()
    box.end("r1")
    box.give("pause", "r2")
    box.live(80, step=5)
    assert box.waits() == "run"
    box.live(15, step=5)
    assert box.verdict()["then"]["text"] == "run r2 did not start; then it pauses"
    box.live(MINUTE, step=5)
    box.until_event("paused")


def test_who_comes_back_after_the_warning_delays_it() -> None:
    box = Box()
    box.live(2 * MINUTE)
    box.end("r1")
    box.live(20)
    box.work()
    box.live(30)
    assert box.kinds() == ["warning", "called-off"]
    box.live(5 * MINUTE + 40)
    box.until_event("paused")


def test_a_list_of_runs_that_stops_coming_is_no_end_of_them() -> None:
    box = Box()
    box.live(MINUTE)
    box.end("r1")
    box.parts.sample_now = lambda: sample(jobs=None)
    box.live(40 * MINUTE)
    assert box.waits() == "answer"
    assert not box.pause_file.exists()


def test_it_outlives_armings_a_boot_and_the_death_of_agent_and_supervisor(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    box = Box()
    box.live(MINUTE)
    box.arm(pause={"kind": "exec", "argv": ["touch", str(box.pause_file)]})
    box.live(10)
    monkeypatch.setattr(processes, "boot_id", lambda: "another-boot")
    RunFolder("r1").write_status(JobStatus(id="r1", state="running", supervisor=NOBODY))
    box.busy.clear()
    box.second += 10 * MINUTE
    box.start()
    box.live(10)
    status = RunFolder("r1").status()
    assert status is not None
    assert (status.state, status.reason) == ("failed", "interrupted")
    box.live(MINUTE + 5)
    box.until_event("paused")


def test_a_box_that_was_started_again_since_is_no_longer_bound() -> None:
    box = Box()
    box.live(MINUTE)
    same = {**ORDERS, "sent": T0 + 70, "started": T0 - 100}
    for started, bound in ((T0 - 100, True), (T0 + 65, False)):
        orders = config.receive(box.root, {**same, "started": started}, box.now())
        arm._forget(box.root, orders)
        assert (then.read(box.root) is not None) is bound
    assert "started again since" in event_log.read(box.root)[-1].message


def test_one_that_is_taken_back_is_not_carried_out_even_while_it_saves() -> None:
    box = Box()
    box.live(MINUTE)
    box.end("r1")
    box.live(10)
    assert box.kinds() == ["warning"]
    assert then.take_back()
    box.live(10)
    assert box.kinds() == ["warning", "then", "called-off"]
    assert box.verdict()["then"] is None
    assert box.verdict()["state"] == "active"


def test_without_a_way_to_keep_files_it_waits_until_none_is_only_there() -> None:
    box = Box("down", disk_kept=False)
    out = RunFolder("r1").out
    out.mkdir()
    (out / "model.pt").write_bytes(b"x")
    box.live(MINUTE)
    box.end("r1")
    box.live(10 * MINUTE)
    assert (box.waits(), box.pause_file.exists()) == ("files", False)
    assert "devbox attach r1" in box.verdict()["then"]["text"]
    (out / "model.pt").unlink()
    box.live(3 * MINUTE)
    box.until_event("paused")
    (warned,) = (e.message for e in event_log.read(box.root) if e.kind == "warning")
    assert warned.startswith("would end in 55s: run r1 succeeded; then it ends"), warned


@pytest.mark.parametrize("stays", [False, True], ids=["copied", "stays"])
def test_what_is_only_there_is_copied_to_a_volume_or_the_box_stays(home: Path, stays: bool) -> None:
    volume = home / "data"
    volume.mkdir()
    if stays:
        (volume / "devbox-saved").write_text("a file where the folder should be")
    box = Box(disk_kept=False, volumes=[str(volume)])
    out = RunFolder("r1").out
    out.mkdir()
    (out / "model.pt").write_bytes(b"x" * 9)
    box.live(MINUTE)
    box.end("r1")
    box.live(MINUTE + 10)
    box.until_event("then-held" if stays else "paused")
    assert box.pause_file.exists() is not stays
    assert then.read(box.root) is None
    saved = [path.read_bytes() for path in volume.rglob("model.pt")]
    assert saved == ([] if stays else [b"x" * 9])


def test_a_computer_that_fetches_is_waited_for_while_it_has_a_login() -> None:
    box = Box()
    box.live(MINUTE)
    box.end("r1")
    json_file.write(box.root / "syncing.json", {"until": box.now().wall + HOUR})
    box.more = {"ssh": {"sessions": 1, "rx_bytes": 5000, "tx_bytes": 9000}}
    box.live(10 * MINUTE)
    assert (box.kinds(), box.waits()) == ([], "fetch")
    box.more = {"ssh": {"sessions": 0, "rx_bytes": 5000, "tx_bytes": 9000}}
    box.live(2 * MINUTE)
    box.until_event("paused")


@pytest.mark.parametrize(
    "text", ["", "{}", '{"do":"halt","run":"r1"}', '{"do":"pause","run":"../x"}']
)
def test_a_damaged_order_stops_nothing(text: str) -> None:
    box = Box()
    (box.root / then.FILE).write_text(text)
    box.live(29 * MINUTE)
    assert not box.pause_file.exists()
    assert json.loads((box.root / "verdict.json").read_text())["then"] is None
    assert paths.root() == box.root
