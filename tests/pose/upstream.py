"""Stand-ins of hmr2, phalp, detectron2 and omegaconf: what devbox.box.pose calls of them, with the
same modules, names, arguments, shapes and traps, and no network inside. `state` says how
they behave.

A person is what state.people says: (x, y, x2, y2, score, class) in pixels of the picture.
"""

from __future__ import annotations

import hashlib
import os
import sys
import types
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from devbox.box.pose import weights as files
from devbox.box.pose.engines import Engine
from devbox.box.pose.four_d_humans import FourDHumans, Models
from devbox.box.pose.four_d_humans_models import load_models
from devbox.box.pose.person import Person

FACTORY = "tests.pose.upstream:load"
N_INIT, MAX_AGE = 5, 50
FACES = np.arange(13776 * 3, dtype=np.uint32).reshape(-1, 3) % 6890


@dataclass
class State:
    people: list[tuple[float, ...]] = field(default_factory=lambda: [(60, 40, 160, 240, 0.9, 0)])
    scale: float = 0.8
    nan: bool = False
    update_raises: bool = False
    asked: int = 0
    #: what upstream was told when it was loaded
    cfg: Any = None
    loaded: list[str] = field(default_factory=list)


state = State()


class Node(dict[str, Any]):
    """yacs' CfgNode, as far as it is used."""

    frozen = False

    def __getattr__(self, name: str) -> Any:
        return self[name]

    def __setattr__(self, name: str, value: Any) -> None:
        if name != "frozen":
            assert not self.frozen
            self[name] = value
        else:
            object.__setattr__(self, name, value)

    def defrost(self) -> None:
        self.frozen = False

    def freeze(self) -> None:
        self.frozen = True


def get_config(config_file: str, merge: bool = True, update_cachedir: bool = False) -> Node:
    assert Path(config_file).read_text().startswith("MODEL:")
    cfg = Node(
        MODEL=Node(IMAGE_SIZE=256, BACKBONE=Node(TYPE="vit", PRETRAINED_WEIGHTS="backbone.pth")),
        EXTRA=Node(FOCAL_LENGTH=5000),
        SMPL=Node(MODEL_PATH="data/smpl", JOINT_REGRESSOR_EXTRA="data/J", MEAN_PARAMS="data/m"),
    )
    cfg.freeze()
    state.cfg = cfg
    return cfg


class HMR2(torch.nn.Module):  # type: ignore[misc]
    """In train mode no two calls agree, as with drop path."""

    def __init__(self, cfg: Node, init_renderer: bool = True) -> None:
        super().__init__()
        assert not init_renderer, "it would open EGL"
        assert "PRETRAINED_WEIGHTS" not in cfg.MODEL.BACKBONE, "looked up in the current folder"
        for key in ("MODEL_PATH", "JOINT_REGRESSOR_EXTRA", "MEAN_PARAMS"):
            assert os.path.isabs(cfg.SMPL[key])
            assert os.path.exists(cfg.SMPL[key])
        self.backbone = torch.nn.Linear(2, 2)
        self.smpl = torch.nn.Linear(1, 1)
        self.smpl.faces = FACES

    def forward(self, batch: dict[str, Any]) -> dict[str, Any]:
        crops = batch["img"]
        count = crops.shape[0]
        rows = torch.arange(44.0)
        joints = torch.stack([0.01 * rows, 0.02 * rows - 0.5, 0.001 * rows], 1).repeat(count, 1, 1)
        if self.training:
            joints = joints + torch.rand_like(joints)
        if state.nan:
            joints[:, 3] = float("nan")
        cam = torch.tensor([[state.scale, 0.1, -0.2]]).repeat(count, 1)
        vertices = torch.linspace(-1, 1, 6890 * 3).reshape(1, 6890, 3).repeat(count, 1, 1)
        return {
            "pred_cam": cam,
            "pred_cam_t": torch.zeros(count, 3),
            "focal_length": torch.full((count, 2), 5000.0),
            "pred_smpl_params": {
                "global_orient": torch.zeros(count, 1, 3, 3),
                "body_pose": torch.zeros(count, 23, 3, 3),
                "betas": torch.zeros(count, 10),
            },
            "pred_vertices": vertices,
            "pred_keypoints_3d": joints,
            "pred_keypoints_2d": torch.zeros(count, 44, 2),
        }


