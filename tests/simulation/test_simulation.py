"""Twenty lives of fifty boxes, and that what a life has to hold can fail."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devbox.box.watchdog import config
from devbox.box.watchdog import policy as idle
from devbox.box.watchdog.deadline import Moment
from devbox.box.watchdog.escalation import Watchdog
from devbox.box.watchdog.signals.work import Jobs
from devbox.lifecycle import billing
from devbox.money import limits
from devbox.providers.hf.hardware import Rates
from devbox.providers.modal import record
from devbox.providers.modal.sandbox_lineage import Generations
from devbox.wire.messages import Policy
from tests.idle.traces import T0
from tests.simulation.__main__ import lived
from tests.simulation.leap import leap
from tests.simulation.life import Size
from tests.simulation.machine import OTHER, STEP, USES, Phase, shown

SMALL = Size(days=20, boxes=10, sessions=2.0)
DEARER = SMALL._replace(prices=300)
MODALS = SMALL._replace(sessions=6.0)


@pytest.mark.parametrize("seed", range(1, 21))
def test_ninety_days_of_fifty_boxes(seed: int, capsys: pytest.CaptureFixture[str]) -> None:
    wrong, told = lived(seed)
    with capsys.disabled():
        print(f"\nseed {seed}: {told}", end=" ")
    assert wrong == []


@given(st.sampled_from(sorted({**USES, **OTHER})), st.integers(5, 200))
@settings(max_examples=40)
def test_a_leap_is_the_steps_it_stands_for(what: str, steps: int) -> None:
    phase, policy = Phase(T0, T0 + 1e6, what), Policy(after=1e6)
    state = idle.begin(Moment(T0, 0.0))
    seen = []
    for step in range(1, 12 + steps):
        at = step * STEP
        state = idle.observe(policy, state, shown(phase, T0 + at), Moment(T0 + at, at))
        seen.append(state)
    found = leap(seen[8:11], steps)
    assert found is not None
    assert idle.judge(policy, found, Moment(T0 + at, at)) == idle.judge(
        policy, seen[-1], Moment(T0 + at, at)
    )
    assert idle.last_use(policy, found, Moment(T0 + at, at)) == pytest.approx(
        idle.last_use(policy, seen[-1], Moment(T0 + at, at)), abs=0.01
    )


def _late_end(monkeypatch: pytest.MonkeyPatch) -> None:
    close = billing.close
    monkeypatch.setattr(billing, "close", lambda current, end: close(current, end + 900))


def _old_prices(monkeypatch: pytest.MonkeyPatch) -> None:
    """A list that is there once is never asked for again."""
    renew = Rates._renew
    monkeypatch.setattr(Rates, "_renew", lambda self, age: not self._kept() and renew(self, age))


def _no_end_at_modal(monkeypatch: pytest.MonkeyPatch) -> None:
    """When a sandbox ended is taken to be when that is seen."""
    of_info = record.of_info
    monkeypatch.setattr(record, "of_info", lambda info: of_info(info)._replace(ended=None))


def _old_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """A box is resumed from what its sandbox began with."""
    monkeypatch.setattr(Generations, "image", lambda self, found: found.base)


def _no_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    def from_calm(self: Any, verdict: Any, now: Moment) -> None:
        if verdict.state == "pausing":
            self._save(verdict, now)

    monkeypatch.setattr(Watchdog, "_from_calm", from_calm)


def _told_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    from devbox.box.notices import outbox

    put = outbox.put

    def twice(root: Path, notify: Any, notice: Any) -> bool:
        if notice is not None:
            put(root, notify, notice._replace(id=f"{notice.id}-again"))
        return put(root, notify, notice)

    monkeypatch.setattr(outbox, "put", twice)


def _slow_to_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    last_use = idle.last_use
    monkeypatch.setattr(idle, "last_use", lambda *given: last_use(*given) + 120.0)


def _deaf_to_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Jobs, "observe", lambda self, part, waiting, now: self._replace(seen=now))


def _asks_no_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "check", lambda *given, **named: None)


def _keeps_no_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    _asks_no_budget(monkeypatch)
    monkeypatch.setattr(config, "allowance", lambda given: None)


BREAKS: dict[str, tuple[Callable[[pytest.MonkeyPatch], None], str, int, Size]] = {
    "stretches end a quarter of an hour late": (_late_end, "the ledger is off", 5, SMALL),
    "prices stay as they were": (_old_prices, "the ledger is off", 5, DEARER),
    "ends of sandboxes are not read": (_no_end_at_modal, "the ledger is off", 6, MODALS),
    "sandboxes begin with old files": (_old_files, "began again", 5, MODALS),
    "no warning": (_no_warning, "without a warning", 5, SMALL),
    "notices are put twice": (_told_twice, "tells twice", 5, SMALL),
    "idle time begins two minutes late": (_slow_to_idle, "s without use", 5, SMALL),
    "jobs do not count": (_deaf_to_jobs, "although busy: job", 5, SMALL),
    "no budget is kept": (_keeps_no_budget, "of its budget", 16, SMALL),
    "no day's budget is kept": (_keeps_no_budget, "daily budget", 12, SMALL),
    "no month's budget is kept": (_keeps_no_budget, "monthly budget", 12, MODALS),
}


@pytest.mark.parametrize("name", BREAKS)
def test_a_life_notices_what_is_broken(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    broken, word, seed, size = BREAKS[name]
    broken(monkeypatch)
    wrong, _ = lived(seed, size)
    assert any(word in each for each in wrong), wrong


def test_boxes_keep_budgets_by_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is begun although it may cost too much is stopped by its own watchdog in time."""
    _asks_no_budget(monkeypatch)
    wrong, told = lived(6, SMALL)
    assert wrong == []
    assert int(told.split(" pauses at a budget")[0].split()[-1]) > 0, told


def test_a_life_without_faults_holds() -> None:
    for seed, size in {(seed, size) for _, _, seed, size in BREAKS.values()}:
        assert lived(seed, size)[0] == []
