"""An engine's own process (devbox.box.services.model): looks at one frame after another."""

from __future__ import annotations

import traceback
from importlib import import_module
from typing import Callable, List, Tuple, TypedDict

from devbox.box.pose.engines import Engine, Options
from devbox.box.pose.person import Person


class Config(TypedDict):
    factory: str
    name: str
    options: Options


class Request(TypedDict, total=False):
    see: Tuple[str, int]
    shape: Tuple[int, ...]
    pixels: bytes
    forget: str


class Answer(TypedDict, total=False):
    people: List[Person]
    error: str


def load(config: Config) -> Callable[[Request], Answer]:
    """config: factory, "package.module:function" that makes the engine from its name and options;
    name; options. The function answers {"see": (session, frame), "shape", "pixels"} with {"people"}
    or, for a frame it can make nothing of, {"error"}; and {"forget": session} with {}."""
    module, _, function = config["factory"].partition(":")
    engine: Engine = getattr(import_module(module), function)(config["name"], config["options"])

    def answer(request: Request) -> Answer:
        import numpy as np

        if "forget" in request:
            engine.forget(request["forget"])
            return {}
        image = np.frombuffer(bytearray(request["pixels"]), np.uint8).reshape(request["shape"])
        try:
            return {"people": engine.see(image, *request["see"])}
        except ValueError as error:
            traceback.print_exc()
            return {"error": str(error)}

    answer.info = {  # type: ignore[attr-defined]
        "models": engine.models,
        "device": engine.device,
        "faces": engine.faces,
    }
    return answer
