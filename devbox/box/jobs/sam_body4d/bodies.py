"""A body for everyone in every frame: meshes, focal lengths and rendered pictures.

Frames are taken in batches; a batch is written whole before the next, and what the next needs is
kept, so that a run that was cut off begins at its last batch. Against upstream's own loop:

- each person is asked for alone and with a scale and shape of their own, taken from the first
  frame in which that person is seen (upstream gives everyone the first person's);
- only frames in which the person is seen are asked for, and movement is smoothed within unbroken
  runs of them;
- results carry the person's number, where upstream counts those who are present;
- one focal length serves the whole video, where upstream's changes with each batch.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Dict, Iterator, List, NamedTuple, Optional

from devbox.box.arrays import Array, Pixels, Tensor
from devbox.box.job import Job
from devbox.box.jobs.sam_body4d import memory
from devbox.box.jobs.sam_body4d.completion import Completer, Whole, inside
from devbox.box.jobs.sam_body4d.parts import Body, Shape
from devbox.box.jobs.sam_body4d.tracking import Masks, Video
from devbox.box.jobs.sam_body4d.upstream import Upstream
from devbox.box.media import frames

_COLOURS = 76  # upstream has 81 and begins at the fifth
MESH_BYTES = 18439 * 16 + 36874 * 13  # of one person in one frame
Outputs = Dict[int, Dict[int, Body]]  # index in the batch → number → what upstream says


class Kept(NamedTuple):
    """next: first frame that is not written. shapes: number → upstream's scale and shape of that
    person. camera: the video's intrinsics, a tensor of 1 × 3 × 3."""

    next: int
    shapes: Dict[int, Shape]
    camera: Optional[Tensor]


