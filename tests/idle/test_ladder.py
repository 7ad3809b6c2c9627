"""The ladder with a clock and hands of our own: what is done when, and what calls it off."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

from devbox.box.watchdog import policy as idle
from devbox.box.watchdog.agent import JUDGE_EVERY
from devbox.box.watchdog.deadline import Ceiling, Moment
from devbox.box.watchdog.escalation import CALM, CONFIRM, Report, Rung, Thread, Watchdog
from devbox.wire.codec import Unreadable, convert
from devbox.wire.messages import Policy, Verdict
from tests.idle.traces import HOUR, MINUTE, T0, Sample, ceiling, gpu, sample

POLICY = Policy(save_command=("make", "save"))
SAVED = Report(True, "the save command ended well", "3 unsynced files (1.2 MB)")


class Box:
    """Seconds of a box under the ladder; the hooks take `takes` seconds. It is gone (`off`) when a
    pause was accepted and `dies`."""

    def __init__(
        self, policy: Policy = POLICY, *, end: Ceiling | None = None, can_pause: bool = True
    ) -> None:
        self.policy = policy
        self.state = idle.begin(Moment(T0, 1000.0), end)
        self.second = 0
        self.events: list[tuple[int, str, str]] = []
        self.said: list[str] = []
        self.calls: list[tuple[int, str]] = []
        self.takes = 0
        self.answers: list[Report] = []
        self.dies = True
        self.off = False
        self.save_report = SAVED
        self.risk = ""
        self.ladder = self.new_ladder(can_pause)
        self.verdict: Verdict | None = None

    def new_ladder(self, can_pause: bool = True, rung: Rung | None = None) -> Watchdog:
        return Watchdog(
            self.policy, "gpu1", self, can_pause=can_pause, rung=rung, start=self._start
        )

    def _start(self, work: Callable[[], Report]) -> _Later:
        return _Later(self, self.second + self.takes, work)

    def event(self, kind: str, message: str) -> None:
        self.events.append((self.second, kind, message))

    def at_risk(self) -> str:
        return self.risk

    def say(self, message: str) -> None:
        self.said.append(message)

    def dismiss(self) -> None:
        self.state = self.state._replace(then=None)
        self.calls.append((self.second, "dismiss"))

    def save(self) -> Report:
        self.calls.append((self.second, "save"))
        return self.save_report

    def pause(self) -> Report:
        self.calls.append((self.second, "pause"))
        report = self.answers.pop(0) if self.answers else Report(True, "accepted")
        self.off = report.ok and self.dies
        return report

    def live(self, seconds: float, make: Callable[[int], Sample] = lambda s: sample()) -> None:
        """Sampled and judged as often as an agent judges: each second once a pause is announced."""
        end = self.second + int(seconds)
        while self.second < end and not self.off:
            calm = self.ladder.rung.name == CALM
            self.second = min(end, self.second + (int(JUDGE_EVERY) if calm else 1))
            now = Moment(T0 + self.second, 1000.0 + self.second)
            self.state = idle.observe(self.policy, self.state, make(self.second), now)
            judged = idle.judge(self.policy, self.state, now)
            self.verdict = self.ladder.tick(judged, self.state, now)

    def kinds(self) -> list[str]:
        return [kind for _, kind, _ in self.events]


class _Later:
    """Work that is done at a given second of its box."""

    def __init__(self, box: Box, at: int, work: Callable[[], Report]) -> None:
        self._box, self._at, self._work = box, at, work
        self._report: Report | None = None

    @property
    def report(self) -> Report | None:
        if self._report is None and self._box.second >= self._at:
            self._report = self._work()
        return self._report


def typing(second: int) -> Sample:
    return sample(tty={"count": 1, "input_at": float(second)})


def test_an_idle_box_is_warned_saved_and_paused_in_this_order() -> None:
    box = Box()
    box.live(HOUR)
    assert box.off
    assert box.kinds() == ["warning", "saving", "saved", "pausing", "paused"]
    assert [second for second, _, _ in box.events][:2] == [25 * MINUTE, 30 * MINUTE]
    assert box.calls[0] == (30 * MINUTE + 1, "save")
    assert [name for _, name in box.calls] == ["save", "pause"]
    assert "would pause in 5m: no job runs; GPU 0 at 0 %" in box.events[0][2]
    assert "devbox keep gpu1 2h" in box.said[0]
    assert box.said[1] == "this box pauses in 1m"
    assert box.said[2] == "this box pauses now"
    assert "3 unsynced files (1.2 MB)" in box.events[3][2]


def test_what_was_not_synced_is_in_the_event_of_the_pause() -> None:
    box = Box()
    box.dies = False
    box.live(31 * MINUTE)
    assert box.events[-1][1:] == ("paused", "paused with 3 unsynced files (1.2 MB)")
    assert box.verdict is not None
    assert (box.verdict.state, box.verdict.cause) == ("pausing", "idle")


@pytest.mark.parametrize("back", [26, 29.5])
def test_work_after_the_warning_calls_the_pause_off(back: float) -> None:
    box = Box()
    box.live(back * MINUTE)
    assert box.verdict is not None
    assert box.verdict.warned
    box.live(5, typing)
    box.live(10 * MINUTE)
    assert box.kinds() == ["warning", "called-off"]
    assert "keystroke" in box.events[1][2]
    assert not box.calls
    box.live(25 * MINUTE)
    assert box.kinds()[2:5] == ["warning", "saving", "saved"]


def test_keep_after_the_warning_calls_the_pause_off() -> None:
    box = Box()
    box.live(27 * MINUTE)
    box.state = box.state._replace(hold=1000.0 + 4 * HOUR)
    box.live(HOUR)
    assert box.kinds() == ["warning", "called-off"]
    assert "kept for another" in box.events[1][2]


@pytest.mark.parametrize("command", [(), ("make", "save")])
def test_a_gpu_that_begins_to_work_as_the_pause_begins_calls_it_off(
    command: tuple[str, ...],
) -> None:
    """Unless a save command of the user's runs, whose own work that may be."""
    box = Box(Policy(save_command=command))
    begins = 30 * MINUTE + 1
    box.live(40 * MINUTE, lambda s: sample(gpus=[gpu(97 if s >= begins else 0)]))
    assert box.off == bool(command)
    assert ("called-off" in box.kinds()) == (not command)


