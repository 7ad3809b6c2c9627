"""The `sam-body4d` job: for each video a folder with

    images/%08d.jpg                          the frames, as they are in the video
    masks/%08d.png                           a pixel's value is the person's number
    rendered_frames/%08d.jpg                 everyone
    rendered_frames_individual/N/%08d_N.jpg  person N
    mesh_4d_individual/N/%08d.ply            binary little-endian, metres
    focal_4d_individual/N/%08d.json          {"focal_length": pixels, "camera": [x, y, z]}
    4d_video.mp4                             the rendered frames at the video's own rate
    status.json                              frames in and out, people, errors
    inference.log                            what was printed meanwhile

Frames count from 0, people from 1, from left to right where they are first seen.
"""

from __future__ import annotations

import json
import shutil
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Callable, Dict, List, Mapping, NamedTuple, Tuple

from devbox.box import json_file
from devbox.box.arrays import Pixels
from devbox.box.job import Job
from devbox.box.jobs.sam_body4d import bodies, memory, tracking, upstream
from devbox.box.jobs.sam_body4d.upstream import Upstream
from devbox.box.media import draw, frames
from devbox.box.tee import tee

Load = Callable[[Mapping[str, Path], bool], Upstream]


class _Frames(NamedTuple):
    """What was unpacked. lost: numbers of the frames that could not be read."""

    total: int
    fps: float
    lost: Tuple[int, ...]


def run(job: Job, load: Load = upstream.load, vram: Callable[[], int] = upstream.vram) -> None:
    """Each video, or the folder of images, is one item."""
    sequences = frames.of_input(job, "video")
    where = _folders(job.every(sequences))
    for name in job.items(sequences):
        models, room = job.resident("models", lambda: _loaded(job, load, vram()))
        with job.item(name), tee(_log_file(job, where[name])):
            source = frames.open_sequence(sequences[name], job.args["fps"])
            _Video(job, models, source, where[name], room).run()


