"""What SAM-Body4D's parts do, for people who are squares of one colour each on white.

Names, signatures, shapes and traps are those of upstream at 21af102: numbers of bodies by rank,
one scale and shape per dictionary, a box of zeros for nobody, no new people once tracking began,
at most 1,801 frames. No weights and no GPU: a person is followed by its colour.
"""

from __future__ import annotations

import json
import os
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import torch
from PIL import Image

from devbox.box.jobs.sam_body4d.upstream import Completion, Upstream

COLOURS = ((200, 30, 30), (30, 160, 30), (30, 30, 200), (180, 30, 180))  # RGB
PALETTE = bytes(n % 256 for n in range(768))
_NEAR = 60


class OutOfMemoryError(RuntimeError):
    """As torch's own, by name."""


def where(rgb: Any, colour: Any) -> Any:
    return np.abs(rgb.astype(int) - np.asarray(colour)).sum(-1) < _NEAR


class Detector:
    """SAM 3D Body's HumanDetector. ghosts: boxes it sees too, where nobody is."""

    def __init__(self) -> None:
        self.ghosts: list[tuple[float, float, float, float]] = []
        self.looked = 0

    def run_human_detection(self, img: Any, **settings: Any) -> Any:
        assert settings == {
            "det_cat_id": 0, "bbox_thr": 0.6, "nms_thr": 0.3, "default_to_full_image": False,
        }  # fmt: skip
        self.looked += 1
        rgb = img[..., ::-1]
        boxes = [cv2.boundingRect(where(rgb, c).astype(np.uint8)) for c in COLOURS]
        found = [(x, y, x + w, y + h) for x, y, w, h in boxes if w * h > 20]
        return np.array(sorted([*found, *self.ghosts]), np.float32).reshape(-1, 4)


class Predictor:
    """SAM 3's tracker. most: frames of the largest session it has memory for."""

    def __init__(self) -> None:
        self.most = 10_000
        self.sessions: list[int] = []

    def init_state(
        self, *, video_path: Any, offload_video_to_cpu: Any, offload_state_to_cpu: Any
    ) -> Any:
        assert offload_video_to_cpu
        assert offload_state_to_cpu
        self.sessions.append(len(video_path))
        if len(video_path) > self.most:
            raise OutOfMemoryError("CUDA out of memory.")
        frames = [np.asarray(Image.open(path).convert("RGB")) for path in video_path[:1801]]
        return {
            "images": frames,
            "num_frames": len(frames),
            "colours": OrderedDict(),
            "begun": False,
        }

    def clear_all_points_in_video(self, state: Any) -> None:
        state["colours"].clear()

    def add_new_points_or_box(
        self, inference_state: Any, frame_idx: int, obj_id: int, box: Any
    ) -> Any:
        image = inference_state["images"][frame_idx]
        height, width = image.shape[:2]
        left, top, right, bottom = (box[0] * (width, height, width, height)).round().astype(int)
        return self._add(inference_state, obj_id, image[top:bottom, left:right].reshape(-1, 3))

    def add_new_mask(self, inference_state: Any, frame_idx: int, obj_id: int, mask: Any) -> Any:
        assert mask.dim() == 2
        return self._add(
            inference_state, obj_id, inference_state["images"][frame_idx][mask.numpy()]
        )

    def _add(self, state: Any, number: int, pixels: Any) -> Any:
        if state["begun"]:
            raise RuntimeError(f"Cannot add new object id {number} after tracking starts.")
        shares = [where(pixels, colour).mean() if len(pixels) else 0.0 for colour in COLOURS]
        best = int(np.argmax(shares))
        state["colours"][number] = COLOURS[best] if shares[best] > 0.3 else (1000, 0, 0)
        return 0, list(state["colours"]), None, None

    def propagate_in_video(
        self, state: Any, start_frame_idx: int, max_frame_num_to_track: int, reverse: bool,
        propagate_preflight: bool = False,
    ) -> Iterator[Any]:  # fmt: skip
        assert propagate_preflight
        if not state["colours"]:
            raise RuntimeError("No points are provided; please add points first")
        state["begun"] = True
        order = (
            range(start_frame_idx, -1, -1)
            if reverse
            else range(start_frame_idx, state["num_frames"])
        )
        for frame in order:
            seen = [where(state["images"][frame], colour) for colour in state["colours"].values()]
            logits = torch.tensor(np.array(seen))[:, None].float() * 2 - 1
            yield frame, list(state["colours"]), None, logits, None, None


