"""Prices: live, cached with their age, and from the catalogue; and Modal's own bill."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from devbox.errors import Unavailable
from devbox.model import Offer
from devbox.money.fit import best
from devbox.providers.modal import rates
from devbox.providers.modal.provider import Modal
from devbox.providers.modal.rates import Rates
from devbox.providers.modal.sizes import Size, hardware_name, size_of
from devbox.spec import BoxSpec, Bytes, ModalSettings, Seconds
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
    provider = Modal(ModalSettings(), clock=lambda: now[0])
    offer = of(provider.offers(), "T4")
    assert (offer.price.micro_per_hour, offer.price.source) == (T4_AN_HOUR, "live")
    assert offer.as_of == now[0]
    provider.offers()
    assert emulator.calls.routes.count("WorkspaceBillingRates") == 1
    emulator.knobs.set("WorkspaceBillingRates", Fault.forbidden(), times=None)
    now[0] += 3 * 3600
    later = of(provider.offers(), "T4")
    assert (later.price.micro_per_hour, later.price.source) == (T4_AN_HOUR, "cached 3h")
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


# As public users printed `modal billing rates --json` on 2026-09-20.
PRINTED = {
    "cpu_hour_cost": "0.0473",
    "cpu_hour_cost_sandbox": "0.1419",
    "mem_gib_hour_cost": "0.008",
    "mem_gib_hour_cost_sandbox": "0.024",
    "gpu_hour_cost_t4": "0.59",
    "gpu_hour_cost_a10g": "1.10",
    "gpu_hour_cost_a100_40gb": "2.10",
    "gpu_hour_cost_rtx6000": "3.03",
    "gpu_hour_cost_h100": "3.95",
    "gpu_hour_cost_b200": "6.25",
    "volume_storage_gib_month_cost": "0.09",
    "egress_gib_cost": "0.04",
}


def rates_of(said: dict[str, str], tell: list[str] | None = None) -> Rates:
    hear = [] if tell is None else tell
    return Rates(lambda: {k: Decimal(v) for k, v in said.items()}, "k", tell=hear.append)


@pytest.mark.parametrize(
    ("hardware", "dollars"),
    [
        ("cpu", 0.0),
        ("T4", 0.59),
        ("A10", 1.10),
        ("A100-40GB", 2.10),
        ("RTX-PRO-6000", 3.03),
        ("H100", 3.95),
        ("H100!", 3.95),
        ("B200+:2", 12.50),
    ],
)
def test_live_prices_are_dollars_an_hour_under_modals_names(
    home: Path, hardware: str, dollars: float
) -> None:
    price = rates_of(PRINTED).price(Size(hardware, 2.0, 4096))
    assert price.source == "live"
    assert price.micro_per_hour == round((dollars + 2 * 0.1419 + 4 * 0.024) * 1e6)


@pytest.mark.parametrize("value", ["0.000164", "0.1", "3600", "-1", "0", "NaN", "Infinity"])
def test_a_live_price_far_off_the_catalogue_is_refused_and_told(home: Path, value: str) -> None:
    said: list[str] = []
    prices = rates_of({**PRINTED, "gpu_hour_cost_t4": value}, said)
    price = prices.price(Size("T4", 4.0, 16384))
    assert price.source == "catalogue 2026-10-04"
    assert price.micro_per_hour == round((0.5904 + 4 * 0.1419 + 16 * 0.024) * 1e6)
    assert [line for line in said if "gpu_hour_cost_t4" in line and "is not used" in line] == said


def test_a_price_that_modal_does_not_name_comes_from_the_catalogue(home: Path) -> None:
    price = rates_of({}).price(Size("T4", 1.0, 1024))
    assert price.source.startswith("catalogue")
    assert price.micro_per_hour


@pytest.mark.parametrize(
    ("region", "factor"),
    [("", 1.0), ("us", 1.5), ("EU", 1.5), ("us-west", 1.75), ("us-east-1", 1.75), ("jp", 1.75)],
)
def test_a_region_is_priced(home: Path, region: str, factor: float) -> None:
    wanted = BoxSpec(provider="modal", region=region)
    offer = of(rates_of({}).offers(wanted), "T4")
    assert offer.price.micro_per_hour == round(T4_AN_HOUR * factor)
    assert (f"x{factor:g}" in offer.note) is bool(region)
    assert (offer.region, offer.factor) == (region, factor)


def test_the_price_of_a_box_in_a_region_is_what_modal_meters(
    harness: ModalHarness, provider: Modal, emulator: ModalEmulator
) -> None:
    request = harness.request()
    request = request._replace(spec=msgspec.structs.replace(request.spec, region="us-west"))
    seen = harness.running(provider, provider.create(request))
    assert seen.price
    assert seen.price.micro_per_hour == round(T4_AN_HOUR * 1.75)
    (metered,) = emulator.meter.intervals()
    assert metered.rate * 3600 == pytest.approx(seen.price.micro_per_hour, rel=1e-6)


@pytest.mark.parametrize(
    ("asked", "named"),
    [
        ("a100", "A100-40GB"),
        ("A10G:2", "A10:2"),
        ("h100!", "H100!"),
        ("b200+:8", "B200+:8"),
        ("rtx-pro-6000", "RTX-PRO-6000"),
        ("t4:1", "T4"),
        ("CPU", "cpu"),
        ("", ""),
    ],
)
def test_names_of_hardware_are_taken_as_the_client_takes_them(
    harness: ModalHarness, provider: Modal, emulator: ModalEmulator, asked: str, named: str
) -> None:
    assert hardware_name(asked) == named
    wanted = BoxSpec(provider="modal", hardware=asked)
    offer = best(provider, wanted)
    assert offer.hardware.name == (named or "cpu")
    request = harness.request()._replace(hardware=asked or "cpu")
    seen = harness.running(provider, provider.create(request))
    assert seen.hardware == offer.hardware.name
    assert seen.price
    assert seen.price.micro_per_hour == offer.price.micro_per_hour
    (sandbox,) = emulator.sandboxes.values()
    gpu = sandbox.definition.resources.gpu_config.gpu_type
    assert gpu == ("" if seen.hardware == "cpu" else seen.hardware.partition(":")[0])


def test_a_modal_core_is_a_physical_one(home: Path) -> None:
    offer = of(rates_of({}).offers(BoxSpec(provider="modal", cpu=8)), "T4")
    assert "cpu counts physical cores (8 = 16 vCPU)" in offer.note


def test_a_broken_cache_is_asked_anew(home: Path) -> None:
    prices = rates_of({"cpu_hour_cost_sandbox": "0.14"})
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
        provider: Any = Modal(ModalSettings(), clock=harness.emulator.clock.now)
        # why start_timeout: a sandbox reads this machine's clock, not the emulator's.
        handles = [
            provider.create(
                harness.request(name, max_uptime=Seconds(5400), start_timeout=Seconds(2 * 86400))
            )
            for name in "ab"
        ]
        for handle in handles:
            harness.running(provider, handle)
        harness.emulator.advance(5 * 3600)
        for handle in handles:
            harness.until(provider, handle, lambda seen: seen is None or not seen.billed)
        bill = provider.bill(ten, ten + 4 * 3600)
        tokens = {charge.handle for charge in bill}
        assert len(tokens) == 2
        for token in tokens:
            micro = sum(charge.micro for charge in bill if charge.handle == token)
            assert micro == pytest.approx(T4_AN_HOUR * 1.5, rel=0.001)
        assert all(charge.end - charge.start == 3600 for charge in bill)
        assert provider.bill(ten, ten + 60) == []
    finally:
        harness.close()