def forbidden(*_: Any, **__: Any) -> None:
    raise AssertionError("this downloads, or opens what nobody checked")


class ViTDetDataset(torch.utils.data.Dataset):  # type: ignore[misc]
    def __init__(self, cfg: Node, img_cv2: Any, boxes: Any, train: bool = False) -> None:
        assert cfg.MODEL.BBOX_SHAPE == [192, 256]
        assert img_cv2.dtype == np.uint8
        assert img_cv2.shape[2] == 3
        self.image, self.boxes = img_cv2, boxes.astype(np.float32)

    def __len__(self) -> int:
        return len(self.boxes)

    def __getitem__(self, at: int) -> dict[str, Any]:
        box = self.boxes[at]
        width, height = box[2] - box[0], box[3] - box[1]
        size = max(height, width * 256 / 192)
        print(f"downsampling_factor={size / 256}")
        return {
            "img": np.zeros((3, 256, 256), np.float32),
            "personid": at,
            "box_center": (box[2:] + box[:2]) / 2,
            "box_size": size,
            "img_size": 1.0 * np.array([self.image.shape[1], self.image.shape[0]]),
        }


def recursive_to(x: Any, target: str) -> Any:
    if isinstance(x, dict):
        return {key: recursive_to(value, target) for key, value in x.items()}
    return x.to(target) if isinstance(x, torch.Tensor) else x


def cam_crop_to_full(
    cam_bbox: Any, box_center: Any, box_size: Any, img_size: Any, focal_length: float = 5000.0
) -> Any:
    """The camera of a crop, `box_size` wide around `box_center`, as one of the whole picture."""
    scale = box_size * cam_bbox[:, 0] + 1e-9
    aside = 2 * (box_center - img_size / 2) / scale[:, None]
    return torch.cat([aside + cam_bbox[:, 1:], (2 * focal_length / scale)[:, None]], 1)


class Instances:
    def __init__(self, boxes: Any, scores: Any, classes: Any) -> None:
        self.pred_boxes = types.SimpleNamespace(tensor=boxes)
        self.scores, self.pred_classes = scores, classes
        self.pred_masks = torch.zeros(len(scores), 8, 8, dtype=torch.bool)

    def __getitem__(self, mask: Any) -> Instances:
        boxes = self.pred_boxes.tensor[mask]
        return Instances(boxes, self.scores[mask], self.pred_classes[mask])


class DefaultPredictor_Lazy:
    def __init__(self, cfg: Any) -> None:
        assert Path(cfg.train.init_checkpoint).is_file(), "a URL would be downloaded"
        assert [box.test_score_thresh for box in cfg.model.roi_heads.box_predictors] == [0.25] * 3
        state.loaded.append("detector")

    def __call__(self, image: Any) -> dict[str, Any]:
        state.asked += 1
        rows = torch.tensor([p[:4] for p in state.people], dtype=torch.float32).reshape(-1, 4)
        scores = torch.tensor([p[4] for p in state.people], dtype=torch.float32)
        classes = torch.tensor([p[5] for p in state.people], dtype=torch.int64)
        return {"instances": Instances(rows, scores, classes)}


class Track:
    def __init__(self, track_id: int, data: dict[str, Any]) -> None:
        self.track_id, self.state, self.hits, self.time_since_update = track_id, 1, 1, 0
        self.track_data = {"history": deque([data] * 7, maxlen=7)}

    def update(self, data: dict[str, Any]) -> None:
        self.track_data["history"].append(data)
        self.hits, self.time_since_update = self.hits + 1, 0
        self.state = 2 if self.hits >= N_INIT else self.state


