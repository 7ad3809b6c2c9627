"""An engine whose behaviour a test writes down: it runs in the engine's process like a real one.

Its plan is JSON in the environment variable DEVBOX_TEST_PLAN: dropped (frames without a person),
refuse, raises, die (frames on which it fails, or ends its process), noise (it prints to stdout at
every level), mesh, seconds (that a look takes), two (frames with a second person), broken (why it
cannot be loaded).
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from devbox.box.pose.engines import Engine
from devbox.box.pose.keypoints import MEDIAPIPE
from devbox.box.pose.person import Person, Point

FACTORY = "tests.pose.fake:load"
FACES = [[0, 1, 2], [0, 2, 3]]


def load(name: str, options: Mapping[str, Any]) -> Engine:
    behaviour = json.loads(os.environ.get("DEVBOX_TEST_PLAN", "{}"))
    if "broken" in behaviour:
        raise ValueError(behaviour["broken"])
    return Fake(behaviour)


class Fake(Engine):
    """The person walks to the right, 2 pixels a frame; the left upper corner of a frame tells what
    the picture was, so that an answer can be matched with its picture."""

    def __init__(self, behaviour: dict[str, Any]) -> None:
        super().__init__()
        self.models["hmr2"] = True
        self.behaviour = behaviour
        self.faces = FACES if behaviour.get("mesh") else None

    def see(self, image: Any, session: str, frame: int) -> list[Person]:
        told = self.behaviour
        if told.get("noise"):
            print("python noise", flush=True)
            os.write(1, b"native noise\n")
        if frame in told.get("die", ()):
            os._exit(9)
        if frame in told.get("refuse", ()):
            raise ValueError("the network gave no number")
        if frame in told.get("raises", ()):
            raise RuntimeError("CUDA out of memory")
        time.sleep(told.get("seconds", 0))
        if frame in told.get("dropped", ()):
            return []
        grey = float(image[0, 0, 0])
        found = [walker(20 + 2 * frame, grey, bool(told.get("mesh")))]
        if frame in told.get("two", ()):
            found.append(walker(120, grey, False))
        return found


def walker(x: float, grey: float, mesh: bool) -> Person:
    points: list[Point] = [
        (x + row, 40.0 + row, 0.01 * row, grey, -0.01 * row, 0.9) for row in range(33)
    ]
    vertices = np.arange(12, dtype=np.float32).tobytes() if mesh else None
    camera, focal = ((0.1, 0.2, 4.0), 500.0) if mesh else (None, None)
    box = (x, 40.0, 33.0, 33.0)
    return Person(MEDIAPIPE, points, box, 0.9, vertices=vertices, camera=camera, focal=focal)