def test_a_person_who_comes_back_during_the_save_calls_it_off() -> None:
    box = Box()
    box.takes = 60
    box.live(30 * MINUTE + 20)
    box.live(5, typing)
    box.live(10 * MINUTE)
    assert box.kinds() == ["warning", "saving", "called-off"]
    assert box.calls == [(31 * MINUTE, "save")]


def test_a_keep_during_the_save_calls_it_off() -> None:
    box = Box()
    box.takes = 60
    box.live(30 * MINUTE + 20)
    box.state = box.state._replace(hold=1000.0 + 4 * HOUR)
    box.live(2 * MINUTE)
    assert box.kinds() == ["warning", "saving", "called-off"]
    assert box.verdict is not None
    assert box.verdict.state == "held"


def test_the_save_commands_own_work_does_not_call_it_off() -> None:
    def saving(second: int) -> Sample:
        busy = second < 30 * MINUTE + 100
        return sample(cpu={"util": 90 if busy else 1, "count": 8}, net={"rx_bps": 0, "tx_bps": 5e7})

    box = Box()
    box.takes = 90
    box.live(30 * MINUTE + 5)
    box.live(60, saving)
    assert box.verdict is not None
    assert (box.verdict.state, box.verdict.cause) == ("saving", "idle")
    assert box.verdict.pauses_at == T0 + box.second, "its own work is no reason to stay"
    box.live(9 * MINUTE, saving)
    assert box.off
    assert box.kinds()[:4] == ["warning", "saving", "saved", "pausing"]


def test_a_failing_save_does_not_stop_the_pause_and_is_told() -> None:
    box = Box()
    box.save_report = Report(False, "the save command ended with code 2: no space", "1 file")
    box.live(HOUR)
    assert box.off
    assert "save-failed" in box.kinds()
    assert "code 2: no space" in box.events[2][2]


def test_a_failing_pause_is_asked_again_and_again_with_growing_waits() -> None:
    box = Box()
    box.answers = [Report(False, "HTTP 503")] * 7
    box.live(3 * HOUR)
    asked = [second for second, name in box.calls if name == "pause"]
    waits = [b - a for a, b in pairwise(asked)]
    assert len(asked) == 8
    assert [round(wait / 15) for wait in waits] == [1, 2, 4, 8, 16, 20, 20]
    assert box.kinds().count("pause-failed") == 7
    assert box.kinds().count("pausing") == 1
    assert any("keeps running and costing" in line for line in box.said)
    assert box.off


def test_the_verdict_tells_that_the_pause_fails() -> None:
    box = Box()
    box.answers = [Report(False, "HTTP 403: not yours")] * 50
    box.live(40 * MINUTE)
    assert box.verdict is not None
    assert box.verdict.state == "pausing"
    assert box.verdict.reasons[0] == "HTTP 403: not yours"


def test_a_failing_idle_pause_gives_up_for_a_person() -> None:
    box = Box()
    box.answers = [Report(False, "HTTP 503")] * 50
    box.live(35 * MINUTE)
    box.live(5, typing)
    box.live(20)
    assert box.kinds()[-1] == "called-off"
    assert box.verdict is not None
    assert box.verdict.state == "active"


