"""The GPUs that can be asked for by name: one word for all providers, the cheapest first."""

from __future__ import annotations

from devbox.model import Hardware, Offer, Price
from devbox.money import choices

GB = 1 << 30


def offer(provider: str, gpu: str, vram: int, micro: int | None, gpus: int = 1) -> Offer:
    hardware = Hardware(f"{gpu or 'cpu'}-{vram}x{gpus}", gpu, gpus, vram * GB, 8, 60 * GB)
    return Offer(provider, hardware, Price(micro), 1.0)


OFFERS = [
    offer("modal", "A100-40GB", 40, 2_100_000),
    offer("hf", "A100", 80, 2_500_000),
    offer("modal", "A100-80GB", 80, 2_700_000),
    offer("modal", "A100-80GB", 80, 9_000_000),
    offer("hf", "T4", 16, 400_000),
    offer("docker", "T4", 16, None),
    offer("docker", "L4", 24, None),
    offer("hf", "T4", 32, 700_000, gpus=2),
    offer("docker", "", 24, 0),
    offer("hf", "", 0, 30_000, gpus=0),
    offer("hf", "", 0, 0, gpus=0),
    offer("docker", "", 0, None, gpus=0),
]


def test_a_gpu_has_the_cheapest_of_each_provider_and_its_size_where_there_are_several() -> None:
    found = choices.gpus(OFFERS)
    assert [(gpu.name, gpu.vram // GB) for gpu in found] == [
        ("T4", 16),
        ("A100-40GB", 40),
        ("A100-80GB", 80),
        ("L4", 24),
    ]
    told = {gpu.name: {k: v.price.micro_per_hour for k, v in gpu.offers.items()} for gpu in found}
    assert told["A100-80GB"] == {"hf": 2_500_000, "modal": 2_700_000}
    assert told["T4"] == {"hf": 400_000, "docker": None}
    assert found[0].cheapest is OFFERS[4]


def test_without_a_gpu_each_provider_has_its_cheapest() -> None:
    assert choices.plain(OFFERS) == {"hf": OFFERS[10], "docker": OFFERS[11]}
