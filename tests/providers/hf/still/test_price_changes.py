"""A price that the Hub changes is known within minutes where something costs, and is not waited
for."""

from __future__ import annotations

from devbox import lifecycle
from devbox.providers.hf.job import HfJob
from devbox.spec import HfSettings
from devbox.workspace import Workspace
from tests.emulators.common import Fault
from tests.emulators.hf import HfEmulator
from tests.providers.hf.still.conftest import billed, only, spent

MINUTE, HOUR = 60.0, 3600.0
ROUTE = "job_hardware"


def asks(hub: HfEmulator) -> int:
    return sum(call.route == ROUTE for call in hub.calls.records)


def test_a_price_that_was_old_at_the_begin_is_corrected(ws: Workspace, hub: HfEmulator) -> None:
    ws.provider("hf-job").offers()
    hub.clock.advance(50 * MINUTE)
    hub.reprice("jobs", "t4-small", 0.7)
    lifecycle.up(ws, "b", wait=False)
    hub.clock.advance(MINUTE)
    lifecycle.observe_now(ws, only(ws))
    assert asks(hub) == 1
    assert ws.store.ledger.of_box(only(ws).id)[0].price.micro_per_hour == 400_020
    lifecycle.refresh(ws, [only(ws)])
    hub.clock.advance(HOUR)
    lifecycle.refresh(ws, [only(ws)])
    assert len(ws.store.ledger.of_box(only(ws).id)) == 1
    assert spent(ws, hub) == billed(hub) > 0


def test_a_price_that_changes_while_it_runs_splits_it(ws: Workspace, hub: HfEmulator) -> None:
    lifecycle.up(ws, "b", wait=False)
    late = 0.0
    for dollars in (0.7, 0.2, 0.9):
        before = hub.hub.flavors["jobs"]["t4-small"].usd_per_hour
        hub.clock.advance(2 * HOUR)
        lifecycle.refresh(ws, [only(ws)])
        hub.reprice("jobs", "t4-small", dollars)
        hub.clock.advance(5 * MINUTE)
        lifecycle.refresh(ws, [only(ws)])
        late += abs(dollars - before) * 7 * MINUTE / HOUR  # the look, and a minute on each side
    hub.clock.advance(2 * HOUR)
    assert len(ws.store.ledger.of_box(only(ws).id)) == 4
    assert abs(spent(ws, hub) - billed(hub)) <= late * 1e6


def test_looks_ask_for_prices_every_five_minutes(ws: Workspace, hub: HfEmulator) -> None:
    lifecycle.up(ws, "b", wait=False)
    before = asks(hub)
    for _ in range(60):
        hub.clock.advance(MINUTE)
        lifecycle.refresh(ws, [only(ws)])
    assert asks(hub) - before == 12


def test_a_list_that_does_not_come_holds_up_nothing(ws: Workspace, hub: HfEmulator) -> None:
    """The last one counts until then, and it is asked for once a minute."""
    ws.provider("hf-job").offers()
    hub.clock.advance(2 * HOUR)
    hub.knobs.set(ROUTE, Fault.server_error(), times=None)
    before = asks(hub)
    box = lifecycle.up(ws, "b", wait=False)
    for _ in range(12):
        hub.clock.advance(10)
        lifecycle.refresh(ws, [box])
    assert asks(hub) - before <= 3
    found = ws.store.ledger.of_box(only(ws).id)
    assert [each.price.micro_per_hour for each in found] == [400_020]


def test_two_threads_ask_once(hub: HfEmulator) -> None:
    from concurrent.futures import ThreadPoolExecutor

    job = HfJob(HfSettings(), clock=hub.clock.now)
    with ThreadPoolExecutor(8) as pool:
        came = list(pool.map(lambda _: job.renew_prices(), range(16)))
    assert sum(came) == asks(hub) == 1
