"""Run by test_real.py in a process of its own: the adapter and the job on the real Depth Anything
3, da3-small with random weights, at 112 pixels on the CPU. Prints one JSON object.

Arguments: a folder to work in. Nothing here calls what pycolmap and moviepy are for (COLMAP files,
videos of Gaussians), so two empty modules take their place.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from devbox import paths
from devbox.box.job import Job
from devbox.box.jobs import depth
from devbox.box.jobs.depth import model
from tests.depth.conftest import ARGS

OPERATORS = torch.library.Library("torchvision", "FRAGMENT")


def importable() -> None:
    moviepy = types.ModuleType("moviepy")
    moviepy.editor = types.ModuleType("moviepy.editor")  # type: ignore[attr-defined]
    sys.modules.update(
        {
            "pycolmap": types.ModuleType("pycolmap"),
            "moviepy": moviepy,
            "moviepy.editor": moviepy.editor,
        }
    )
    try:
        importlib.import_module("torchvision")
    except RuntimeError:
        # A CPU torch cannot load the operators of a torchvision that was built for CUDA. DA3 uses
        # none of them; that they have names is enough for the import.
        for name in [name for name in sys.modules if name.startswith("torchvision")]:
            del sys.modules[name]
        for name in ("nms", "qnms"):
            OPERATORS.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        importlib.import_module("torchvision")


def main() -> None:
    folder = Path(sys.argv[1])
    torch.set_num_threads(1)
    importable()
    os.environ["DA3_LOG_LEVEL"] = "ERROR"
    api: Any = importlib.import_module("depth_anything_3.api")
    seen: dict[str, Any] = {}

    torch.manual_seed(1)
    upstream = api.DepthAnything3("da3-small").eval()
    checkpoint = folder / "da3-small"
    upstream.save_pretrained(checkpoint)
    loaded = model.load(checkpoint)
    seen["name"] = [loaded.name, loaded.has_poses, loaded.has_gaussians]

    photo = Image.open(paths.data("templates") / "demo" / "astronaut.jpg").convert("RGB")
    pictures = [photo.crop((x, 0, x + 400, 300)) for x in (0, 60)]
    images = [np.asarray(one) for one in pictures]
    (folder / "in").mkdir()
    for number, one in enumerate(pictures):
        one.save(folder / "in" / f"{number}.png")
    theirs = upstream.inference(list(images), process_res=112, export_kwargs={})
    ours = loaded.predict(images, 112)
    pairs = {
        "depth": theirs.depth, "conf": theirs.conf, "extrinsics": theirs.extrinsics,
        "intrinsics": theirs.intrinsics, "images": theirs.processed_images,
    }  # fmt: skip
    seen["equal"] = {k: bool(np.array_equal(getattr(ours, k), v)) for k, v in pairs.items()}
    seen["shapes"] = {k: [v.dtype.name, list(v.shape)] for k, v in pairs.items()}
    seen["metres"] = ours.metres

    job = Job(
        folder / "run",
        args={**ARGS, "points": 5000},
        inputs={"input": folder / "in"},
        checkpoints={"da3": checkpoint},
    )
    depth.run(job)
    seen["failed"] = job.failed
    seen["files"] = sorted(str(p.relative_to(job.out)) for p in job.out.rglob("*") if p.is_file())
    with np.load(job.out / "exports/mini_npz/results.npz") as file:
        seen["written"] = {
            k: bool(np.array_equal(file[k], v)) for k, v in pairs.items() if k in file
        }
    api.export(theirs, "depth_vis", str(folder / "theirs"))
    seen["same picture"] = (folder / "theirs/depth_vis/0001.jpg").read_bytes() == (
        job.out / "depth_vis/0001.jpg"
    ).read_bytes()
    parts = importlib.import_module("trimesh").load(job.out / "scene.glb").geometry.values()
    seen["points"] = [len(part.vertices) for part in parts if type(part).__name__ == "PointCloud"]
    seen["cameras"] = sum(type(part).__name__ == "Path3D" for part in parts)

    seen["sizes"] = []
    for size in ((400, 300), (300, 400), (112, 7), (1, 1), (1000, 63), (113, 111)):
        tensor, _, _ = upstream.input_processor(
            [np.zeros((*size[::-1], 3), np.uint8)], None, None, 112
        )
        seen["sizes"].append(list(tensor.shape[:1:-1]) == list(model.processed(*size, 112)))

    weights = checkpoint / "model.safetensors"
    tensors = load_file(weights)
    save_file(dict(sorted(tensors.items())[::2]), weights)
    try:
        model.load(checkpoint)
    except model.CheckpointError as error:
        seen["half the keys"] = str(error)
    print("\n" + json.dumps(seen))
