"""Depth Anything 3 behind one class: loaded once, then pictures in and plain arrays out.

What of the upstream package is used: depth_anything_3.api.DepthAnything3 (from_pretrained,
inference), specs.Prediction and utils.export.export. Cameras are OpenCV's: world to camera, x
right, y down, z forward.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
from pathlib import Path
from typing import Callable, Dict, List, NamedTuple, Optional, Protocol

from devbox.box.arrays import Array, Floats, Mask, Pixels

PATCH = 14  # pixels; sides are rounded to a multiple of it


class CheckpointError(Exception):
    """The folder does not hold a model of Depth Anything 3."""


class OutOfMemory(Exception):
    """There is not enough memory for so many views of that size."""


class Prediction(Protocol):
    """What is used of upstream's. is_metric: 1, 0, or an empty object where a model has no metres.
    gaussians: its own, on the device."""

    depth: Array
    conf: Optional[Array]
    extrinsics: Optional[Array]
    intrinsics: Optional[Array]
    processed_images: Array
    sky: Optional[Array]
    is_metric: object
    gaussians: object
    scale_factor: Optional[float]


class Network(Protocol):
    """What is used of upstream's DepthAnything3."""

    def eval(self) -> object: ...

    def to(self, device: object, /) -> object: ...

    def inference(
        self,
        images: List[Pixels],
        /,
        *,
        infer_gs: bool,
        process_res: int,
        export_kwargs: Dict[str, object],
    ) -> Prediction: ...


Factory = Callable[[Path], Network]


class Views(NamedTuple):
    """NumPy arrays of n views, height and width as the model saw them.

    depth: float32 n × h × w, along z. conf: float32 n × h × w, 1 and more. extrinsics: float32
    n × 3 × 4, world to camera. intrinsics: float32 n × 3 × 3, pixels. images: uint8 n × h × w × 3,
    RGB. sky: bool n × h × w. Models without poses (da3mono, da3metric) have no conf and no
    cameras; only they and nested ones have a sky. metres: of depth and translations, else they
    are relative. gaussians: upstream's own object, on the device; None unless asked for.
    """

    depth: Floats
    conf: Optional[Floats]
    extrinsics: Optional[Floats]
    intrinsics: Optional[Floats]
    images: Pixels
    sky: Optional[Mask]
    metres: bool
    gaussians: object = None
    scale_factor: Optional[float] = None

    def prediction(self) -> Prediction:
        """As upstream's exports take it."""
        make = importlib.import_module("depth_anything_3.specs").Prediction
        made: Prediction = make(
            depth=self.depth,
            is_metric=int(self.metres),
            sky=self.sky,
            conf=self.conf,
            extrinsics=self.extrinsics,
            intrinsics=self.intrinsics,
            processed_images=self.images,
            gaussians=self.gaussians,
            aux={},
            scale_factor=self.scale_factor,
        )
        return made


class Model:
    """name: as upstream calls it (da3-large). device: as torch does."""

    def __init__(self, upstream: Network, name: str, device: str) -> None:
        self._upstream, self.name, self.device = upstream, name, device

    @property
    def has_poses(self) -> bool:
        return not self.name.startswith(("da3mono", "da3metric"))

    @property
    def has_gaussians(self) -> bool:
        return "giant" in self.name

    def predict(self, images: List[Pixels], process_res: int, gaussians: bool = False) -> Views:
        """images: RGB uint8, height × width × 3 each; all of one scene, solved together.
        ValueError for what upstream would take wrongly or fail at; OutOfMemory."""
        for image in images:
            check(image, process_res)
        import numpy as np
        import torch

        # Upstream draws pixels for the sky's depth, and cameras from rays, with unseeded numbers.
        torch.manual_seed(0)
        np.random.seed(0)
        try:
            found = self._upstream.inference(
                list(images), infer_gs=gaussians, process_res=process_res, export_kwargs={}
            )
        except Exception as error:
            failed = error
        else:
            return _views(found)
        memory, said = _is_out_of_memory(failed), " ".join(str(failed).strip().splitlines()[:1])
        if not memory:
            gc.collect()  # upstream's failed call leaves its threads in a cycle
            raise failed
        # The traceback holds the tensors that did not fit.
        del failed
        gc.collect()
        if self.device.startswith("cuda"):
            torch.cuda.empty_cache()
        raise OutOfMemory(said)