class Bodies:
    """Writes under `where` of the job's output folder; `state` is the file that makes it resume."""

    def __init__(
        self, job: Job, models: Upstream, video: Video, where: str, state: Path, plan: memory.Plan
    ) -> None:
        self._job, self._models, self._video = job, models, video
        self._where, self._state, self.plan = where, state, plan
        self.kept = _read(state)
        self.frames: Dict[int, List[int]] = {}  # number → frames with a body, of this attempt

    def run(self) -> Iterator[int]:
        """Frames that are done, after each batch."""
        count = len(self._video.images)
        if self.kept.camera is None:
            self.kept = self.kept._replace(camera=self._camera())
        while self.kept.next < count:
            first = self.kept.next
            last = min(first + self.plan.batch, count)
            shapes = {number: dict(shape) for number, shape in self.kept.shapes.items()}
            try:
                outputs = self._batch(first, last, shapes)
            except Exception as error:
                if not memory.is_out_of_memory(error):
                    raise
                self._smaller()
                continue
            for index in range(last - first):
                self._write(first + index, outputs.get(index, {}))
            self.kept = Kept(last, shapes, self.kept.camera)
            self._save()
            yield last

    def _smaller(self) -> None:
        import torch

        if self.plan.batch == 1:
            raise MemoryError(
                "the GPU's memory is too small for a single frame; take a larger one, or "
                "--occlusion off"
            )
        self.plan = self.plan._replace(batch=self.plan.batch // 2)
        self._job.log(f"out of memory: {self.plan.batch} frames at once")
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _batch(self, first: int, last: int, shapes: Dict[int, Shape]) -> Outputs:
        import torch

        seen = [self._video.read(frame) for frame in range(first, last)]
        found: Outputs = {}
        with (
            tempfile.TemporaryDirectory(dir=self._state.parent) as name,
            torch.autocast("cuda", enabled=False),
        ):
            folder = Path(name)
            completer = self._completer(folder, first, last)
            for number in sorted({number for masks in seen for number in masks}):
                whole = self._whole(completer, number, seen)
                there = [
                    n
                    for n, masks in enumerate(seen)
                    if n in whole or (number in masks and inside(masks[number]))
                ]
                for run in unbroken(there):
                    answers = self._ask(folder, first, number, run, whole, shapes)
                    for index, answer in zip(run, answers):
                        if answer:
                            found.setdefault(index, {})[number] = answer[0]
        return found

    def _completer(self, folder: Path, first: int, last: int) -> Optional[Completer]:
        if self._models.complete is None or not self.plan.occlusion:
            return None
        images, masks = folder / "images", folder / "masks"
        images.mkdir()
        masks.mkdir()
        for frame in range(first, last):
            os.symlink(self._video.images[frame].resolve(), images / f"{frame:08d}.jpg")
            os.symlink(self._mask(frame).resolve(), masks / f"{frame:08d}.png")
        return Completer(
            self._models.complete, images, masks, self._video.size, self.plan.resolution
        )

    def _whole(
        self, completer: Optional[Completer], number: int, seen: List[Masks]
    ) -> Dict[int, Whole]:
        import numpy as np

        if completer is None:
            return {}
        empty = np.zeros((self._video.size[1], self._video.size[0]), bool)
        return completer.of(number, [masks.get(number, empty) for masks in seen])

    def _ask(
        self,
        folder: Path,
        first: int,
        number: int,
        run: List[int],
        whole: Dict[int, Whole],
        shapes: Dict[int, Shape],
    ) -> List[List[Body]]:
        """Upstream's answers for frames in a row: a list of no or one body for each."""
        place = Path(tempfile.mkdtemp(dir=folder))
        for position, index in enumerate(run):
            if index in whole:
                _place(place, position, number, whole[index])
        answers, _, _ = self._models.bodies(
            self._models.estimator,
            [str(self._video.images[first + index]) for index in run],
            [str(self._mask(first + index)) for index in run],
            {number: {"images": str(place), "masks": str(place)}},
            {},
            shapes.setdefault(number, {}),
            {number: [int(index not in whole) for index in run]},
            cam_int=self.kept.camera,
        )
        if len(answers) != len(run):
            raise RuntimeError(f"SAM 3D Body answered {len(answers)} frames of {len(run)}")
        return list(answers)

    def _write(self, frame: int, people: Dict[int, Body]) -> None:
        numbers = sorted(people)
        image = frames.read_image(self._video.images[frame])
        colours = [colour_of_number(number) for number in numbers]
        outputs = [people[number] for number in numbers] or None
        faces = self._models.estimator.faces
        picture = self._models.render_all(image, outputs, faces, colours)
        self._picture(f"rendered_frames/{frame:08d}.jpg", picture)
        for number, colour in zip(numbers, colours):
            (single,) = self._models.render_each(image, [people[number]], faces, [colour])
            self._picture(f"rendered_frames_individual/{number}/{frame:08d}_{number}.jpg", single)
            self._mesh(frame, number, people[number], colour)

    def _picture(self, path: str, picture: Array) -> None:
        import numpy as np

        write_picture(self._job, self._where + path, picture.astype(np.uint8))

    def _mesh(self, frame: int, number: int, person: Body, colour: int) -> None:
        """Upstream's own writer makes the files, in a folder it does not know by number."""
        with tempfile.TemporaryDirectory(dir=self._state.parent) as name:
            for kind in ("mesh", "focal"):
                (Path(name) / kind / "1").mkdir(parents=True)
            self._models.save_mesh(
                outputs=[person],
                faces=self._models.estimator.faces,
                save_dir=f"{name}/mesh",
                focal_dir=f"{name}/focal",
                image_path=f"{frame:08d}.jpg",
                id_current=[colour],
            )
            for kind, suffix in (("mesh", "ply"), ("focal", "json")):
                path = f"{self._where}{kind}_4d_individual/{number}/{frame:08d}.{suffix}"
                with self._job.output(path) as part:
                    os.replace(f"{name}/{kind}/1/{frame:08d}.{suffix}", part)

    def _mask(self, frame: int) -> Path:
        return self._job.out / f"{self._where}masks/{frame:08d}.png"

    def _camera(self) -> Tensor:
        import cv2

        image = frames.read_image(self._video.images[0])
        rgb: Pixels = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
        return self._models.estimator.fov_estimator.get_cam_intrinsics(rgb)

    def _save(self) -> None:
        import torch

        part = self._state.with_suffix(".part")
        torch.save(self.kept._asdict(), part)
        os.replace(part, self._state)


def colour_of_number(number: int) -> int:
    """What upstream takes for a person's number to choose a colour."""
    return (number - 1) % _COLOURS + 1


def write_picture(job: Job, path: str, picture: Pixels) -> None:
    """A BGR picture among the outputs. OSError when it cannot be written."""
    import cv2

    with job.output(path) as part:
        if not cv2.imwrite(str(part), picture, [cv2.IMWRITE_JPEG_QUALITY, 95]):
            raise OSError(f"{path} could not be written; is the disk full?")


def unbroken(frames: List[int]) -> List[List[int]]:
    """Ascending frames, cut where one is missing."""
    runs: List[List[int]] = []
    for frame in frames:
        if runs and runs[-1][-1] == frame - 1:
            runs[-1].append(frame)
        else:
            runs.append([frame])
    return runs


def _place(folder: Path, position: int, number: int, whole: Whole) -> None:
    """What upstream reads for a hidden person in the frame at that position."""
    import cv2
    from PIL import Image

    cv2.imwrite(str(folder / f"{position:08d}.jpg"), cv2.cvtColor(whole.image, cv2.COLOR_RGB2BGR))
    Image.fromarray(whole.mask.astype("uint8") * number).save(folder / f"{position:08d}.png")


def _read(state: Path) -> Kept:
    import torch

    if not state.exists():
        return Kept(0, {}, None)
    try:
        return Kept(**torch.load(state, map_location="cpu", weights_only=True))
    except Exception:
        return Kept(0, {}, None)  # why: torn by a crash of the machine; the bodies are found again
