"""A create whose answer was lost is paid for all the same, and is in the ledger."""

from __future__ import annotations

import pytest

from devbox import lifecycle
from devbox.model import BoxState
from devbox.workspace import Workspace
from tests.emulators.common import Fault
from tests.emulators.hf import HfEmulator
from tests.providers.hf.still.conftest import billed, only, spent

HOUR = 3600.0


def end(hub: HfEmulator) -> str:
    hub.clock.advance(1800)
    (job,) = [job for job in hub.jobs.values() if not job.over]
    hub.leave(job.id)
    hub.clock.advance(HOUR)
    return job.id


def cut_off(ws: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next wait of a verb is the last thing it does."""

    class Killed(BaseException):
        pass

    def killed(seconds: float) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(ws, "sleep", killed)
        with pytest.raises(Killed):
            lifecycle.up(ws, "b", wait=False)


def test_a_second_create_counts_what_the_first_one_made(ws: Workspace, hub: HfEmulator) -> None:
    """The computer slept between the two tries of one `up`."""
    hub.knobs.set("run_job", Fault.reply_lost())
    slept: list[str] = []

    def sleep(seconds: float) -> None:
        if not slept:
            slept.append(end(hub))
        hub.clock.advance(seconds)

    ws.sleep = sleep
    box = lifecycle.up(ws, "b", wait=False)
    hub.clock.advance(600)
    lifecycle.refresh(ws, [box])
    assert len(hub.jobs) == 2
    assert spent(ws, hub) == billed(hub) > 0
    told = [e.message for e in ws.store.events.of_box(box.id) if e.kind == "found-ended"]
    assert len(told) == 1
    assert slept[0] in told[0]


def test_what_ran_beside_the_box_is_counted_once(
    ws: Workspace, hub: HfEmulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Job that no listing showed until there was a second one."""
    hub.knobs.set("run_job", Fault.reply_lost())
    cut_off(ws, monkeypatch)
    hub.clock.advance(300)
    hub.knobs.set("list_jobs", Fault.list_lag(301), times=None)
    lifecycle.up(ws, "b", wait=False)
    hub.knobs.clear()
    first, second = hub.jobs
    hub.clock.advance(1800)
    lifecycle.refresh(ws, [only(ws)])
    assert only(ws).handle == f"me/{first}"
    assert hub.jobs[second].stage == "CANCELED"
    hub.clock.advance(600)
    for _ in range(3):
        lifecycle.account_unanswered(ws)
        lifecycle.refresh(ws, [only(ws)])
    assert spent(ws, hub) == billed(hub) > 0
    hub.leave(first)
    lifecycle.refresh(ws, [only(ws)])
    assert spent(ws, hub) == billed(hub) > 0
    assert ws.store.boxes.named("b")[0].handle == f"me/{first}"


def test_an_end_counts_the_second_one_that_it_ends(
    ws: Workspace, hub: HfEmulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.knobs.set("run_job", Fault.reply_lost())
    cut_off(ws, monkeypatch)
    hub.clock.advance(300)
    hub.knobs.set("list_jobs", Fault.list_lag(301), times=None)
    lifecycle.up(ws, "b", wait=False)
    hub.knobs.clear()
    hub.clock.advance(900)
    lifecycle.down(ws, only(ws), save=False)
    assert all(job.over for job in hub.jobs.values())
    assert spent(ws, hub) == billed(hub) > 0


def test_a_box_that_was_given_up_is_asked_about_once_more(
    ws: Workspace, hub: HfEmulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.knobs.set("run_job", Fault.reply_lost())
    cut_off(ws, monkeypatch)
    hub.knobs.set("list_jobs", Fault.server_error(), times=None)
    assert lifecycle.forget(ws, only(ws)).state is BoxState.LOST
    hub.knobs.clear()
    end(hub)
    lifecycle.reconcile(ws)
    assert spent(ws, hub) == billed(hub) > 0
    assert only(ws).unanswered is not None
    hub.clock.advance(24 * HOUR)
    lifecycle.reconcile(ws)
    assert only(ws).unanswered is None
    assert spent(ws, hub) == billed(hub) > 0
