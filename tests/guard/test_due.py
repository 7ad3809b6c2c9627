"""What is due is done once, late rather than twice, whatever the clock does."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devbox import paths, spec
from devbox.guard import act, entries, keep
from devbox.guard.entries import GRACE, Entry, Record
from devbox.guard.round import Round, read_status
from devbox.model import BoxState, Interval, Price
from devbox.providers.base import Kept
from devbox.providers.local.provider import Local
from devbox.spec import LocalSettings
from devbox.spec.trust import record as trust
from devbox.workspace import Workspace
from tests.core.test_state import a_box

#: 07:00 of Monday, 30 November 2026, UTC
MONDAY = 1796022000.0
HOUR = 3600.0
EIGHT = Entry("/p", "p", "up", "dev", "dev", "0 8 * * *", "UTC")


class Desk:
    """A computer with a clock that tests move, one project, and a list of what was begun."""

    def __init__(self, home: Path) -> None:
        self.now, self.begun, self.said = MONDAY, list[Entry](), list[str]()
        self.home = home

    def project(self, name: str, text: str) -> Path:
        file = self.home / name / "devbox.toml"
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
        trust(file, spec.asked(file))
        entries.remember(file.parent)
        return file

    def workspace(self, config: spec.Spec) -> Workspace:
        return Workspace(
            config, clock=lambda: self.now, narrate=self.said.append, providers=[Unkept()]
        )

    def round(self, hours: float = 0.0) -> list[str]:
        """A round that many hours later; what it began."""
        self.now += hours * HOUR
        before = len(self.begun)
        Round(self.begun.append, self.workspace).keep()
        return [f"{entry.verb} {entry.name}" for entry in self.begun[before:]]

    def told(self) -> list[str]:
        ws = self.workspace(spec.load(None))
        rows = ws.store.database.rows("SELECT kind FROM events WHERE kind LIKE 'schedule-%'")
        return [row[0] for row in rows]


class Unkept(Local):
    """A provider that bills and neither ends a box itself nor lets it end itself."""

    bills, keeps_ceiling = True, False

    def __init__(self) -> None:
        super().__init__(LocalSettings(price=1.0))

    def can_arm(self, handle: str) -> bool:
        return False


@pytest.fixture
def desk(home: Path) -> Desk:
    return Desk(home)


_DAILY = '[boxes.dev]\nschedule = "0 8 * * *"\npause_at = "20:00"\n'


def test_a_start_is_done_once_and_a_new_schedule_does_not_look_back(desk: Desk) -> None:
    desk.project("p", 'timezone = "UTC"\n' + _DAILY)
    assert desk.round() == []
    assert desk.round(0.99) == []
    assert desk.round(0.02) == ["up dev"]
    desk.now -= 2 * HOUR  # its clock is set back, and comes to eight again
    assert [desk.round(0.5) for _ in range(6)] == [[]] * 6
    assert desk.round(24) == []  # over an hour late
    assert desk.told() == ["schedule-failed", "schedule-missed"]


def test_what_one_round_began_the_next_leaves_alone_until_it_ended(desk: Desk) -> None:
    desk.project("p", 'timezone = "UTC"\n' + _DAILY)
    desk.round()
    assert desk.round(1) == ["up dev"]
    assert desk.round(0.01) == []
    found = entries.read(desk.begun[0].key)
    assert found is not None
    assert (found.due, found.ended) == (MONDAY + HOUR, None)
    desk.round(1)  # the process that did it is gone, and told nothing
    assert desk.told() == ["schedule-failed"]
    desk.round(0.1)
    assert desk.told() == ["schedule-failed"]


@given(st.lists(st.floats(-3 * HOUR, 30 * HOUR), min_size=1, max_size=40))
@settings(max_examples=60)
def test_a_clock_that_jumps_makes_nothing_happen_twice(moves: list[float]) -> None:
    record, now, farthest = Record(EIGHT, MONDAY), MONDAY, MONDAY
    for move in moves:
        now += move
        expected = EIGHT.latest(farthest, now) if now > farthest else None
        record, verdict = entries.due(EIGHT, record, now)
        if expected is None:
            assert verdict == ""
        else:
            assert record.pending == expected
            assert verdict == ("now" if now - expected <= GRACE else "missed")
            farthest = expected
        record = msgspec.structs.replace(record, pending=None)


def test_a_clock_that_was_years_ahead_stops_no_schedule(desk: Desk) -> None:
    desk.project("p", 'timezone = "UTC"\n' + _DAILY)
    desk.round()
    desk.round(20_000)
    desk.round(-20_000)
    assert desk.round(1) == ["up dev"]


def test_nothing_is_done_that_could_not_be_noted_before(desk: Desk) -> None:
    desk.project("p", 'timezone = "UTC"\n' + _DAILY)
    desk.round()
    desk.now += HOUR
    with full_disk():
        assert desk.round() == []
    assert desk.round() == ["up dev"]


def test_a_broken_project_stops_no_other(desk: Desk) -> None:
    broken = desk.project("a", _DAILY)
    desk.project("b", 'timezone = "UTC"\n' + _DAILY)
    desk.round()
    broken.write_text("[boxes.dev\n")
    assert desk.round(1) == ["up dev"]
    status = read_status()
    assert status is not None
    assert [str(broken) in problem for problem in status.problems] == [True]


def test_a_schedule_that_is_not_trusted_is_none(desk: Desk) -> None:
    file = desk.project("p", 'timezone = "UTC"\n[jobs.j]\ncommand = ["x"]\n' + _DAILY)
    desk.round()
    file.write_text(
        file.read_text().replace("0 8", "0 9") + '[boxes.other]\nschedule = "* * * * *"'
    )
    assert desk.round(3) == []
    assert [each.verb for each in entries.of(spec.load(file))] == ["pause"]


def a_running(desk: Desk, file: Path, since: float) -> None:
    ws = desk.workspace(spec.load(file))
    made = spec.encode_box(ws.spec.boxes["dev"])
    box = a_box("dev", project="p", root=str(file.parent), spec=made, state=BoxState.RUNNING)
    ws.store.boxes.insert(box, "running", {}, since)
    ws.store.ledger.put(Interval(0, box.id, "dev", "local", "cpu", Price(1_000_000), since, None))
    ws.close()


def test_a_pause_waits_for_its_box_and_is_told_once(desk: Desk) -> None:
    file = desk.project(
        "p", 'timezone = "UTC"\n[boxes.dev]\nmax_uptime = "20h"\npause_at = "20:00"\n'
    )
    a_running(desk, file, MONDAY)
    desk.round()
    assert desk.round(13) == []  # nobody can ask this box whether it is in use
    assert desk.round(0.2) == []
    assert desk.told() == ["schedule-held"]
    (entry,) = entries.of(spec.load(file))
    found = entries.read(entry.key)
    assert found is not None
    assert found.pending == MONDAY + 13 * HOUR
    assert "could not be asked" in found.outcome


@pytest.mark.parametrize(("schedule", "since"), [("", 14.0), ("0 21 * * *", 0.0)])
def test_a_pause_is_of_the_stretch_that_began_before_it(
    desk: Desk, schedule: str, since: float
) -> None:
    text = f'timezone = "UTC"\n[boxes.dev]\npause_at = "20:00"\nschedule = "{schedule}"\n'
    file = desk.project("p", text)
    desk.round()
    a_running(desk, file, MONDAY + since * HOUR)
    desk.round(15)  # asleep from 7 to 22 o'clock
    pause = next(each for each in entries.of(spec.load(file)) if each.verb == "pause")
    found = entries.read(pause.key)
    assert found is not None
    assert found.pending is None
    assert found.outcome in ("it was started after that", "its next start has come since")
    assert "pause dev" not in [f"{each.verb} {each.name}" for each in desk.begun]


def test_a_ceiling_that_nothing_else_keeps_is_kept(desk: Desk) -> None:
    file = desk.project("p", "[boxes.dev]\n")
    a_running(desk, file, MONDAY)
    assert desk.round(7.9) == []
    status = read_status()
    assert status is not None
    assert status.next == MONDAY + 8 * HOUR
    assert desk.round(0.2) == ["ceiling id-dev"]
    assert desk.round(0.005) == []  # it was begun just now
    entry = desk.begun[0]
    assert act.verbs(entry) == [["pause", f"{file.parent}/dev", "--yes"]]


@pytest.mark.parametrize("keeps", [True, False])
def test_a_ceiling_is_tried_again_without_files_only_where_they_stay(
    desk: Desk, keeps: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Unkept, "pause_keeps", lambda *_: Kept(keeps, "some"))
    file = desk.project("p", "[boxes.dev]\n")
    a_running(desk, file, MONDAY)
    seen = []

    def refused(words: list[str], cwd: str) -> act.Outcome:
        seen.append(words[-1])
        return act.Outcome(8, "it is down")

    for _ in range(3):
        assert desk.round(8.5 if not seen else 0.1) == ["ceiling id-dev"]
        record = entries.read(desk.begun[-1].key)
        assert record is not None
        entries.write(act.act(desk.workspace(spec.load(None)), record, refused))
    assert seen == ["--yes", *(["--no-save" if keeps else "--yes"] * 2)]
    assert desk.told() == ["schedule-failed"]


@contextmanager
def full_disk() -> Iterator[None]:
    """No file of this process may grow."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_job_needs_its_box_up_first() -> None:
    job = Entry("/p", "p", "run", "night", "dev", "0 2 * * *")
    assert act.verbs(job) == [["up", "dev"], ["run", "night", "--box", "dev", "--detach"]]
    assert keep.at(EIGHT, MONDAY) == "07:00 of 30 Nov"


def test_a_look_keeps_budgets(desk: Desk) -> None:
    ws = desk.workspace(spec.load(None))
    ws.store.boxes.insert(a_box("b", state=BoxState.TERMINATED), "terminated", {}, desk.now)
    spent = Interval(
        0, "id-b", "b", "local", "cpu", Price(9_000_000, "config"), desk.now - HOUR, desk.now
    )
    ws.store.ledger.put(spent)
    paths.user_config().parent.mkdir(parents=True, exist_ok=True)
    paths.user_config().write_text("[budget]\ntotal = 10.0\n")
    for _ in range(2):
        Round(desk.begun.append, desk.workspace).look()
    told = [event.message for event in ws.store.events.news(0, ["budget"])]
    assert [line[:3] for line in told] == ["80%"], "told once, by the highest level that is passed"
