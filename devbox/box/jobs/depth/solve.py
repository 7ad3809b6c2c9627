"""A scene through the model, batch by batch, smaller when memory runs out."""

from __future__ import annotations

from itertools import islice
from typing import Dict, List, NamedTuple, Optional

from devbox.box.job import Job
from devbox.box.jobs.depth import join
from devbox.box.jobs.depth.model import PATCH, Model, OutOfMemory, Views
from devbox.box.jobs.depth.scenes import Origin, Scene, View
from devbox.box.media import pictures

_LEAST_RES = 126  # pixels; below it depth is of no use
_METRIC_FOCAL = 300.0  # pixels; of the camera that da3metric's numbers are for, by its authors


class Limits:
    """How much is tried at once, in this run from now on: batch views of process_res pixels."""

    def __init__(self, batch: int, process_res: int) -> None:
        if batch < 1 or process_res < PATCH:
            raise ValueError(f"batch is 1 or more and process_res {PATCH} or more")
        self.batch, self.process_res = batch, process_res

    def shrink(self, tried: int, least: int) -> bool:
        """After `tried` views did not fit. Whether the resolution changed. OutOfMemory at the
        smallest."""
        if tried > least:
            self.batch = max(least, tried // 2)
            return False
        smaller = self.process_res * 3 // 4 // PATCH * PATCH
        if smaller < _LEAST_RES:
            raise OutOfMemory(f"not even {tried} views of {self.process_res} pixels fit")
        self.process_res = smaller
        return True


class Solved(NamedTuple):
    """seen: where the view of each index is from. batches: how many views each had.
    process_res: pixels of the longest side."""

    views: Views
    seen: List[Origin]
    batches: List[int]
    process_res: int


def solve(job: Job, model: Model, scene: Scene, limits: Limits, gaussians: bool) -> Solved:
    """All views in one world, where the model has poses. With gaussians one batch, of as many
    views as fit, spread over the scene. InterruptedError when the job is cancelled."""
    while True:
        try:
            return _Attempt(job, model, scene, limits, gaussians).run()
        except _Restart:
            size = f"{limits.batch} views of {limits.process_res} pixels"
            job.log(f"out of memory: again, with at most {size}")


class _Restart(Exception):
    """What was solved so far does not go with the new limits."""


class _Attempt:
    def __init__(
        self, job: Job, model: Model, scene: Scene, limits: Limits, gaussians: bool
    ) -> None:
        self._job, self._model, self._limits, self._gaussians = job, model, limits, gaussians
        self._res = limits.process_res
        self._scene = scene
        self._joined = model.has_poses and not gaussians
        self._parts: List[Views] = []
        self._seen: List[Origin] = []
        self._batches: List[int] = []

    def run(self) -> Solved:
        views = self._scene.views(self._res)
        if self._gaussians and self._scene.count > self._limits.batch:
            stride = -(-self._scene.count // self._limits.batch)
            self._job.log(f"Gaussians come from one batch: 1 view of {stride}")
            views = islice(views, 0, None, stride)
        waiting: List[View] = []
        shared = 0  # views at the front of `waiting` that are solved already
        while True:
            if self._job.cancelled:
                raise InterruptedError("cancelled; nothing of this scene was kept")
            waiting += islice(views, max(0, self._limits.batch - len(waiting)))
            if len(waiting) == shared:
                break
            batch = waiting[: self._limits.batch]
            found = self._predict(batch)
            if found is None:
                continue
            self._keep(found, batch, shared)
            shared = 1 if self._joined else 0
            waiting = waiting[len(batch) - shared :]
        if not self._parts:
            raise ValueError("no view of it could be read")
        return Solved(join.together(self._parts), self._seen, self._batches, self._res)

    def _predict(self, batch: List[View]) -> Optional[Views]:
        """None when it did not fit: the limits are smaller now."""
        try:
            images = [view.image for view in batch]
            return self._model.predict(images, self._res, self._gaussians)
        except OutOfMemory as error:
            reason = error
        least = 2 if self._joined and len(batch) > 1 else 1
        if self._limits.shrink(len(batch), least) or self._gaussians:
            raise _Restart
        self._job.log(f"out of memory with {len(batch)} views ({reason}): {self._limits.batch} now")
        return None

    def _keep(self, found: Views, batch: List[View], shared: int) -> None:
        if self._model.name.startswith("da3metric"):
            found = _in_metres(found, batch)
        if shared:
            found = join.place(self._parts[-1], found)
        self._parts.append(found)
        self._batches.append(len(batch) - shared)
        self._seen += [view.origin for view in batch[shared:]]
        self._job.progress(len(self._seen), max(self._scene.count, len(self._seen)), "views")


def _in_metres(found: Views, batch: List[View]) -> Views:
    """da3metric gives metres for a focal length of 300 pixels. Known is it only with EXIF."""
    import numpy as np

    if not all(view.origin.film_mm for view in batch):
        return found
    height, width = found.depth.shape[1:]
    focal = [pictures.focal(width, height, view.origin.film_mm).px for view in batch]
    factor = np.asarray(focal, np.float32)[:, None, None] / _METRIC_FOCAL
    return found._replace(depth=found.depth * factor, metres=True)


def numbers(solved: Solved) -> List[Dict[str, object]]:
    """One object per view, for views.json."""
    return [
        {key: value for key, value in origin._asdict().items() if value is not None}
        for origin in solved.seen
    ]
