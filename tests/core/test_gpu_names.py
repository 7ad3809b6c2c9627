"""A GPU by one name at every provider."""

from __future__ import annotations

from pathlib import Path

import pytest

from devbox import spec
from devbox.errors import NotFound, SpecError
from devbox.model import Hardware, Offer, Price
from devbox.money.fit import fit, has_gpu
from devbox.money.offers import select
from devbox.spec import BoxSpec

GIB = 1 << 30


def offer(name: str, gpu: str, gpus: int, gigabytes: int, micro: int) -> Offer:
    return Offer("p", Hardware(name, gpu, gpus, gigabytes * GIB), Price(micro), 0.0)


OFFERS = [
    offer("l4x1", "L4", 1, 24, 800_000),
    offer("l40sx1", "L40S", 1, 48, 1_800_000),
    offer("l40sx4", "L40S", 4, 192, 8_300_000),
    offer("a100-large", "A100", 1, 80, 2_500_000),
    offer("A100-40GB", "A100-40GB", 1, 40, 2_100_000),
    offer("rtx", "NVIDIA RTX PRO 6000", 1, 96, 3_000_000),
    offer("cpu", "", 0, 0, 10_000),
]


@pytest.mark.parametrize(
    ("asked", "taken"),
    [
        ("L40S", "l40sx1"),
        ("l4", "l4x1"),
        ("L40S:2", "l40sx4"),
        ("A100", "A100-40GB"),
        ("A100-80GB", "a100-large"),
        ("A100 40GB", "A100-40GB"),
        ("rtx-pro-6000", "rtx"),
        ("NVIDIA L4", "l4x1"),
    ],
)
def test_the_cheapest_with_that_gpu_is_taken(asked: str, taken: str) -> None:
    assert fit(BoxSpec(gpu=asked), OFFERS).hardware.name == taken


@pytest.mark.parametrize("asked", ["L40", "A10", "L40S:5", "", "NVIDIA", ":2", "-"])
def test_another_gpu_is_never_taken_for_it(asked: str) -> None:
    assert not any(has_gpu(asked, each.hardware) for each in OFFERS)


def test_what_there_is_and_what_was_meant_is_said() -> None:
    with pytest.raises(NotFound) as caught:
        fit(BoxSpec(gpu="L40"), OFFERS)
    assert "its GPUs are A100, A100-40GB, L4, L40S" in caught.value.what
    assert "did you mean L40S?" in caught.value.fix
    with pytest.raises(NotFound, match="it has no GPU"):
        fit(BoxSpec(gpu="L4"), OFFERS[-1:])


def test_hardware_that_contradicts_the_gpu_is_refused() -> None:
    assert fit(BoxSpec(hardware="l4x1", gpu="L4"), OFFERS).hardware.name == "l4x1"
    with pytest.raises(NotFound, match="has L4, and the box asks for L40S"):
        fit(BoxSpec(hardware="l4x1", gpu="L40S"), OFFERS)


def test_a_price_limit_holds_for_a_gpu_too() -> None:
    with pytest.raises(NotFound, match="the cheapest that fits is l40sx1"):
        fit(BoxSpec(gpu="L40S", max_price=1.0), OFFERS)


def test_offers_are_compared_by_gpu() -> None:
    assert [each.hardware.name for each in select(OFFERS, gpu="L40S")] == ["l40sx1", "l40sx4"]


def test_options_of_up_stand_for_keys_and_replace_named_hardware(tmp_path: Path) -> None:
    file = tmp_path / "devbox.toml"
    file.write_text('[boxes.b]\nhardware = "cpu"\nimage = "cpu"\n')
    loaded = spec.load(file)
    _, changed = loaded.with_changes("b", {"gpu": "L4", "max_price": 2.0}).box("b")
    assert (changed.hardware, changed.gpu, changed.max_price) == ("", "L4", 2.0)
    _, same = loaded.with_changes("b", {"image": "cuda12.6"}).box("b")
    assert (same.hardware, same.image) == ("cpu", "cuda12.6")
    _, named = loaded.with_changes("b", {"hardware": "x", "max_price": 1.0}).box("b")
    assert named.hardware == "x"


def test_the_key_is_text(tmp_path: Path) -> None:
    file = tmp_path / "devbox.toml"
    file.write_text("[boxes.b]\ngpu = 4\n")
    with pytest.raises(SpecError, match="gpu"):
        spec.load(file)