class Tracker:
    """Confirmed at the fifth hit, dead of a miss before it, and of 50 after it. A failed update
    leaves its tracks aged."""

    def __init__(self) -> None:
        self.tracks: list[Track] = []
        self.tracked_cost: dict[int, Any] = {}
        self._next = 1

    def predict(self) -> None:
        for track in self.tracks:
            track.time_since_update += 1

    def update(self, detections: list[dict[str, Any]], frame_t: int, name: str, shot: int) -> None:
        if state.update_raises:
            raise IndexError("list index out of range")
        assert name == f"{frame_t:08d}.jpg"
        self.tracked_cost[frame_t] = len(detections)
        assert len(self.tracked_cost) == 1, "grows with every frame"
        for data in detections:
            near = [t for t in self.tracks if _near(t.track_data["history"][-1], data)]
            if near:
                near[0].update(data)
            else:
                self.tracks.append(Track(self._next, data))
                self._next += 1
        self.tracks = [
            t
            for t in self.tracks
            if t.time_since_update == 0 or (t.state == 2 and t.time_since_update <= MAX_AGE)
        ]


def _near(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return bool(np.abs(one["bbox"][:2] - other["bbox"][:2]).max() < 60)


class PHALP(torch.nn.Module):  # type: ignore[misc]
    def __init__(self, cfg: Any) -> None:
        super().__init__()
        self.cfg = cfg
        self.cached_download_from_drive()
        self.setup_hmr()
        self.setup_detectron2()
        self.setup_visualizer()
        self.default_setup()

    cached_download_from_drive = setup_hmr = setup_detectron2 = forbidden
    setup_visualizer = default_setup = forbidden

    def setup_deepsort(self) -> None:
        self.tracker = Tracker()

    def get_detections(
        self, image: Any, frame_name: str, t_: int, additional_data: Any, measurments: list[int]
    ) -> tuple[Any, ...]:
        height, width = image.shape[:2]
        most = max(height, width)
        assert measurments == [height, width, most, (most - width) // 2, (most - height) // 2]
        assert frame_name not in additional_data
        found = self.detector(image)["instances"]
        found = found[found.pred_classes == 0]
        found = found[found.scores > 0.8]
        boxes, scores = found.pred_boxes.tensor.numpy(), found.scores.numpy()
        masks, classes = found.pred_masks.numpy(), found.pred_classes.numpy()
        return boxes, boxes, masks, scores, classes, [1] * len(scores), [[]] * len(scores)

    def run_additional_models(self, *given: Any) -> list[int]:
        assert len(given) == 10
        return list(range(len(given[3])))

    def get_human_features(self, *given: Any) -> list[dict[str, Any]]:
        _, masks, boxes, padded, scores, *_ = given
        assert len(given) == 12
        if not len(scores):
            return []
        assert len(masks) == len(padded) == len(scores)
        wide = [box for box in boxes if box[2] - box[0] >= 50 and box[3] - box[1] >= 100]
        if wide:
            crops = torch.zeros(len(wide), 4, 256, 256)
            features = self.HMAR(crops)
            assert {"uv_vector", "pose_smpl", "pred_cam"} <= set(features)
        return [{"bbox": np.array([*box[:2], *(box[2:] - box[:2])])} for box in wide]


class HMR2018Predictor(torch.nn.Module):  # type: ignore[misc]
    def __init__(self, cfg: Any) -> None:
        super().__init__()
        assert Path(cfg.hmr.hmar_path).is_file()

    def hmar_old(self, crops: Any) -> dict[str, Any]:
        assert crops.shape[1:] == (4, 256, 256)
        return {"uv_vector": torch.zeros(len(crops), 4, 256, 256), "pred_cam": None}


class FullConfig:
    """What OmegaConf makes of PHALP's dataclass of this name."""

    def __init__(self) -> None:
        def space(*names: str, **more: Any) -> types.SimpleNamespace:
            return types.SimpleNamespace(**dict.fromkeys(names, ""), **more)

        self.device, self.render = "cuda", space(enable=True)
        self.hmr, self.SMPL = space("hmar_path"), space()
        self.pose_predictor = space("config_path", "weights_path", "mean_std")
        self.MODEL = space(SMPL_HEAD=space("SMPL_MEAN_PARAMS"))


def _lazy_config(path: str) -> Any:
    assert Path(path).name == "cascade_mask_rcnn_vitdet_h_75ep.py"
    space = types.SimpleNamespace
    stages = [space(test_score_thresh=0.05) for _ in range(3)]
    model = space(roi_heads=space(box_predictors=stages))
    return space(model=model, train=space(init_checkpoint="https://unreachable.invalid/m.pkl"))


def modules() -> dict[str, types.ModuleType]:
    contents: dict[str, dict[str, Any]] = {
        "hmr2": {"__file__": str(Path("/upstream/hmr2/__init__.py"))},
        "hmr2.configs": {"get_config": get_config},
        "hmr2.models": {"HMR2": HMR2, "download_models": forbidden, "load_hmr2": forbidden},
        "hmr2.datasets": {},
        "hmr2.datasets.vitdet_dataset": {"ViTDetDataset": ViTDetDataset},
        "hmr2.datasets.utils": {"expand_bbox_to_aspect_ratio": lambda boxes, shape: boxes},
        "hmr2.utils": {"recursive_to": recursive_to},
        "hmr2.utils.renderer": {"cam_crop_to_full": cam_crop_to_full},
        "hmr2.utils.utils_detectron2": {"DefaultPredictor_Lazy": DefaultPredictor_Lazy},
        "detectron2": {},
        "detectron2.config": {"LazyConfig": types.SimpleNamespace(load=_lazy_config)},
        "omegaconf": {"OmegaConf": types.SimpleNamespace(structured=lambda kind: kind())},
        "phalp": {},
        **{f"phalp.{name}": {} for name in ("configs", "models", "models.hmar", "trackers")},
        "phalp.configs.base": {"FullConfig": FullConfig},
        "phalp.models.hmar.hmr": {"HMR2018Predictor": HMR2018Predictor},
        "phalp.trackers.PHALP": {"PHALP": PHALP},
    }
    made = {}
    for name, content in contents.items():
        made[name] = types.ModuleType(name)
        made[name].__dict__.update(content)
    return made


def install(monkeypatch: pytest.MonkeyPatch) -> State:
    """In place of upstream in this process, and its state as new."""
    for name, module in modules().items():
        monkeypatch.setitem(sys.modules, name, module)
    state.__dict__.update(State().__dict__)
    return state


def weights_in(folder: Path, *, phalp: bool = True) -> tuple[Path, Path]:
    """(weights, hashes): every file there must be, and their true hashes."""
    wanted = files._HMR2 + (files._TRACKER if phalp else ())
    for name in wanted:
        (folder / "w" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "w" / name).write_text(f"MODEL: {name}")
    good = {f"backbone.{key}": value for key, value in torch.nn.Linear(2, 2).state_dict().items()}
    save(folder / "w" / files.CHECKPOINT, good)
    hashes = folder / "weights.sha256"
    hashes.write_text("".join(line(folder / "w", name) for name in wanted))
    return folder / "w", hashes


def line(weights: Path, name: str) -> str:
    """As sha256sum prints it."""
    return f"{hashlib.sha256((weights / name).read_bytes()).hexdigest()}  {name}\n"


class Callbacks:
    """A class that torch does not know: Lightning's checkpoints hold such, which weights_only
    refuses."""


def save(path: Path, parameters: Mapping[str, Any]) -> None:
    torch.save({"state_dict": dict(parameters), "callbacks": Callbacks()}, path)


def load(name: str, options: Mapping[str, Any]) -> Engine:
    """For the engine's own process, on a CPU."""
    sys.modules.update(modules())
    weights, hashes = Path(options["weights"]), Path(options["hashes"])
    print("upstream greets on stdout", flush=True)
    dropped = {int(each) for each in os.environ["POSE_TEST_DROPPED"].split(",")}
    return _Dropping(lambda: load_models(weights, hashes, "cpu"), dropped)


class _Dropping(FourDHumans):
    """Nobody is there in some frames."""

    def __init__(self, factory: Callable[[], Models], dropped: set[int]) -> None:
        super().__init__(factory)
        self._dropped, self._people_there = dropped, state.people

    def see(self, image: Any, session: str, frame: int) -> list[Person]:
        state.people = [] if frame in self._dropped else self._people_there
        return super().see(image, session, frame)
