"""Image folders and videos of coloured squares, and the job run over them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from devbox.box.job import Job
from devbox.box.jobs import sam_body4d
from tests.sam_body4d.stand_in import COLOURS, Parts

ARGS = {
    "batch": 0, "occlusion": "off", "resolution": "auto", "look_every": 5, "stretch": 600,
    "fps": 25.0,
}  # fmt: skip
PATTERNS = {"video": ("*.mp4", "*.avi", "*.png", "*.jpg")}
SIZE = (160, 120)
Places = Sequence[tuple[int, int, int]]  # colour's index, left, top


def picture(places: Places, size: tuple[int, int] = SIZE, side: int = 24) -> Any:
    """RGB; later squares are in front."""
    image = np.full((size[1], size[0], 3), 255, np.uint8)
    for colour, x, y in places:
        image[max(0, y) : max(0, y + side), max(0, x) : max(0, x + side)] = COLOURS[colour]
    return image


def folder(
    path: Path, frames: Sequence[Places], size: tuple[int, int] = SIZE, side: int = 24
) -> Path:
    path.mkdir(parents=True)
    for number, places in enumerate(frames):
        Image.fromarray(picture(places, size, side)).save(path / f"f{number}.png")
    return path


def video(path: Path, frames: Sequence[Places], fps: float = 25) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), fps, SIZE)
    for places in frames:
        writer.write(picture(places)[..., ::-1])
    writer.release()
    return path


def run(
    place: Path, source: Path, parts: Parts | None = None, *, attempt: int = 1, **changes: Any
) -> Job:
    parts = parts or Parts()
    job = Job(
        place,
        args={**ARGS, **changes},
        inputs={"video": source},
        patterns=PATTERNS,
        attempt=attempt,
    )
    sam_body4d.run(job, parts.load, parts.vram)
    return job


def meshes(out: Path) -> dict[int, dict[int, Any]]:
    """Number → frame → the stand-in's three points."""
    found: dict[int, dict[int, Any]] = {}
    for path in sorted(out.glob("mesh_4d_individual/*/*.ply")):
        with path.open("rb") as stream:
            found.setdefault(int(path.parent.name), {})[int(path.stem)] = np.load(stream)
    return found


def colour_of(points: Any) -> int:
    """Which of the colours a body has."""
    return int(np.abs(np.array(COLOURS) - points[0]).sum(1).argmin())


def shape_of(points: Any) -> int:
    """Whose scale and shape it has."""
    return int(np.abs(np.array(COLOURS) - points[2]).sum(1).argmin())


def mask(out: Path, frame: int) -> Any:
    return np.asarray(Image.open(out / f"masks/{frame:08d}.png"))


def status(out: Path) -> Any:
    return json.loads((out / "status.json").read_text())


def everything(out: Path) -> dict[str, bytes]:
    """Every file but the log and the status, by path."""
    return {
        str(path.relative_to(out)): path.read_bytes()
        for path in sorted(out.rglob("*"))
        if path.is_file() and path.name not in ("inference.log", "status.json")
    }
