"""The times that are told of a Space against the emulator's own meter, to the millisecond where
they can be known, on a clock that only the test moves."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants

from devbox.errors import Unavailable
from devbox.model import BoxState
from devbox.providers.base import Observation, Request
from devbox.providers.hf.space import HfSpace
from devbox.spec import BoxSpec, HfSettings
from tests.boxes import request_for
from tests.emulators.common import Clock, Fault
from tests.emulators.hf import HfEmulator, Times

TIMES = Times(build=20.0, start=10.0)


@pytest.fixture
def hub(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HfEmulator]:
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    with HfEmulator(clock=Clock.manual(), times=TIMES, state_dir=home / "hub") as hub:
        for key, value in hub.env().items():
            monkeypatch.setenv(key, value)
        yield hub


@pytest.fixture
def space(hub: HfEmulator) -> HfSpace:
    return fresh(hub)


def fresh(hub: HfEmulator) -> HfSpace:
    """As a second process would have it."""
    return HfSpace(HfSettings(), clock=hub.clock.now)


@pytest.fixture
def request_() -> Request:
    return request_for("b", BoxSpec(provider="hf-space"), hardware="t4-small")


def look(space: HfSpace) -> Observation:
    seen = space.observe("me/devbox-b")
    assert seen is not None
    return seen


def begun(hub: HfEmulator) -> float:
    return hub.meter.intervals("me/devbox-b")[-1].start


def ended(hub: HfEmulator) -> float:
    end = hub.meter.intervals("me/devbox-b")[-1].end
    assert end is not None
    return end


def test_a_start_that_nobody_watched(hub: HfEmulator, space: HfSpace, request_: Request) -> None:
    space.create(request_)
    hub.advance(3600)
    assert look(fresh(hub)).billed_since == pytest.approx(begun(hub), abs=0.001)
    hub.advance(100)
    assert look(fresh(hub)).billed_since == pytest.approx(begun(hub), abs=0.001)


@pytest.mark.parametrize("verb", ["create", "resume"])
def test_a_stretch_that_nobody_watched_is_told_afterwards(
    hub: HfEmulator, space: HfSpace, request_: Request, verb: str
) -> None:
    """It was asked for by a devbox that was killed, and stopped by itself."""
    space.create(request_)
    hub.advance(100)
    if verb == "resume":
        look(space)
        space.pause("me/devbox-b")
        hub.advance(5000)
        assert look(space).ended_at == ended(hub)
        space.resume(request_, "me/devbox-b")
        hub.advance(100)
    hub.app_prints("me/devbox-b", "devbox: alive")
    hub.pause_space("me/devbox-b")
    hub.advance(50_000)
    for _ in range(2):
        seen = look(fresh(hub))
        assert (seen.state, seen.billed) == (BoxState.PAUSED, False)
        assert seen.billed_since == pytest.approx(begun(hub), abs=0.001)
        assert seen.ended_at == pytest.approx(ended(hub), abs=0.001)
    space.resume(request_, "me/devbox-b")
    hub.advance(100)
    assert look(fresh(hub)).billed_since == pytest.approx(begun(hub), abs=0.001)


def test_a_stretch_on_free_hardware_is_none(
    hub: HfEmulator, space: HfSpace, request_: Request
) -> None:
    hub.knobs.set("request_hardware", Fault.payment_required())
    with pytest.raises(Exception, match="payment method"):
        space.create(request_)
    hub.advance(100)
    hub.app_prints("me/devbox-b", "devbox: alive")
    hub.pause_space("me/devbox-b")
    hub.advance(50_000)
    seen = look(fresh(hub))
    assert (seen.state, seen.billed_since) == (BoxState.PAUSED, None)


def test_a_clock_of_ours_that_is_set_moves_what_was_noted(
    hub: HfEmulator, request_: Request
) -> None:
    ahead = [800.0]
    space = HfSpace(HfSettings(), clock=lambda: hub.clock.now() + ahead[0])
    space.create(request_)
    hub.advance(100)
    assert look(space).billed_since == pytest.approx(begun(hub) + 800, abs=2)
    ahead[0] = 0.0
    hub.advance(7000)
    assert look(space).billed_since == pytest.approx(begun(hub), abs=2)


def test_a_start_that_was_refused_is_no_stretch(
    hub: HfEmulator, space: HfSpace, request_: Request
) -> None:
    space.create(request_)
    hub.advance(100)
    look(space)
    hub.app_prints("me/devbox-b", "devbox: alive")
    space.pause("me/devbox-b")
    hub.advance(5000)
    before = look(space)
    hub.knobs.set("restart", Fault.payment_required())
    with pytest.raises(Exception, match="payment method"):
        space.resume(request_, "me/devbox-b")
    hub.advance(60)
    seen = look(fresh(hub))
    assert (seen.billed_since, seen.ended_at) == (before.billed_since, before.ended_at)


def test_a_price_that_changed_is_seen_within_the_hour(
    hub: HfEmulator, space: HfSpace, request_: Request
) -> None:
    space.create(request_)
    hub.advance(100)
    first = look(space).price
    hub.reprice("spaces", "t4-small", 0.60)
    hub.advance(3600)
    second = look(space).price
    assert first is not None
    assert second is not None
    assert (first.micro_per_hour, second.micro_per_hour) == (400_020, 600_000)


def test_a_pause_that_nobody_confirmed(hub: HfEmulator, space: HfSpace, request_: Request) -> None:
    space.create(request_)
    hub.advance(100)
    look(space)
    space.pause("me/devbox-b")
    hub.advance(5000)
    seen = look(fresh(hub))
    assert (seen.state, seen.ended_at) == (BoxState.PAUSED, ended(hub))
    space.resume(request_, "me/devbox-b")
    hub.advance(3600)
    seen = look(fresh(hub))
    assert seen.billed_since == pytest.approx(begun(hub), abs=0.001)
    assert seen.ended_at is not None
    assert seen.billed_since is not None
    assert seen.ended_at < seen.billed_since


def test_a_pause_that_was_ignored_and_an_end_by_itself_later(
    hub: HfEmulator, space: HfSpace, request_: Request
) -> None:
    space.create(request_)
    hub.advance(100)
    look(space)
    hub.knobs.set("pause", Fault.stop_ignored())
    space.pause("me/devbox-b")
    hub.advance(300)
    assert look(space).billed
    hub.advance(5000)
    hub.app_prints("me/devbox-b", "devbox: alive")
    hub.pause_space("me/devbox-b")
    hub.advance(7000)
    assert look(fresh(hub)).ended_at == pytest.approx(ended(hub), abs=0.001)


@pytest.mark.parametrize("fault", [Fault.reply_lost(), Fault.server_error()])
def test_a_pause_asked_for_twice_with_hours_between(
    hub: HfEmulator, space: HfSpace, request_: Request, fault: Fault
) -> None:
    """The computer slept before it tried again: what the first call did ended then."""
    space.create(request_)
    hub.advance(30)
    assert look(space).state is BoxState.RUNNING
    hub.knobs.set("pause", fault)
    hub.advance(100)
    with pytest.raises(Unavailable):
        space.pause("me/devbox-b")
    hub.advance(4 * 3600)
    space.pause("me/devbox-b")
    seen = look(space)
    assert seen.state is BoxState.PAUSED
    assert seen.ended_at == pytest.approx(ended(hub), abs=0.001)


def test_a_pause_whose_reply_was_lost(hub: HfEmulator, space: HfSpace, request_: Request) -> None:
    space.create(request_)
    hub.advance(100)
    look(space)
    hub.knobs.set("pause", Fault.reply_lost())
    with pytest.raises(Exception, match="did not answer"):
        space.pause("me/devbox-b")
    hub.advance(5000)
    assert look(fresh(hub)).ended_at == ended(hub)


def test_a_pause_that_was_ignored_ends_nothing(
    hub: HfEmulator, space: HfSpace, request_: Request
) -> None:
    space.create(request_)
    hub.advance(100)
    look(space)
    hub.knobs.set("pause", Fault.stop_ignored())
    space.pause("me/devbox-b")
    hub.advance(3000)
    assert look(space).billed
    hub.advance(10)
    space.pause("me/devbox-b")
    hub.advance(500)
    assert look(fresh(hub)).ended_at == ended(hub)


def test_an_end_that_nobody_confirmed(hub: HfEmulator, space: HfSpace, request_: Request) -> None:
    space.create(request_)
    hub.advance(100)
    look(space)
    space.terminate("me/devbox-b")
    hub.advance(5000)
    seen = fresh(hub).observe("me/devbox-b")
    assert seen is not None
    assert (seen.state, seen.billed, seen.ended_at) == (BoxState.TERMINATED, False, ended(hub))


def test_a_pause_by_somebody_else_is_dated_by_the_images_heartbeat(
    hub: HfEmulator, space: HfSpace, request_: Request
) -> None:
    space.create(request_)
    hub.advance(100)
    look(space)
    for _ in range(10):
        hub.advance(30)
        hub.app_prints("me/devbox-b", "devbox: alive")
    hub.advance(12)
    from huggingface_hub import HfApi

    HfApi(endpoint=hub.endpoint, token=hub.token).pause_space("me/devbox-b")
    hub.advance(50_000)
    told = look(fresh(hub)).ended_at
    assert told is not None
    assert 0 <= ended(hub) - told <= 30


def test_a_rebuild_is_a_gap(hub: HfEmulator, space: HfSpace, request_: Request) -> None:
    space.create(request_)
    hub.advance(100)
    look(space)
    space.restart("me/devbox-b", factory=True)
    first = ended(hub)
    hub.advance(5)
    seen = look(space)
    assert (seen.state, seen.billed, seen.ended_at) == (BoxState.BUILDING, False, first)
    hub.advance(1000)
    assert look(space).billed_since == pytest.approx(begun(hub), abs=0.001)


def test_free_hardware_needs_no_exact_times(hub: HfEmulator, space: HfSpace) -> None:
    space.create(request_for("b", BoxSpec(provider="hf-space"), hardware="cpu-basic"))
    hub.advance(100)
    seen = look(space)
    assert seen.price is not None
    assert seen.price.micro_per_hour == 0
    assert "space_logs" not in hub.calls.routes
