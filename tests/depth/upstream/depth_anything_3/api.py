"""Stand-in for depth_anything_3.api: the same signatures, sizes, gauge and traps, and a world that
is known. View k (its red channel is 5 k everywhere) stands at TRUE[k] and sees its green channel as
depth. Each call has a world of its own, as upstream's: the first camera of it, and a scale that
depends on what is in it.

STAND_IN_LOADS in the environment: a file that gets the process id of each model that is built.
FITS: most views, and most pixels of a side, for which there is memory.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import addict
import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file

from depth_anything_3.specs import Gaussians, Prediction
from depth_anything_3.utils.export import export

LOG: list[str] = []
LOADS = os.environ.get("STAND_IN_LOADS")
#: makes what a GPU leaves in a prediction
TENSOR: Any = None
FITS = [1000, 10_000]
NAMES = (
    "da3-small",
    "da3-large",
    "da3-giant",
    "da3mono-large",
    "da3metric-large",
    "da3nested-giant-large",
)


def true_pose(k: int) -> Any:
    """World to camera, 4 × 4: turned by k · 3° and k · 0.1 to the right."""
    angle = np.radians(3 * k)
    pose = np.eye(4)
    pose[:3, :3] = [
        [np.cos(angle), 0, np.sin(angle)],
        [0, 1, 0],
        [-np.sin(angle), 0, np.cos(angle)],
    ]
    pose[:3, 3] = [0.1 * k, 0.02 * k, 0.0]
    return pose


class DepthAnything3(torch.nn.Module):  # type: ignore[misc]
    def __init__(self, model_name: str = "da3-large", **kwargs: Any) -> None:
        super().__init__()
        LOG.append(f"build {model_name}")
        if LOADS is not None:
            with open(LOADS, "a") as file:
                file.write(f"{os.getpid()}\n")
        if model_name not in NAMES:
            raise KeyError(model_name)
        self.model_name = model_name
        self.first = torch.nn.Linear(2, 2)
        self.second = torch.nn.Linear(2, 3 if model_name == "da3-large" else 2)

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str,
        *,
        force_download: bool = False,
        token: str | None = None,
        cache_dir: str | None = None,
        local_files_only: bool = False,
        revision: str | None = None,
        strict: bool = False,
        **model_kwargs: Any,
    ) -> DepthAnything3:
        folder = Path(pretrained_model_name_or_path)
        if not folder.is_dir():
            raise ConnectionError(f"downloads {folder} from the Hub")
        if not local_files_only:
            LOG.append("may ask the Hub")
        print("Loading weights from local directory")
        config = folder / "config.json"
        model = cls(**json.loads(config.read_text())) if config.exists() else cls()
        model.load_state_dict(load_file(folder / "model.safetensors"), strict=strict)
        model.eval()
        return model

    def inference(
        self,
        image: list[Any],
        extrinsics: Any = None,
        intrinsics: Any = None,
        align_to_input_ext_scale: bool = True,
        infer_gs: bool = False,
        use_ray_pose: bool = False,
        ref_view_strategy: str = "saddle_balanced",
        render_exts: Any = None,
        render_ixts: Any = None,
        render_hw: Any = None,
        process_res: int = 504,
        process_res_method: str = "upper_bound_resize",
        export_dir: str | None = None,
        export_format: str = "mini_npz",
        export_feat_layers: Any = None,
        conf_thresh_percentile: float = 40.0,
        num_max_points: int = 1_000_000,
        show_cameras: bool = True,
        feat_vis_fps: int = 15,
        export_kwargs: dict[str, Any] = {},  # noqa: B006  (shared between calls, as upstream's)
    ) -> Prediction:
        LOG.append(f"infer {len(image)} at {process_res}")
        if not isinstance(image, list):
            raise NotImplementedError  # why: what upstream raises for a tuple, an array or a path
        pictures = [_processed(one, process_res) for one in image]
        height = min(one.shape[0] for one in pictures)
        width = min(one.shape[1] for one in pictures)
        pictures = [_middle(one, height, width) for one in pictures]
        if len(image) > FITS[0] or process_res > FITS[1]:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        prediction = self._predicted(np.stack(pictures), infer_gs)
        if export_dir is not None:
            export(prediction, export_format, export_dir, **export_kwargs)
        return prediction

    def _predicted(self, images: Any, infer_gs: bool) -> Prediction:
        ks = [round(float(np.median(one[..., 0])) / 5) for one in images]
        nested, mono = (
            "nested" in self.model_name,
            "mono" in self.model_name or "metric" in self.model_name,
        )
        scale = 1.0 if nested else 1.0 + 0.3 * ks[0] + 0.05 * len(ks)
        depth = (1 + images[..., 1].astype(np.float32) / 64) * np.float32(scale)
        n, h, w = depth.shape
        if mono:
            return Prediction(
                depth, addict.Dict(), sky=depth > 4, processed_images=images, aux=addict.Dict()
            )
        poses = np.stack([true_pose(k) @ np.linalg.inv(true_pose(ks[0])) for k in ks])
        poses[:, :3, 3] *= scale
        cameras = np.tile(
            np.array([[w, 0, w / 2], [0, w, h / 2], [0, 0, 1]], np.float32), (n, 1, 1)
        )
        gaussians = None
        if infer_gs and "giant" in self.model_name:
            count = n * h * w
            gaussians = Gaussians(
                *(torch.ones(1, count, d) for d in (3, 3, 4)),
                torch.ones(1, count, 3, 9),
                torch.ones(1, count),
            )
        return Prediction(
            depth,
            1 if nested else addict.Dict(),
            conf=np.float32(1) + images[..., 2].astype(np.float32) / 255,
            extrinsics=poses[:, :3].astype(np.float32),
            intrinsics=cameras,
            processed_images=images,
            gaussians=gaussians,
            aux=addict.Dict() if TENSOR is None else addict.Dict(feat={"layer": TENSOR([1.0])}),
            scale_factor=1.0 if nested else None,
        )


def _processed(image: Any, process_res: int) -> Any:
    if not isinstance(image, np.ndarray):
        raise ValueError(type(image))
    picture = Image.fromarray(image).convert("RGB")
    scale = process_res / max(picture.size)
    sides = [max(1, round(side * scale)) for side in picture.size]
    sides = [max(1, (side + 7) // 14 * 14) for side in sides]
    assert min(sides) >= 14
    return np.asarray(picture.resize((sides[0], sides[1])))


def _middle(image: Any, height: int, width: int) -> Any:
    top, left = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
    return image[top : top + height, left : left + width]
