"""An engine in a process and an environment of its own.

    with Host("mediapipe", {}, say=job.log) as host:
        people = host.see(image, session="", frame=0)         # in a job
        people = await host.look(image, session="", frame=0)  # in a service

Model code prints to stdout, changes globals, and may end its process: here that costs one answer.
"""

from __future__ import annotations

import os
import platform
import sys
from typing import Callable, Dict, List, NamedTuple, Optional, Tuple

from devbox.box import environment
from devbox.box.arrays import Pixels
from devbox.box.pose.engines import Options
from devbox.box.pose.person import Person
from devbox.box.pose.result import Faces
from devbox.box.pose.worker import Answer, Config, Request
from devbox.box.service import Service
from devbox.box.services.model import Model, ModelDied, ModelError, NotReady
from devbox.wire.jobs import Environment

#: what pose needs of mediapipe and no more: it declares jax, sounddevice and others besides
MEDIAPIPE = Environment(
    packages=(
        "mediapipe==0.10.21",
        "absl-py==2.3.1",
        "attrs==25.4.0",
        "contourpy==1.3.0",
        "cycler==0.12.1",
        "flatbuffers==25.9.23",
        "fonttools==4.60.1",
        "importlib-resources==6.5.2",
        "kiwisolver==1.4.7",
        "matplotlib==3.9.4",
        "numpy==1.26.4",
        "opencv-python-headless==4.11.0.86",
        "packaging==25.0",
        "pillow==11.3.0",
        "protobuf==4.25.8",
        "pyparsing==3.2.5",
        "python-dateutil==2.9.0.post0",
        "six==1.17.0",
        "zipp==3.23.0",
    ),
    no_deps=True,
    python=">=3.9,<3.13",
)
#: what makes an engine in its process
FACTORY = "devbox.box.pose.engines:load"
SEE_SECONDS = 100.0  # for one frame; a client of the service waits for 120


class EngineFailed(Exception):
    """The engine could not be loaded, died, or took too long."""


class Ready(NamedTuple):
    """What a loaded engine says of itself. note: why it is another one than was asked for."""

    engine: str
    models: Dict[str, bool]
    device: str
    faces: Faces
    note: str


class Host:
    """name: of `engines.NAMES`. options: for `engines.load`. say: takes lines for the user.
    service: told when the engine cannot be loaded."""

    def __init__(
        self,
        name: str,
        options: Options,
        say: Callable[[str], None],
        service: Optional[Service] = None,
    ) -> None:
        self._asked, self._options = name, options
        self._say, self._service = say, service
        self._model: Optional[Model[Answer]] = None
        self._engine, self._note = name, ""

    def __enter__(self) -> "Host":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def begin(self) -> None:
        """Make its environment and begin to load it. environment.EnvironmentMissing where its
        packages cannot be had."""
        self._engine, python, self._note = self._place()
        if self._note:
            self._say(self._note)
        os.environ.update({"TF_CPP_MIN_LOG_LEVEL": "2", "GLOG_minloglevel": "2"})
        config: Config = {"factory": FACTORY, "name": self._engine, "options": self._options}
        self._model = Model(
            "devbox.box.pose.worker",
            config,
            python=python,
            timeout=SEE_SECONDS,
            service=self._service,
        )

    def start(self) -> Ready:
        """`begin`, and wait until it is loaded. EngineFailed when it cannot be."""
        if self._model is None:
            self.begin()
        assert self._model is not None
        if not self._model.wait():
            raise EngineFailed(f"engine {self._engine}: {self._model.error}")
        ready = self.ready
        assert ready is not None
        return ready

    @property
    def ready(self) -> Optional[Ready]:
        """None while it is being loaded."""
        model = self._model
        if model is None or not model.is_ready:
            return None
        info = model.info
        return Ready(self._engine, info["models"], info["device"], info["faces"], self._note)

    def see(self, image: Pixels, session: str = "", frame: int = 0) -> List[Person]:
        """As `Engine.see`: a BGR uint8 frame of height × width × 3. ValueError as there, and for
        whatever else it raises; EngineFailed when the process died or took too long: it is loaded
        again, and sessions begin again with it."""
        self.start()
        assert self._model is not None
        try:
            return _people(self._model.ask(_request(image, session, frame)))
        except (ModelDied, NotReady) as error:
            raise EngineFailed(str(error)) from error
        except ModelError as error:
            raise ValueError(str(error)) from error

    async def look(self, image: Pixels, session: str = "", frame: int = 0) -> List[Person]:
        """The same without blocking the event loop; one at a time, in the order of the calls.
        devbox.box.services.model says what it raises, and ValueError as `see`."""
        return _people(await self._loaded().call(_request(image, session, frame)))

    async def forget(self, session: str) -> None:
        """As `Engine.forget`."""
        await self._loaded().call({"forget": session})

    def close(self) -> None:
        """End its process."""
        model, self._model = self._model, None
        if model:
            model.close()

    def _loaded(self) -> Model[Answer]:
        if self._model is None:
            raise NotReady("the engine's packages are being installed")
        return self._model

    def _place(self) -> Tuple[str, str, str]:
        """(engine, its Python or "" for the box's own, a sentence for the user)."""
        if self._asked != "mediapipe":
            return self._asked, "", ""
        why = ""
        if sys.platform.startswith("linux") and platform.machine() not in ("x86_64", "AMD64"):
            why = f"mediapipe has no wheel for Linux on {platform.machine()}"
        else:
            try:
                return "mediapipe", environment.provide(MEDIAPIPE, self._say), ""
            except environment.NoPython as error:
                why = str(error)
        note = (
            f"engine mediapipe does not run here ({why}). Engine cascade is used in its place: "
            "it finds faces only, with no skeleton and no 3D"
        )
        return "cascade", "", note


def _request(image: Pixels, session: str, frame: int) -> Request:
    import numpy as np

    content = np.ascontiguousarray(image, np.uint8)
    return {"see": (session, frame), "shape": content.shape, "pixels": content.tobytes()}


def _people(answer: Answer) -> List[Person]:
    if "error" in answer:
        raise ValueError(answer["error"])
    return answer["people"]
