"""The stand-in for Depth Anything 3 in place, its checkpoints, and pictures of known views."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from devbox.box.job import Job
from devbox.box.jobs import depth

UPSTREAM = Path(__file__).parent / "upstream"
ARGS = {
    "views": "scene", "fps": 2.0, "max_frames": 64, "process_res": 112, "batch": 24, "npz": "mini",
    "glb": "yes", "points": 50, "gaussians": "none", "device": "auto",
}  # fmt: skip
# what a scene of one picture leaves
ONE = ["depth_vis/0000.jpg", "exports/mini_npz/results.npz", "scene.glb", "scene.jpg", "views.json"]
PATTERNS = {"input": ("*.jpg", "*.png", "*.avi", "*.mp4")}

Run = Callable[..., Job]


@pytest.fixture
def upstream(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The stand-in's `api`, importable as on a box."""
    monkeypatch.syspath_prepend(str(UPSTREAM))
    for name in [name for name in sys.modules if name.startswith("depth_anything_3")]:
        monkeypatch.delitem(sys.modules, name)
    torch.set_num_threads(1)
    yield importlib.import_module("depth_anything_3.api")
    for name in [name for name in sys.modules if name.startswith("depth_anything_3")]:
        del sys.modules[name]


@pytest.fixture
def checkpoint(upstream: Any, tmp_path: Path) -> Callable[[str], Path]:
    """A folder that holds the model of that name."""

    def make(name: str = "da3-small") -> Path:
        folder = tmp_path / "models" / name
        folder.mkdir(parents=True, exist_ok=True)
        save_file(upstream.DepthAnything3(name).state_dict(), folder / "model.safetensors")
        (folder / "config.json").write_text(json.dumps({"model_name": name}))
        upstream.LOG.clear()
        return folder

    return make


@pytest.fixture
def run(checkpoint: Any, tmp_path: Path) -> Run:
    """Run the job over a folder or file."""

    def run(source: Path, *, model: str = "da3-small", attempt: int = 1, **changes: Any) -> Job:
        job = Job(
            tmp_path / changes.pop("to", "run"),
            args={**ARGS, **changes},
            inputs={"input": source},
            checkpoints={"da3": checkpoint(model)},
            patterns=PATTERNS,
            attempt=attempt,
        )
        depth.run(job)
        return job

    return run


def picture(k: int, size: tuple[int, int] = (96, 64)) -> Image.Image:
    """What view k of the stand-in's world sees."""
    width, height = size
    image = np.zeros((height, width, 3), np.uint8)
    image[..., 0] = 5 * k
    image[..., 1] = np.linspace(0, 200, width, dtype=np.uint8)
    image[..., 2] = np.linspace(0, 255, height, dtype=np.uint8)[:, None]
    return Image.fromarray(image)


def names_of(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def about(job: Job, where: str = "") -> Any:
    return json.loads((job.out / f"{where}views.json").read_text())


def arrays(job: Job, where: str = "", kind: str = "mini_npz") -> dict[str, Any]:
    with np.load(job.out / f"{where}exports/{kind}/results.npz") as file:
        return dict(file)


def scene(folder: Path, count: int, size: tuple[int, int] = (96, 64)) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for k in range(count):
        picture(k, size).save(folder / f"{k}.png")
    return folder