def check(image: Pixels, process_res: int) -> None:
    """ValueError: not an RGB uint8 picture, or so narrow that nothing of its width is left."""
    if getattr(image, "ndim", 0) != 3 or image.shape[2] != 3 or str(image.dtype) != "uint8":
        shape = getattr(image, "shape", None)
        raise ValueError(f"a picture must be RGB uint8 of height × width × 3, not {shape}")
    height, width = image.shape[:2]
    if min(processed(width, height, process_res)) < PATCH:
        raise ValueError(
            f"a picture of {width} × {height} is too narrow: at this resolution its shorter "
            f"side vanishes ({process_res} pixels for the longer one)"
        )


def processed(width: int, height: int, process_res: int) -> "tuple[int, int]":
    """Width and height at which the model sees a picture: the longest side becomes process_res,
    then each is rounded to a multiple of the patch. 0 where too little is left."""
    scale = process_res / max(width, height)
    sides = (max(1, round(side * scale)) for side in (width, height))
    first, second = ((side + PATCH // 2) // PATCH * PATCH for side in sides)
    return first, second


def load(folder: Path, device: str = "auto", factory: Optional[Factory] = None) -> Model:
    """Read a model from its folder (config.json, model.safetensors) and move it to the device:
    "auto" is CUDA where there is some, else the CPU. factory: reads it, upstream by default.
    CheckpointError for a folder that does not hold one whole model."""
    # Read when upstream is imported; it prints in colours to stdout otherwise.
    os.environ.setdefault("DA3_LOG_LEVEL", "ERROR")
    name = model_name(folder)
    import torch

    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        upstream = (factory or create)(folder)
    except KeyError as error:
        raise CheckpointError(f"{folder} is of a model that upstream lacks: {error}") from error
    except ModuleNotFoundError as error:
        raise CheckpointError(
            f"{error.name} is not installed: give the box the image depth-anything-3"
        ) from error
    except Exception as error:
        # Missing and unknown keys, other shapes, a file cut short: RuntimeError, SafetensorError, …
        first = " ".join(str(error).split())[:300]
        raise CheckpointError(f"{folder} does not hold the weights of {name}: {first}") from error
    upstream.eval()
    # Before the first picture: upstream remembers where it was then.
    upstream.to(torch.device(device))
    return Model(upstream, name, device)


def model_name(folder: Path) -> str:
    """What config.json names. Without one, upstream builds da3-large whatever the weights are."""
    try:
        name = json.loads((folder / "config.json").read_text())["model_name"]
    except FileNotFoundError:
        raise CheckpointError(f"there is no config.json in {folder}") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{folder}/config.json names no model: {error}") from error
    weights = folder / "model.safetensors"
    if not weights.is_file():
        raise CheckpointError(f"there is no model.safetensors in {folder}")
    if not isinstance(name, str):
        raise CheckpointError(f"{folder}/config.json names no model: {name!r}")
    return name


def create(folder: Path) -> Network:
    """Upstream's own way, from this folder only, and every key must be there."""
    api = importlib.import_module("depth_anything_3.api")
    network: Network = api.DepthAnything3.from_pretrained(
        str(folder.resolve()), local_files_only=True, strict=True
    )
    return network


def export(views: Views, kind: str, folder: Path, **options: object) -> None:
    """One of upstream's exports that is no thread and runs no shell: depth_vis, glb (its pictures
    left out), gs_ply, gs_video. Not atomic: into a temporary folder."""
    importlib.import_module("depth_anything_3.utils.export").export(
        views.prediction(), kind, str(folder), **{kind: options}
    )


def _views(found: Prediction) -> Views:
    import numpy as np

    def floats(value: Optional[Array]) -> Optional[Floats]:
        return None if value is None else np.ascontiguousarray(value, np.float32)

    extrinsics, scale = floats(found.extrinsics), found.scale_factor
    return Views(
        depth=np.ascontiguousarray(found.depth, np.float32),
        conf=floats(found.conf),
        extrinsics=None if extrinsics is None else extrinsics[:, :3],
        intrinsics=floats(found.intrinsics),
        images=np.ascontiguousarray(found.processed_images, np.uint8),
        sky=None if found.sky is None else np.ascontiguousarray(found.sky, bool),
        # Models without metres have an empty dict here, not 0.
        metres=not isinstance(found.is_metric, dict) and bool(found.is_metric == 1),
        gaussians=found.gaussians,
        scale_factor=None if scale is None else float(scale),
    )


def _is_out_of_memory(error: Exception) -> bool:
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and "allocate memory" in str(error)
