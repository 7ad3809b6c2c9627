"""The providers' own bills against the ledger: each difference is explained, or called unknown."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from huggingface_hub import constants
from hypothesis import given
from hypothesis import strategies as st

from devbox.errors import Unavailable
from devbox.model import Box, Interval, Price
from devbox.money import bill
from devbox.money.bills import reconcile
from devbox.money.period import Period
from devbox.providers.abilities import Charge
from devbox.providers.hf.bill import RIGHT, _jobs, _rows
from devbox.spec import Spec
from devbox.state.spending import Slice
from devbox.state.store import Store
from devbox.workspace import Workspace
from tests.boxes import close_interval, open_interval
from tests.command_line import Devbox
from tests.core.test_state import HOUR, a_box
from tests.emulators.common import Clock
from tests.emulators.hf import HfEmulator

T0 = 1_790_000_000.0
DAY = Slice("day", T0, T0 + 24 * HOUR)
PRICE = Price(600_000, unit=60)  # a cent a minute


def interval(
    start: float, end: float | None, *, box: str = "b", price: Price = PRICE, hardware: str = "t4"
) -> Interval:
    return Interval(1, box, box, "cloud", hardware, price, T0 + start, end and T0 + end)


def charge(handle: str, start: float, end: float, micro: int, **more: Any) -> Charge:
    return Charge(handle, more.pop("hardware", "t4"), more.pop("kind", "compute"), T0 + start,
                  T0 + end, micro, **more)  # fmt: skip


def one(intervals: list[Interval], charges: list[Charge], by: float = 1e12) -> bill.Compared:
    (row,) = bill.compared(intervals, charges, {"me/b": "b"}, [DAY], by)
    return row


@pytest.mark.parametrize(
    ("intervals", "charges", "by", "why"),
    [
        ([interval(0, 3600)], [charge("me/b", 0, 3600, 600_000)], 1e12, ""),
        ([interval(0, 3570)], [charge("me/b", 0, 3570, 595_000)], 1e12,
         "rounding to the billing unit"),
        ([interval(0, 3600)], [charge("me/b", 0, 3600, 630_000)], 1e12, "unknown"),
        ([interval(0, 3600)], [], 1e12, "unknown"),
        ([interval(0, 7200)], [charge("me/b", 0, 3600, 600_000)], T0 + 3600, "not reported yet"),
        ([interval(0, 60, price=Price(None))], [charge("me/b", 0, 60, 9)], 1e12,
         "the ledger has no price for part of it"),
        # it names no box, and one only ran on that hardware then
        ([interval(0, 3600)], [charge("", 0, 3600, 600_000)], 1e12, ""),
    ],
)  # fmt: skip
def test_a_difference_is_explained(
    intervals: list[Interval], charges: list[Charge], by: float, why: str
) -> None:
    assert one(intervals, charges, by).why == why


def test_what_belongs_to_no_box_known_here_stays_apart() -> None:
    two = [interval(0, 3600), interval(0, 3600, box="c")]
    charges = [
        charge("", 0, 3600, 600_000, product="spaces/t4/minutes"),
        charge("you/x", 0, 3600, 5_000),
        charge("", 0, 3600, 70_000, kind="storage", product="storage/private"),
        charge("", 0, 3600, 80_000, kind="egress", product="egress"),
        charge("", -9000, -8000, 99, kind="other"),
    ]
    rows = bill.compared(two, charges, {"me/b": "b", "me/c": "c"}, [DAY], 1e12)
    apart = {row.why: row.billed for row in rows if not row.box}
    assert apart == {
        "no box known here: spaces/t4/minutes": 600_000,
        "no box known here: t4": 5_000,
        "storage: storage/private": 70_000,
        "egress: egress": 80_000,
    }
    assert {row.box: row.why for row in rows if row.box} == {"b": "unknown", "c": "unknown"}


_CHARGE = st.tuples(st.integers(0, 200_000), st.integers(0, 200_000), st.integers(0, 10**9))


@given(st.lists(_CHARGE, max_size=6), st.lists(st.integers(1, 50_000), min_size=1, max_size=5))
def test_all_that_was_billed_is_in_some_row(
    charges: list[tuple[int, int, int]], widths: list[int]
) -> None:
    whole = [charge("me/b", a, a + length, micro) for a, length, micro in charges]
    slices, at = [], T0
    for width in [*widths, 500_000]:
        slices.append(Slice(str(at), at, at + width))
        at += width
    rows = bill.compared([interval(0, 1)], whole, {"me/b": "b"}, slices, 1e12)
    assert sum(row.billed for row in rows) == pytest.approx(sum(c.micro for c in whole), abs=7)


@pytest.fixture
def emulator(home: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    with HfEmulator(clock=Clock.manual(T0), state_dir=home / "hub") as made:
        for key, value in made.env().items():
            monkeypatch.setenv(key, value)
        yield made


def hf_box(name: str, provider: str, handle: str, hardware: str = "t4-small") -> Box:
    return msgspec.structs.replace(a_box(name, hardware=hardware), provider=provider, handle=handle)


def a_ledger(*boxes: Box) -> Store:
    store = Store.open()
    for box in boxes:
        store.boxes.insert(box, "running", {}, T0)
        open_interval(store.ledger, box, Price(400_020, unit=60), T0)
        close_interval(store.ledger, box.id, T0 + HOUR)
    return store


def meter(hub: HfEmulator, *handles: str) -> None:
    for handle in handles:
        hub.meter.start(handle, 400_020 / 3600, "t4-small")
    hub.clock.advance(HOUR)
    for handle in handles:
        hub.meter.stop(handle)


@pytest.mark.parametrize("labels", [True, False])
def test_spaces_and_jobs_are_held_against_the_hubs_report(
    emulator: HfEmulator, labels: bool
) -> None:
    emulator.hub.billing_labels = labels
    a_ledger(hf_box("s", "hf-space", "me/devbox-s"), hf_box("j", "hf-job", "me/j1")).close()
    meter(emulator, "me/devbox-s", "j1")
    stored = {"label": "x", "product": "storage/private", "totalCostMicroUSD": 7000}
    times = {"startedAt": "2026-09-21T14:13:20Z", "stoppedAt": "2026-09-21T14:14:20Z"}
    free = {**stored, **times, "freeGrant": True}
    emulator.hub.other_charges += [{**stored, **times}, free, {"product": 3}]
    ws = Workspace(Spec(project="p"), clock=emulator.clock.now)
    found = reconcile(ws, Period(), emulator.clock.now())
    assert found.failed == {}
    space, job = found.rows["hf-space"], found.rows["hf-job"]
    assert [(r.box, r.ledger, r.billed, r.why) for r in job] == [("j", 400_020, 400_020, "")]
    assert [(r.box, r.billed, r.why) for r in space] == [
        ("s", 400_020, ""),
        ("", 7000, "storage: storage/private"),
    ]


def test_a_token_without_the_right_is_told_which_one_to_add(
    emulator: HfEmulator, devbox: Devbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_ledger(hf_box("s", "hf-space", "me/devbox-s"), a_box("mine")).close()
    meter(emulator, "me/devbox-s")
    emulator.account.add_token("hf_nobill", billing=False)
    monkeypatch.setenv("HF_TOKEN", "hf_nobill")
    words = ("cost", "--reconcile", "--since", "2026-09-01", "--until", "2026-09-30")
    done = devbox(*words)
    assert done.code == 17
    assert f'give the token the right "{RIGHT}" (under Billing)' in done.err
    assert "local: bills are not its provider's to tell" in done.err
    monkeypatch.setenv("HF_TOKEN", emulator.env()["HF_TOKEN"])
    done = devbox(*words)
    assert done.code == 0
    assert "together" in done.out
    (row,) = devbox(*words, "--json").data["rows"]["hf-space"]
    assert (row["box"], row["difference_micro"], row["why"]) == ("s", 0, "")


@pytest.mark.parametrize("said", [{}, {"usage": 3}, {"usage": {"jobDetails": {}}}])
def test_an_answer_that_is_no_report_is_no_bill(said: dict[str, Any]) -> None:
    with pytest.raises(Unavailable, match="cannot be read"):
        list(_jobs(said, "me"))


def test_rows_that_make_no_sense_are_left_out() -> None:
    at = {"startedAt": "2026-09-21T14:13:20Z", "jobId": "j"}
    odd: list[Any] = [3, {}, {**at, "totalCostMicroUsd": -1}, {**at, "totalCostMicroUsd": True}]
    odd.append({"startedAt": "yesterday", "jobId": "j", "totalCostMicroUsd": 1})
    assert list(_jobs({"usage": {"jobDetails": odd}}, "me")) == []
    assert list(_rows({"usage": {"a": odd, "b": 3}})) == []
    (running,) = _jobs({"usage": {"jobDetails": [{**at, "totalCostMicroUsd": 5}]}}, "me")
    assert (running.handle, running.micro, running.end) == ("me/j", 5, float("inf"))
