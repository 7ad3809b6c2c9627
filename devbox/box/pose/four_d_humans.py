"""4D-Humans: a person detector, HMR2 for the body of each person, and PHALP's tracker for who is
who. Written against 4D-Humans 6ec7965 and PHALP 96f7e6c, which are imported, never copied.

A body is 44 keypoints and 6,890 vertices in metres, and where it is before the camera. HMR2 gives
no confidence for a keypoint: each has the detector's score.
"""

from __future__ import annotations

from contextlib import redirect_stdout
from pathlib import Path
from typing import Callable, Dict, List, Mapping, NamedTuple, Optional, Protocol, Tuple

from devbox.box.arrays import Array, Doubles, Pixels, Tensor
from devbox.box.pose.engines import Engine, Options
from devbox.box.pose.keypoints import HMR2
from devbox.box.pose.person import Person, Point
from devbox.box.pose.tracks import Phalp, Track, Tracks

_SCORE = 0.5  # of a detection that is looked at
_PERSON = 0  # COCO's class
_BATCH = 8
_FARTHEST = 1e4  # metres; a scale near 0 puts a body at 1e13
_SAME = 0.7  # overlap of a track's box with the person's


class _Boxes(Protocol):
    tensor: Tensor


class Instances(Protocol):
    """What is used of detectron2's."""

    pred_classes: Tensor
    scores: Tensor
    pred_boxes: _Boxes


class _Smpl(Protocol):
    faces: Array


class Hmr2(Protocol):
    """What is used of HMR2."""

    smpl: _Smpl

    def eval(self) -> object: ...

    def __call__(self, batch: Mapping[str, Tensor], /) -> Dict[str, Tensor]: ...


class _Extra(Protocol):
    FOCAL_LENGTH: float


class _Model(Protocol):
    IMAGE_SIZE: int


class Config(Protocol):
    """What is used of HMR2's configuration."""

    EXTRA: _Extra
    MODEL: _Model


Detector = Callable[[Pixels], Mapping[str, Instances]]


class Models(NamedTuple):
    """detector(bgr) → {"instances": …}; model(batch) → HMR2's outputs; cfg: HMR2's configuration;
    device: a torch device's name; phalp: PHALP's tracker, None without its files."""

    detector: Detector
    model: Hmr2
    cfg: Config
    device: str
    phalp: Optional[Phalp]


def load_engine(options: Options) -> Engine:
    """With the files of options["weights"], those that options["hashes"] names. ValueError where
    they, or a GPU, are missing."""
    import torch

    if not torch.cuda.is_available():
        raise ValueError("4d-humans needs an NVIDIA GPU; --engine mediapipe runs on a CPU")
    from devbox.box.pose.four_d_humans_models import load_models

    return FourDHumans(
        lambda: load_models(Path(options["weights"]), Path(options["hashes"]), "cuda")
    )