class Estimator:
    """SAM 3D Body. A body is 3 points: its mean colour, its mean place, its frame's own number."""

    faces = np.array([[0, 1, 2]])

    def __init__(self) -> None:
        self.detector = Detector()
        self.fov_estimator = SimpleNamespace(get_cam_intrinsics=self._camera)
        self.most = 10_000
        self.batches: list[tuple[int, int]] = []  # person, frames
        self.cameras = 0

    def _camera(self, rgb: Any) -> Any:
        self.cameras += 1
        assert rgb.dtype == np.uint8
        return torch.tensor([[[500.0, 0, 80], [0, 500.0, 60], [0, 0, 1]]])


def bodies(
    estimator: Any, image_path: Any, mask_path: Any, idx_path: Any, idx_dict: Any,
    mhr_shape_scale_dict: Any, occ_dict: Any, batch_kps: Any = None, kps_id: Any = None,
    cam_int: Any = None,
) -> Any:  # fmt: skip
    """process_image_with_mask."""
    os.write(1, b"Running FOV estimator ...\n" if cam_int is None else b"bodies\n")
    (number,) = occ_dict
    estimator.batches.append((number, len(image_path)))
    if len(image_path) > estimator.most:
        raise OutOfMemoryError("CUDA out of memory.")
    outputs: list[list[Any]] = []
    empty: list[int] = []
    for position, files in enumerate(zip(image_path, mask_path, strict=True)):
        image, mask = files
        if occ_dict[number][position] == 0:
            places = idx_path[number]
            image, mask = (
                f"{places['images']}/{position:08d}.jpg",
                f"{places['masks']}/{position:08d}.png",
            )
        rgb = np.asarray(Image.open(image).convert("RGB")).astype(float)
        values = np.asarray(Image.open(mask).convert("P")) == number
        height, width = values.shape
        edge = int(height * 0.05), int(width * 0.05)
        if occ_dict[number][position] and not values[edge[0] : -edge[0], edge[1] : -edge[1]].any():
            values = np.zeros_like(values)
        box = cv2.boundingRect(values.astype(np.uint8))
        colour = rgb[values].mean(0) if values.any() else np.zeros(3)
        # One slot, whoever it is, and what the first frame ever said.
        shape = mhr_shape_scale_dict.setdefault(0, [torch.tensor(colour), torch.tensor(box)])
        if box[2] == 0:
            outputs.append([])
            empty.append(position)
            continue
        vertices = np.array([colour, [*box[:2], 0], shape[0].numpy()], np.float32)
        outputs.append([{
            "pred_vertices": vertices, "pred_cam_t": np.array([0, 0, 1], np.float32),
            "focal_length": np.float32(cam_int[0, 0, 0]) if cam_int is not None else np.float32(1),
        }])  # fmt: skip
    return outputs, [[number] for _ in outputs], empty


def save_mesh(
    outputs: Any, faces: Any, save_dir: str, focal_dir: str, image_path: str, id_current: Any
) -> None:
    for rank, person in enumerate(outputs):
        assert id_current[rank] + 4 < 81, "upstream's list of colours ends there"
        name = image_path[:-4]
        np.save(f"{save_dir}/{rank + 1}/{name}.npy", person["pred_vertices"])
        Path(f"{save_dir}/{rank + 1}/{name}.npy").rename(f"{save_dir}/{rank + 1}/{name}.ply")
        told = {
            "focal_length": person["focal_length"].item(),
            "camera": [0.0, 0.0, 1.0],
        }
        Path(f"{focal_dir}/{rank + 1}/{name}.json").write_text(json.dumps(told))


