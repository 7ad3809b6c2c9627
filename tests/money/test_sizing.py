"""Right-sizing: what is named would have held all that was measured, and is cheaper."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from devbox.cli.cost_sizes import sentence
from devbox.model import Hardware, Offer, Price, Run, RunState
from devbox.money import sizing
from devbox.state.store import Store
from devbox.state.usage import Place
from tests.boxes import close_interval, open_interval
from tests.core.test_state import HOUR, a_box

GB = 1 << 30
T0 = 1_790_000_000.0
L40S = Hardware("l40sx1", "L40S", 1, 48 * GB, 8, 62 * GB)
L4 = Hardware("l4x1", "L4", 1, 24 * GB, 8, 30 * GB)
T4 = Hardware("t4-small", "T4", 1, 16 * GB, 4, 15 * GB)
PAIR = Hardware("t4x2", "T4", 2, 32 * GB, 8, 60 * GB)
CPU = Hardware("cpu-basic", "", 0, 0, 2, 16 * GB)


def offer(hardware: Hardware, dollars: float | None, provider: str = "local") -> Offer:
    price = Price(None if dollars is None else round(dollars * 1e6))
    return Offer(provider, hardware, price, T0)


OFFERS = [offer(L40S, 1.8), offer(L4, 0.8), offer(T4, 0.4), offer(PAIR, 0.7), offer(CPU, 0.0),
          offer(Hardware("free", "X", 1, 99 * GB, 8, 99 * GB), None),
          offer(Hardware("else", "L4", 1, 99 * GB, 8, 99 * GB), 0.1, "elsewhere")]  # fmt: skip


def a_run(store: Store, number: int, peak: object, state: RunState = RunState.SUCCEEDED) -> None:
    status = json.dumps({"peak": peak}).encode()
    at = T0 + number * 60
    store.runs.put(Run(f"r{number}", "id-gpu", "gpu", "j", state, at, at, at + 50, status=status))


def a_store() -> Store:
    store = Store.open()
    open_interval(store.ledger, a_box("gpu", hardware="l40sx1"), Price(1_800_000), T0)
    close_interval(store.ledger, "id-gpu", T0 + HOUR)
    return store


def of(store: Store) -> sizing.Sizing:
    (found,) = sizing.sizings(store, OFFERS, T0 - HOUR, T0 + HOUR)
    return found


def test_the_evidence_and_what_it_saves_are_told() -> None:
    store = a_store()
    for number in range(12):
        a_run(store, number, {"vram": (17 - number) * GB, "rss": 9 * GB})
    found = of(store)
    assert sentence(found) == (
        "gpu (l40sx1): peak 17.0 GB of 48.0 GB VRAM, 9.0 GB of 62.0 GB memory over 12 runs; "
        "l4x1 saves $1.00/h, and may take longer"
    )
    assert sizing.best([found]) == [found]


def test_nothing_is_named_on_evidence_that_is_not_whole() -> None:
    store = a_store()
    small = {"vram": GB, "rss": GB}
    for number in range(2):
        a_run(store, number, small)
    assert of(store).why == "fewer than 3 runs succeeded"
    for number, odd in enumerate(({"vram": GB}, {}, None, "x", {"rss": -1}, {"rss": "9"}), 2):
        a_run(store, number, odd)
    assert of(store).why == "6 of its runs told no peak"
    for number in range(2, 8):
        a_run(store, number, {"rss": GB})
    assert of(store).offer is not None
    for number in range(8):
        a_run(store, number, {"rss": GB})
    assert of(store).why == "no run told how much VRAM it held"
    a_run(store, 9, small, RunState.RUNNING)
    assert of(store).why == "1 of its runs told no peak"


def test_without_a_price_of_its_own_hardware_nothing_is_cheaper() -> None:
    store = a_store()
    for number in range(3):
        a_run(store, number, {"vram": GB, "rss": GB})
    for offers in ([], [offer(L40S, None), offer(T4, 0.1)]):
        (found,) = sizing.sizings(store, offers, T0 - HOUR, T0 + HOUR)
        assert (found.offer, found.why) == (None, "its provider names no price for it now")


def test_what_the_box_held_beside_its_runs_must_fit_too() -> None:
    store = a_store()
    for number in range(3):
        a_run(store, number, {"vram": 2 * GB, "rss": GB})
    chosen = of(store).offer
    assert chosen is not None
    assert chosen.hardware == T4
    digest = {"t": T0 + 90, "mem": {"used": 4 * GB}, "gpus": [{"mem_used": 30 * GB}, {}]}
    lines = json.dumps(digest).encode() + b"\n{\n[]\n" + b'{"t": "x"}\n'
    store.usage.put("id-gpu", T0 + 90, Place("b", 1, T0 + 90), lines)
    assert of(store).why == "nothing cheaper would have fitted"


_PEAKS = st.lists(
    st.tuples(st.integers(0, 60 * GB), st.integers(0, 70 * GB)), min_size=3, max_size=6
)


@settings(max_examples=40)
@given(_PEAKS)
def test_no_suggestion_would_not_have_fitted(peaks: list[tuple[int, int]]) -> None:
    evidence = sizing.Evidence(
        "gpu", "local", "l40sx1", len(peaks), 0, max(v for v, _ in peaks), max(m for _, m in peaks)
    )
    found = sizing._sized(evidence, OFFERS)
    if found.offer is None:
        return
    hardware = found.offer.hardware
    assert found.offer.provider == "local"
    assert hardware.gpus >= 1
    assert found.saves > 0
    for vram, memory in peaks:
        assert vram < hardware.vram / hardware.gpus
        assert memory <= hardware.memory
