"""SAM-Body4D (github.com/gaomingqi/sam-body4d at 21af102, as the image `sam-body4d` has it): its
parts are loaded once and called here; its script is not run.

Everything it loads comes from checkpoints that were fetched and checked before: a path that is
missing would make it download by itself, so `load` refuses that.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Callable, List, Mapping, NamedTuple, Optional, Sequence

from devbox.box.arrays import Array, Pixels, Tensor
from devbox.box.jobs.sam_body4d.parts import (
    Body,
    Estimator,
    FindBodies,
    LoadMasks,
    LoadRgbs,
    Module,
    Pipeline,
    Predictor,
    SaveMesh,
)

HOME = "SAM_BODY4D_HOME"
_HOME = "/opt/devbox/sam-body4d"
# Behind one another on sys.path: `utils` of the first is the right one.
_FOLDERS = ("", "models/sam_3d_body", "models/diffusion_vas")
BODY = ("sam3", "sam_3d_body", "sam_3d_body_config", "mhr_model", "moge", "vitdet")
_DETECTOR = "model_final_f05665.pkl"  # its folder is what upstream is given
COMPLETION = ("vas_masks", "vas_content", "depth_anything_v2")


class Unprepared(Exception):
    """The image or a checkpoint lacks something. The message says what and where from."""


class Completion(NamedTuple):
    """Diffusion-VAS: what a partly hidden person looks like whole.

    masks, content: the two pipelines. depth: Depth Anything V2. load_masks, load_rgbs give a
    tensor (1, frames, 3, height, width) in −1..1 first; to_depth(that, depth) → the same shape."""

    masks: Pipeline
    content: Pipeline
    depth: object
    load_masks: LoadMasks
    load_rgbs: LoadRgbs
    to_depth: Callable[[Tensor, object], Tensor]


class Upstream(NamedTuple):
    """predictor: SAM 3's tracker. estimator: SAM 3D Body. bodies: process_image_with_mask.
    save_mesh: save_mesh_results. render_all, render_each: visualize_sample_together,
    visualize_sample. palette: of the mask pictures. tracking: modules that only the tracking
    needs."""

    predictor: Predictor
    estimator: Estimator
    bodies: FindBodies
    save_mesh: SaveMesh
    render_all: Callable[[Pixels, Optional[List[Body]], Array, List[int]], Array]
    render_each: Callable[[Pixels, List[Body], Array, List[int]], Sequence[Array]]
    palette: bytes
    tracking: Sequence[Module]
    complete: Optional[Completion] = None

    def move_tracking(self, device: str) -> None:
        """SAM 3 and the detector are not needed while bodies are found, and take 10 GB."""
        import torch

        for module in self.tracking:
            module.to(device)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def load(checkpoints: Mapping[str, Path], occlusion: bool) -> Upstream:
    """Everything in GPU memory. Unprepared names what is missing."""
    check(checkpoints, occlusion)
    home = Path(os.environ.get(HOME, _HOME))
    if not (home / "models/sam_3d_body").is_dir():
        raise Unprepared(
            f'SAM-Body4D is not in {home}: this box needs `image = "sam-body4d"` in devbox.toml'
        )
    os.environ.setdefault("PYOPENGL_PLATFORM", "egl")  # read when pyrender is imported
    sys.path[:0] = [str(home / folder) for folder in _FOLDERS]
    import torch

    return _load({name: str(path) for name, path in checkpoints.items()}, occlusion, torch)


def vram() -> int:
    """Bytes of the GPU. Unprepared where torch finds none."""
    import torch

    if not torch.cuda.is_available():
        raise Unprepared("SAM-Body4D is written for CUDA, and torch finds no GPU on this box")
    return int(torch.cuda.mem_get_info()[1])


def check(checkpoints: Mapping[str, Path], occlusion: bool) -> None:
    """Unprepared names the first missing or misplaced file."""
    for name in (*BODY, *(COMPLETION if occlusion else ())):
        path = checkpoints.get(name)
        if path is None or not path.exists():
            raise Unprepared(f"{path or name} is missing; see [checkpoints.{name}] in devbox.toml")
    beside = checkpoints["sam_3d_body"].with_name("model_config.yaml")
    if checkpoints["sam_3d_body_config"] != beside:
        raise Unprepared(f"[checkpoints.sam_3d_body_config] must have path = {str(beside)!r}")
    if checkpoints["vitdet"].name != _DETECTOR:
        raise Unprepared(f"the file of [checkpoints.vitdet] must be named {_DETECTOR}")


def _load(paths: Mapping[str, str], occlusion: bool, torch: ModuleType) -> Upstream:
    # `utils` first: a package of that name elsewhere would be the wrong one.
    from utils import DAVIS_PALETTE  # noqa: I001

    from models.sam3.sam3.model_builder import build_sam3_video_model
    from models.sam_3d_body.notebook.utils import process_image_with_mask, save_mesh_results
    from models.sam_3d_body.sam_3d_body import SAM3DBodyEstimator, load_sam_3d_body
    from models.sam_3d_body.tools.build_detector import HumanDetector
    from models.sam_3d_body.tools.build_fov_estimator import FOVEstimator
    from models.sam_3d_body.tools.vis_utils import visualize_sample, visualize_sample_together

    device = torch.device("cuda")
    sam3 = build_sam3_video_model(checkpoint_path=paths["sam3"])
    predictor = sam3.tracker
    predictor.backbone = sam3.detector.backbone
    model, config = load_sam_3d_body(
        paths["sam_3d_body"], device=device, mhr_path=paths["mhr_model"]
    )
    weights = str(Path(paths["vitdet"]).parent)
    detector = HumanDetector(name="vitdet", device=device, path=weights)
    estimator = SAM3DBodyEstimator(
        sam_3d_body_model=model,
        model_cfg=config,
        human_detector=detector,
        human_segmentor=None,
        fov_estimator=FOVEstimator(name="moge2", device=device, path=paths["moge"]),
    )
    return Upstream(
        predictor,
        estimator,
        process_image_with_mask,
        save_mesh_results,
        visualize_sample_together,
        visualize_sample,
        DAVIS_PALETTE,
        _modules(sam3, detector.detector),
        _completion(paths) if occlusion else None,
    )


def _modules(*found: Module) -> List[Module]:
    return [each for each in found if hasattr(each, "to")]


def _completion(paths: Mapping[str, str]) -> Completion:
    from models.diffusion_vas import demo

    return Completion(
        demo.init_amodal_segmentation_model(paths["vas_masks"]),
        demo.init_rgb_model(paths["vas_content"]),
        demo.init_depth_model(paths["depth_anything_v2"], "vitl"),
        demo.load_and_transform_masks,
        demo.load_and_transform_rgbs,
        demo.rgb_to_depth,
    )
