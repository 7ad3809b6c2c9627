"""Prices: live, cached with their age, and from the catalogue; and Modal's own bill."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from devbox.errors import Unavailable
from devbox.model import Offer
from devbox.providers.modal import rates
from devbox.providers.modal.provider import Modal
from devbox.providers.modal.rates import Rates, Size, size_of
from devbox.spec import BoxSpec, Bytes, ProviderConfig, Seconds
from tests.contract.harness_modal import ModalHarness
from tests.emulators.common import Clock, Fault
from tests.emulators.modal import ModalEmulator, Stages

T4_AN_HOUR = round((164 + 4 * 39.42 + 16 * 6.67) * 3600)
WANTED = BoxSpec(provider="modal")


def of(offers: list[Offer], name: str) -> Offer:
    return next(offer for offer in offers if offer.hardware.name == name)


def test_live_prices_are_kept_for_an_hour_then_shown_with_their_age(
    harness: ModalHarness, emulator: ModalEmulator
) -> None:
    now = [time.time()]
    provider = Modal(ProviderConfig(), clock=lambda: now[0])
    offer = of(provider.offers(), "T4")
    assert (offer.price.micro_per_hour, offer.price.source) == (T4_AN_HOUR, "live")
    assert offer.as_of == now[0]
    provider.offers()
    assert emulator.calls.routes.count("WorkspaceBillingRates") == 1
    emulator.knobs.set("WorkspaceBillingRates", Fault.forbidden(), times=None)
    now[0] += 3 * 3600
    later = of(provider.offers(), "T4")
    assert (later.price.micro_per_hour, later.price.source) == (T4_AN_HOUR, "cached 3h00m")
    assert later.as_of == offer.as_of


def test_without_a_live_answer_the_catalogue_says_its_date(
    harness: ModalHarness, provider: Modal, emulator: ModalEmulator
) -> None:
    emulator.knobs.set("WorkspaceBillingRates", Fault.server_error(), times=None)
    offer = of(provider.offers(), "T4")
    assert offer.price.source == "catalogue 2026-10-04"
    assert offer.price.micro_per_hour == T4_AN_HOUR
    assert offer.as_of == datetime(2026, 10, 4, tzinfo=UTC).timestamp()


def test_hardware_has_vram_counts_and_surcharges(home: Path) -> None:
    def down() -> dict[str, Decimal]:
        raise Unavailable("down")

    offers = Rates(down, "k").offers(WANTED)
    eight = of(offers, "H100:8")
    assert (eight.hardware.gpus, eight.hardware.vram) == (8, 640 * 1024**3)
    assert eight.price.micro_per_hour == 8 * (of(offers, "H100").price.micro_per_hour or 0)
    assert of(offers, "cpu").price.micro_per_hour == round((2 * 39.42 + 4 * 6.67) * 3600)
    assert not any(offer.hardware.name == "A10:8" for offer in offers)


def test_sizes_follow_the_spec() -> None:
    assert size_of("cpu", WANTED) == Size("cpu", 2.0, 4096)
    assert size_of("T4:2", WANTED) == Size("T4:2", 8.0, 32768)
    wanted = BoxSpec(provider="modal", cpu=0.5, memory=Bytes(1024**3))
    assert size_of("T4:2", wanted) == Size("T4:2", 0.5, 1024)


@pytest.mark.parametrize(
    ("said", "live"),
    [
        ({"CPU": "0.00004", "Memory": "0.000007", "T4": "0.0002"}, True),
        ({"cpu_core": "0.00004", "Memory (GiB)": "0.000007", "GPU_T4": "0.0002"}, True),
        ({"CPU": "9", "Sandbox CPU": "0.00004", "memory": "0.000007", "nvidia-t4": "0.0002"}, True),
        ({"CPU": "0.00004", "T4": "0.0002"}, False),
        ({"CPU": "-1", "Memory": "NaN", "T4": "Infinity"}, False),
        ({}, False),
    ],
)
def test_names_that_modal_may_use_for_its_rates(
    home: Path, said: dict[str, str], live: bool
) -> None:
    prices = Rates(lambda: {k: Decimal(v) for k, v in said.items()}, "k")
    price = prices.price(Size("T4", 1.0, 1024))
    assert (price.source == "live") is live
    if live:
        assert price.micro_per_hour == round((0.00004 + 0.000007 + 0.0002) * 3600e6)
    else:
        assert price.source.startswith("catalogue")
        assert price.micro_per_hour


def test_a_broken_cache_is_asked_anew(home: Path) -> None:
    prices = Rates(lambda: {"CPU": Decimal("0.00004")}, "k")
    prices.price(Size("cpu", 1.0, 1024))
    (file,) = (home / ".devbox/cache").glob("modal-rates-*.json")
    for content in (b"", b"{", json.dumps({"at": "x"}).encode()):
        file.write_bytes(content)
        assert prices.price(Size("cpu", 1.0, 1024)).micro_per_hour


def test_the_catalogue_is_dated_and_has_its_source() -> None:
    catalogue = json.loads(rates._CATALOGUE.read_text())
    assert catalogue["source"]
    datetime.fromisoformat(catalogue["date"])
    datetime.fromisoformat(catalogue["cpu"]["date"])


def test_modals_own_bill_by_box(home: Path) -> None:
    ten = datetime.now(UTC).replace(hour=10, minute=0, second=0, microsecond=0).timestamp()
    instant = Stages(0.0, 0.0, 0.0, 0.0)
    harness = ModalHarness(home, clock=Clock.manual(ten), stages=instant)
    try:
        provider: Any = Modal(ProviderConfig(), clock=harness.emulator.clock.now)
        handles = [
            provider.create(harness.request(name, max_uptime=Seconds(5400))) for name in "ab"
        ]
        for handle in handles:
            harness.running(provider, handle)
        harness.emulator.advance(5 * 3600)
        for handle in handles:
            harness.until(provider, handle, lambda seen: seen is None or not seen.billed)
        bill = provider.bill(ten, ten + 4 * 3600)
        assert len(bill) == 2
        for micro in bill.values():
            assert micro == pytest.approx(T4_AN_HOUR * 1.5, rel=0.001)
        assert provider.bill(ten, ten + 60) == {}
    finally:
        harness.close()