def render_all(img_cv2: Any, outputs: Any, faces: Any, id_current: Any) -> Any:
    picture = np.full_like(img_cv2, 255)
    for person in outputs or []:
        x, y, _ = person["pred_vertices"][1].astype(int)
        picture[y : y + 10, x : x + 10] = person["pred_vertices"][0][::-1]
    return picture


def render_each(img_cv2: Any, outputs: Any, faces: Any, id_current: Any) -> Any:
    return [render_all(img_cv2, [person], faces, id_current) for person in outputs]


class Module:
    """Of torch: where it was moved."""

    def __init__(self) -> None:
        self.places: list[str] = []

    def to(self, device: str) -> Module:
        self.places.append(device)
        return self


class Completing:
    """Diffusion-VAS for a person who is a square of 40 pixels: the whole one is around what is
    seen of it, or at `beside` where nothing is."""

    def __init__(self) -> None:
        self.sizes: list[tuple[str, int, int, int]] = []
        self.whole: Callable[[Any], Any] = lambda seen: seen

    def masks(self, modal: Any, depth: Any, **settings: Any) -> Any:
        return self._answer("masks", modal, settings)

    def content(self, rgb: Any, target: Any, **settings: Any) -> Any:
        assert rgb.shape == target.shape
        return self._answer("content", rgb, settings)

    def _answer(self, kind: str, first: Any, settings: Any) -> Any:
        height, width, count = settings["height"], settings["width"], settings["num_frames"]
        assert first.shape == (1, count, 3, height, width)
        assert isinstance(settings["generator"], torch.Generator)
        self.sizes.append((kind, height, width, count))
        pictures = ((first[0].permute(0, 2, 3, 1).numpy() + 1) * 127.5).astype(np.uint8)
        if kind == "masks":
            pictures = [self.whole(picture) for picture in pictures]
        return SimpleNamespace(frames=[[Image.fromarray(picture) for picture in pictures]])

    def loaded(self) -> Completion:
        return Completion(
            self.masks, self.content, object(), _load_masks, _load_rgbs, lambda rgb, _: rgb
        )


def _load_masks(image_folder: str, resolution: Any, obj_id: int) -> Any:
    return _load(
        image_folder, resolution, lambda p: (np.asarray(p.convert("P")) == obj_id)[..., None] * 255
    )


def _load_rgbs(image_folder: str, resolution: Any) -> Any:
    return (*_load(image_folder, resolution, lambda p: np.asarray(p.convert("RGB"))), None)


def _load(folder: str, resolution: Any, read: Any) -> Any:
    pictures = []
    for path in sorted(Path(folder).iterdir()):
        values = np.repeat(read(Image.open(path)), 3, -1)[..., :3].astype(np.uint8)
        pictures.append(
            cv2.resize(values, (resolution[1], resolution[0]), interpolation=cv2.INTER_NEAREST)
        )
    stacked = torch.tensor(np.array(pictures)).permute(0, 3, 1, 2)[None].float()
    return stacked / 127.5 - 1, resolution


class Parts:
    """What the job is given in place of the real `load`."""

    def __init__(self, *, vram: int = 48 * 10**9) -> None:
        self.predictor, self.estimator, self.module = Predictor(), Estimator(), Module()
        self.completing = Completing()
        self.loads: list[bool] = []
        self.room = vram

    def load(self, checkpoints: Any, occlusion: bool) -> Upstream:
        self.loads.append(occlusion)
        return Upstream(
            self.predictor, self.estimator, bodies, save_mesh, render_all, render_each, PALETTE,
            [self.module], self.completing.loaded() if occlusion else None,
        )  # fmt: skip

    def vram(self) -> int:
        return self.room