class _Video:
    """One video. Its state is kept apart from its results until it is done."""

    def __init__(
        self, job: Job, models: Upstream, source: frames.Sequence, where: str, room: int
    ) -> None:
        self._job, self._models, self._source = job, models, source
        self._where, self._room = where, room
        self._kept = job.scratch / where
        self._kept.mkdir(parents=True, exist_ok=True)
        self._status: Dict[str, object] = {"video": source.name, "state": "failed", "errors": []}

    def run(self) -> None:
        try:
            self._run()
            self._status["state"] = "done"
        except Exception as error:
            self._status["errors"] = [f"{type(error).__name__}: {error}"]
            raise
        finally:
            with suppress(OSError):  # a full disk is told by what failed before
                self._job.write(
                    f"{self._where}status.json", json.dumps(self._status, indent=2) + "\n"
                )
        shutil.rmtree(self._kept)

    def _run(self) -> None:
        job = self._job
        with job.stage("decode"):
            known = self._unpack()
        self._status.update(frames_in=known.total, fps=known.fps, lost_frames=list(known.lost))
        video = tracking.Video(
            [job.out / f"{self._where}images/{n:08d}.jpg" for n in range(known.total)],
            (self._source.width, self._source.height),
            self._read_mask,
            self._write_mask,
        )
        with job.stage("track"):
            self._track(video)
        people, most = self._people(len(video.images))
        self._status["people"] = people
        plan = _plan(job, self._room, most)
        if plan.occlusion and self._models.complete is None:
            plan = plan._replace(occlusion=False)
        self._check_space(sum(each["frames"] for each in people), len(video.images))
        with job.stage("bodies"):
            plan = self._bodies(video, plan)
        self._status.update(batch=plan.batch, occlusion=plan.occlusion)
        with job.stage("encode"):
            self._encode(len(video.images))
        self._status["frames_out"] = len(video.images)
        job.log(f"{self._source.name}: {len(video.images)} frames, {len(people)} people")

    def _unpack(self) -> _Frames:
        """Write the frames as they are. One that cannot be read is shown as the one before, and
        named in status.json, so that numbers stay those of the video."""
        file = self._kept / "frames.json"
        known = json_file.load(file, _Frames)
        if known is not None:
            return known
        shown, count, waiting = None, 0, 0
        lost: List[int] = []
        for frame in self._source.read():
            self._check_cancelled()
            if frame.image is None:
                lost.append(frame.number)
            else:
                shown = frame.image
            count = frame.number + 1
            if shown is None:
                waiting = count
                continue
            for number in range(waiting, count):
                self._image(number, shown)
            waiting = count
            self._job.progress(count, self._source.expected or None, "frames", "decoding")
        if shown is None:
            raise ValueError("no frame of it could be read")
        if lost:
            self._job.log(f"{self._source.name}: {len(lost)} frames could not be read")
        known = _Frames(count, self._source.fps, tuple(lost))
        json_file.write(file, known, durable=True)
        return known

    def _image(self, number: int, image: Pixels) -> None:
        bodies.write_picture(self._job, f"{self._where}images/{number:08d}.jpg", image)

    def _track(self, video: tracking.Video) -> None:
        args = self._job.args
        tracker = tracking.Tracker(
            self._models,
            video,
            self._kept / "tracking.json",
            look_every=args["look_every"],
            stretch=min(args["stretch"], 1800),
            log=self._job.log,
        )
        if tracker.known.next < len(video.images):
            self._models.move_tracking(self._device())
        for done in tracker.run():
            self._check_cancelled()
            self._job.progress(done, len(video.images), "frames", "tracking")
        self._models.move_tracking("cpu")

    def _device(self) -> str:
        import torch

        return "cuda" if torch.cuda.is_available() else "cpu"

    def _bodies(self, video: tracking.Video, plan: memory.Plan) -> memory.Plan:
        work = bodies.Bodies(
            self._job, self._models, video, self._where, self._kept / "bodies.pt", plan
        )
        for done in work.run():
            self._check_cancelled()
            self._job.progress(done, len(video.images), "frames", "bodies")
        return work.plan

    def _people(self, count: int) -> "tuple[List[Dict[str, int]], int]":
        """Who is in the masks, and the most at once."""
        seen: Dict[int, List[int]] = {}
        most = 0
        for frame in range(count):
            there = self._read_mask(frame)
            most = max(most, len(there))
            for number in there:
                seen.setdefault(number, []).append(frame)
        people = [
            {"id": number, "frames": len(at), "first": at[0], "last": at[-1]}
            for number, at in sorted(seen.items())
        ]
        return people, most

    def _check_space(self, bodies_: int, count: int) -> None:
        """Refuse before hours of work what the disk cannot hold."""
        size = self._source.width * self._source.height
        need = bodies_ * (bodies.MESH_BYTES + size // 4) + count * size // 4
        have = shutil.disk_usage(self._job.out).free
        if need > have:
            raise OSError(
                f"the results need about {need / 1e9:.1f} GB and the disk has {have / 1e9:.1f} GB "
                "free; fetch and delete results of earlier runs, or take a volume"
            )

    def _encode(self, count: int) -> None:
        with draw.overlay(self._job, f"{self._where}4d_video.mp4", self._source) as video:
            for number in range(count):
                path = self._job.out / f"{self._where}rendered_frames/{number:08d}.jpg"
                video.add(frames.read_image(path))

    def _read_mask(self, frame: int) -> tracking.Masks:
        import numpy as np
        from PIL import Image

        with Image.open(self._job.out / f"{self._where}masks/{frame:08d}.png") as picture:
            values = np.asarray(picture)
        return {int(n): values == n for n in np.unique(values) if n}

    def _write_mask(self, frame: int, masks: tracking.Masks) -> None:
        import numpy as np
        from PIL import Image

        values = np.zeros((self._source.height, self._source.width), np.uint8)
        for number, mask in masks.items():
            values[mask] = number
        picture = Image.fromarray(values).convert("P")
        picture.putpalette(self._models.palette)
        with self._job.output(f"{self._where}masks/{frame:08d}.png") as part:
            picture.save(part)

    def _check_cancelled(self) -> None:
        if self._job.cancelled:
            raise InterruptedError("cancelled; a retry continues here")


def _loaded(job: Job, load: Load, room: int) -> Tuple[Upstream, int]:
    """The models, and the memory there was for them."""
    plan = _plan(job, room, 1)
    with job.stage("load"):
        return load(job.checkpoints, plan.occlusion), room


def _plan(job: Job, room: int, people: int) -> memory.Plan:
    return memory.plan(
        room,
        people,
        size=job.args["batch"],
        occlusion=job.args["occlusion"],
        resolution=job.args["resolution"],
    )


def _folders(names: List[str]) -> Dict[str, str]:
    """Item → its folder, also where there is only one."""
    found = frames.folders(names)
    return {name: where or f"{PurePosixPath(name).stem or name}/" for name, where in found.items()}


def _log_file(job: Job, where: str) -> Path:
    path = job.out / where / "inference.log"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path
