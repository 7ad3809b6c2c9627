"""The stand-in for ml-sharp in place, its checkpoint, and pictures of a photograph."""

from __future__ import annotations

import importlib
import io
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from devbox import paths
from devbox.box.job import Job
from devbox.box.jobs import sharp
from devbox.box.jobs.sharp import model

UPSTREAM = Path(__file__).parent / "upstream"
ARGS = {"focal": "guide", "f_px": None, "preview": "front", "device": "auto"}
PATTERNS = {"images": ("*.jpg", "*.png", "*.gif")}

Run = Callable[..., Job]


@pytest.fixture
def upstream(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The stand-in `sharp`, importable as on a box."""
    monkeypatch.syspath_prepend(str(UPSTREAM))
    for name in [name for name in sys.modules if name.split(".")[0] == "sharp"]:
        monkeypatch.delitem(sys.modules, name)
    package = importlib.import_module("sharp")
    torch.set_num_threads(1)
    yield package
    for name in [name for name in sys.modules if name.split(".")[0] == "sharp"]:
        del sys.modules[name]


@pytest.fixture
def checkpoint(upstream: Any, tmp_path: Path) -> Path:
    path = tmp_path / "sharp.pt"
    network: Any = model.create()
    torch.save(network.state_dict(), path)
    upstream.LOG.clear()
    return path


@pytest.fixture
def photo() -> Image.Image:
    return Image.open(paths.data("templates") / "demo" / "astronaut.jpg").convert("RGB")


@pytest.fixture
def run(checkpoint: Path, tmp_path: Path) -> Run:
    """Run the job over a folder or picture."""

    def run(source: Path, *, attempt: int = 1, **changes: Any) -> Job:
        job = Job(
            tmp_path / "run",
            args={**ARGS, **changes},
            inputs={"images": source},
            checkpoints={"sharp": checkpoint},
            patterns=PATTERNS,
            attempt=attempt,
        )
        sharp.run(job)
        return job

    return run


def small(photo: Image.Image, size: tuple[int, int] = (96, 64)) -> Image.Image:
    return photo.resize(size)


def likeness(one: Any, other: Any) -> float:
    """Correlation of two pictures of one size, 1 for the same."""
    return float(np.corrcoef(np.asarray(one).ravel(), np.asarray(other).ravel())[0, 1])


def jpeg(image: Image.Image, **more: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, "JPEG", quality=95, **more)
    return out.getvalue()