def test_an_accepted_pause_that_does_not_come_is_asked_again() -> None:
    box = Box()
    box.dies = False
    box.live(30 * MINUTE + 20)
    box.live(CONFIRM + 20)
    assert "pause-unconfirmed" in box.kinds()
    assert [name for _, name in box.calls] == ["save", "pause", "pause"]


def test_the_ceiling_is_not_called_off() -> None:
    def work(second: int) -> Sample:
        return sample(jobs=["r1"], tty={"count": 1, "input_at": float(second)})

    box = Box(end=ceiling(2 * HOUR, save=120))
    box.state = box.state._replace(hold=1000.0 + 9 * HOUR)
    box.live(3 * HOUR, work)
    assert box.off
    assert box.second <= 2 * HOUR
    assert [second for second, kind, _ in box.events if kind == "warning"] == [105 * MINUTE - 150]
    assert "max_uptime is a ceiling" in box.said[0]


def test_an_idle_warning_near_the_ceiling_becomes_one_of_the_ceiling() -> None:
    box = Box(end=ceiling(40 * MINUTE))
    box.live(27 * MINUTE)
    assert box.kinds() == ["warning"]
    assert "devbox keep gpu1 2h" in box.said[0]
    box.live(5, typing)
    assert box.kinds() == ["warning", "warning"]
    assert "max_uptime is a ceiling" in box.said[1]
    assert box.verdict is not None
    assert box.verdict.cause == "ceiling"
    box.live(20 * MINUTE)
    assert box.off
    assert 39 * MINUTE <= box.second <= 40 * MINUTE
    assert "called-off" not in box.kinds()


def test_a_deadline_that_is_past_is_saved_and_paused_at_once() -> None:
    box = Box(end=ceiling(-60.0, span=HOUR))
    box.live(10, lambda s: sample(jobs=["r1"]))
    assert box.off
    assert box.kinds()[:3] == ["warning", "saving", "saved"]


def test_an_idle_pause_that_is_due_without_warning_still_gives_a_minute() -> None:
    box = Box()
    box.state = box.state._replace(hold=1000.0 + 2 * HOUR)
    box.live(90 * MINUTE)
    box.state = box.state._replace(hold=None)
    box.live(3)
    assert box.kinds() == ["warning"]
    box.live(55)
    assert box.kinds() == ["warning"]
    box.live(10)
    assert box.off


def test_a_box_that_cannot_pause_itself_says_so_once_and_saves() -> None:
    box = Box(can_pause=False)
    box.live(HOUR)
    assert box.kinds() == ["warning", "saving", "saved", "cannot-pause"]
    assert "devbox pause gpu1" in box.events[-1][2]
    assert box.calls == [(30 * MINUTE + 1, "save")]
    assert box.verdict is not None
    assert "cannot pause itself" in box.verdict.reasons[0]
    box.live(5, typing)
    assert box.kinds()[-1] == "called-off"


@pytest.mark.parametrize("at", [26 * MINUTE, 30 * MINUTE + 20, 31 * MINUTE + 10])
def test_an_agent_that_was_killed_goes_on_from_its_rung(at: int) -> None:
    box = Box()
    box.takes = 60
    box.answers = [Report(False, "HTTP 503")]
    box.live(at)
    rung = convert(_through_json(box.ladder.rung._asdict()), Rung)
    assert rung == box.ladder.rung
    box.ladder = box.new_ladder(rung=rung)
    box.live(20 * MINUTE)
    assert box.off
    assert box.kinds().count("warning") == 1
    assert box.kinds().count("saving") == 1
    assert 1 <= [name for _, name in box.calls].count("save") <= 2


@pytest.mark.parametrize(
    "fields",
    [
        None,
        3,
        {"name": "asleep"},
        {**Rung()._asdict(), "since": "x"},
        {"name": "saving", "cause": "whim"},
    ],
)
def test_a_rung_that_makes_no_sense_is_refused(fields: Any) -> None:
    with pytest.raises(Unreadable):
        convert(fields, Rung)


def test_a_hook_that_raises_is_a_report() -> None:
    def broken() -> Report:
        raise RuntimeError("boom")

    task = Thread(broken)
    task.join()
    assert task.report == Report(False, "RuntimeError: boom")


def _through_json(value: Any) -> Any:
    import json

    return json.loads(json.dumps(value))


def test_a_warning_names_what_a_pause_would_lose_in_every_channel() -> None:
    box = Box()
    box.risk = "3 unsynced files (1.2 MB) in work WILL BE LOST: the pause keeps no disk"
    box.live(POLICY.after + POLICY.warn)
    warned = [message for _, kind, message in box.events if kind == "warning"]
    assert box.risk in warned[0]
    assert box.risk in box.said[0]
    later = Box()
    later.risk = box.risk
    later.live(POLICY.after - POLICY.warn + 30)
    assert later.verdict
    assert later.verdict.state == "warned"
    assert later.risk in later.verdict.reasons