class FourDHumans(Engine):
    """factory: makes the models, in the process that uses them."""

    def __init__(self, factory: Callable[[], Models]) -> None:
        super().__init__()
        models = factory()
        models.model.eval()  # they are loaded in train mode, in which each look differs
        self._detector = OnceAFrame(models.detector)
        self._model, self._cfg = models.model, models.cfg
        self.device = models.device
        self.faces = models.model.smpl.faces.tolist()
        self.models = {"hmr2": True, "phalp": models.phalp is not None}
        self._tracks: Optional[Tracks] = None
        if models.phalp is not None:
            models.phalp.eval()
            models.phalp.detector = self._detector
            self._tracks = Tracks(models.phalp)

    def see(self, image: Pixels, session: str, frame: int) -> List[Person]:
        instances = self._detector.look(image)["instances"]
        seen = (instances.pred_classes == _PERSON) & (instances.scores > _SCORE)
        boxes = instances.pred_boxes.tensor[seen].detach().cpu().numpy().astype("float64")
        scores = instances.scores[seen].detach().cpu().numpy().tolist()
        tracks = self._tracks.step(image, session, frame) if self._tracks and session else []
        wide = [n for n, (x, y, x2, y2) in enumerate(boxes) if x2 - x >= 1 and y2 - y >= 1]
        if not wide:
            return []
        people = self._people(image, boxes[wide], [scores[n] for n in wide])
        return [_named(person, tracks) for person in people]

    def forget(self, session: str) -> None:
        if self._tracks:
            self._tracks.forget(session)

    def _people(self, image: Pixels, boxes: Doubles, scores: List[float]) -> List[Person]:
        import torch
        from hmr2.datasets.vitdet_dataset import ViTDetDataset
        from hmr2.utils import recursive_to

        loader = torch.utils.data.DataLoader(
            ViTDetDataset(self._cfg, image, boxes), batch_size=_BATCH, shuffle=False, num_workers=0
        )
        people: List[Person] = []
        with torch.no_grad(), redirect_stdout(None):  # the data set prints a line a person
            for given in loader:
                batch = recursive_to(given, self.device)
                people += self._bodies(batch, self._model(batch), boxes, scores)
        if not people:
            raise ValueError(
                f"HMR2 gave no usable body for the {len(boxes)} people in the picture: not a "
                "number, or not in front of the camera"
            )
        return people

    def _bodies(
        self, batch: Dict[str, Tensor], out: Dict[str, Tensor], boxes: Doubles, scores: List[float]
    ) -> List[Person]:
        import numpy as np
        from hmr2.utils.renderer import cam_crop_to_full

        size = batch["img_size"].float()
        focal = float(self._cfg.EXTRA.FOCAL_LENGTH / self._cfg.MODEL.IMAGE_SIZE * size.max())
        cameras = cam_crop_to_full(
            *(out["pred_cam"], batch["box_center"].float(), batch["box_size"].float(), size, focal)
        )
        width, height = (float(value) for value in size[0].tolist())
        arrays = (out["pred_keypoints_3d"], out["pred_vertices"], out["pred_cam"], cameras)
        rows = zip(batch["personid"].tolist(), *(a.detach().float().cpu().numpy() for a in arrays))
        people = []
        for person, joints, vertices, weak, camera in rows:
            good = all(bool(np.isfinite(each).all()) for each in (joints, vertices, weak, camera))
            if not good or weak[0] <= 0 or not 0 < camera[2] < _FARTHEST:
                continue
            there = joints + camera
            if not (there[:, 2] > 0).all():
                continue
            flat = there[:, :2] * focal / there[:, 2:] + (width / 2, height / 2)
            points: List[Point] = [
                (float(x), float(y), *(float(v) for v in joint), scores[person])
                for (x, y), joint in zip(flat, joints)
            ]
            x, y, x2, y2 = (float(value) for value in boxes[person])
            people.append(
                Person(
                    names=HMR2,
                    points=points,
                    box=(x, y, x2 - x, y2 - y),
                    score=float(scores[person]),
                    vertices=vertices.astype(np.float32).tobytes(),
                    camera=tuple(float(value) for value in camera),  # type: ignore[arg-type]
                    focal=focal,
                )
            )
        return people


class OnceAFrame:
    """HMR2's side looks; PHALP, which asks about the same picture after it, is told the same."""

    def __init__(self, detector: Detector) -> None:
        self._detector = detector
        self._image: Optional[Pixels] = None
        self._found: Mapping[str, Instances] = {}

    def look(self, image: Pixels) -> Mapping[str, Instances]:
        self._found, self._image = self._detector(image), image
        return self._found

    def __call__(self, image: Pixels) -> Mapping[str, Instances]:
        return self._found if image is self._image else self.look(image)


def _named(person: Person, tracks: List[Track]) -> Person:
    """The person with the track that was updated by the same detection."""
    best = max(tracks, key=lambda track: _overlap(person.box, track.box), default=None)
    if best is None or _overlap(person.box, best.box) < _SAME:
        return person
    return person._replace(track=best.key, tentative=best.tentative)


def _overlap(a: Tuple[float, ...], b: Tuple[float, ...]) -> float:
    """Intersection over union of x, y, width, height."""
    width = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    height = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    return width * height / (a[2] * a[3] + b[2] * b[3] - width * height)
