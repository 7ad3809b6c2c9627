"""A box that names no image: the one it gets follows its hardware, and is said before it costs."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from devbox import lifecycle, spec
from devbox.images import templates
from devbox.providers import registry
from devbox.spec import settings_type
from devbox.workspace import Workspace
from tests.emulators.modal import ModalEmulator
from tests.providers.modal.conftest import emulator, harness, project  # noqa: F401


@pytest.mark.parametrize(
    ("provider", "hardware", "image"),
    [
        ("modal", "cpu", templates.PLAIN),
        ("modal", "T4", templates.CUDA),
        ("modal", "h100!:8", templates.CUDA),
        ("docker", "cpu", templates.PLAIN),
        ("docker", "gpu", templates.CUDA),
        ("hf-space", "cpu-basic", templates.PLAIN),
        ("hf-space", "", templates.PLAIN),
        ("hf-space", "l40sx1", templates.CUDA),
        ("hf-job", "cpu-upgrade", templates.PLAIN),
        ("hf-job", "t4-small", "pytorch/pytorch:2.6.0-cuda12.4-cudnn9-devel"),
        ("hf-job", "a-gpu-of-next-year", "pytorch/pytorch:2.6.0-cuda12.4-cudnn9-devel"),
        ("local", "cpu", ""),
        ("ssh", "", ""),
    ],
)
def test_an_image_follows_the_hardware(provider: str, hardware: str, image: str) -> None:
    assert registry.load(provider, settings_type(provider)()).default_image(hardware) == image


def test_the_image_for_a_gpu_has_torch_and_is_a_template() -> None:
    assert templates.get(templates.CUDA).torch
    assert templates.get(templates.CUDA).cuda
    assert not templates.get(templates.PLAIN).torch


@pytest.mark.parametrize(
    ("settings", "image", "words"),
    [
        ('hardware = "T4"', "nvidia/cuda", "image cuda12.6-runtime (CUDA 12.6"),
        ('hardware = "cpu"', "python:", "image cpu (Small, without a GPU"),
        ('hardware = "T4"\nimage = "cpu"', "python:", "image cpu (Small, without a GPU"),
    ],
)
def test_the_image_is_said_before_anything_costs(
    project: Callable[..., Workspace],  # noqa: F811
    emulator: ModalEmulator,  # noqa: F811
    settings: str,
    image: str,
    words: str,
) -> None:
    ws = project(f'[boxes.b]\nprovider = "modal"\n{settings}\n')
    said: list[tuple[str, bool]] = []
    ws.narrate = lambda line: said.append((line, "SandboxCreate" in emulator.calls.routes))
    box = lifecycle.up(ws, "b", wait=False)
    ((line, billed),) = [(line, late) for line, late in said if f"{box.name}: image " in line]
    assert words in line
    assert ("for its hardware" in line) is ("image =" not in settings)
    assert not billed
    built = [each for made in emulator.images.values() for each in made.commands]
    assert any(each.startswith(("FROM", "ARG")) and image in each for each in built), built
    assert spec.decode_box(box.spec).image in ("", "cpu")  # what was asked for is what is kept
