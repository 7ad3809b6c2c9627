"""What finds people in a frame. An engine is a class with `detect`; adding one is a module here,
a line in _ENGINES and a choice in job.toml."""

from __future__ import annotations

from importlib import import_module
from typing import Any, List, NamedTuple, Tuple

from devbox.box.job import Job

_ENGINES = {"cascade": "devbox.box.jobs.track.engines.cascade"}


class Detection(NamedTuple):
    """box: x, y, width, height in pixels. score: the engine's confidence, larger is surer.
    identity: the engine's own track id, where it tracks by itself; else None."""

    box: Tuple[float, float, float, float]
    score: float
    identity: Any = None


class Engine:
    """Sees every frame once, in order."""

    def detect(self, image: Any) -> List[Detection]:
        """People in a BGR uint8 frame of height × width × 3."""
        raise NotImplementedError  # why: the seam itself; engines are its subclasses


def load(name: str, job: Job) -> Engine:
    """The engine of that name, made for this job's arguments."""
    made = import_module(_ENGINES[name]).make(job)
    assert isinstance(made, Engine)
    return made
