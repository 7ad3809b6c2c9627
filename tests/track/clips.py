"""Videos made for a test, and the job run over them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from devbox.box.job import Job
from devbox.box.jobs import track
from devbox.box.media import frames

ARGS = {"engine": "cascade", "min_size": 40, "predict_frames": 20, "hold_frames": 90, "fps": 25.0}
PATTERNS = {"video": ("*.mp4", "*.png", "*.jpg")}


def run(folder: Path, source: Path, **changes: Any) -> Job:
    job = Job(folder, args={**ARGS, **changes}, inputs={"video": source}, patterns=PATTERNS)
    track.run(job)
    return job


def records_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]


def write(path: Path, count: int, size: tuple[int, int] = (160, 120)) -> Path:
    """A video of 25 frames a second, whose frame n is a texture around grey 5 n % 250."""
    code = "mp4v" if path.suffix == ".mp4" else "MJPG"
    texture = np.random.default_rng(1).integers(0, 5, (size[1], size[0], 3), np.uint8)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*code), 25, size)
    for number in range(count):
        writer.write(texture + np.uint8(5 * number % 250))
    writer.release()
    return path


def greys_of(*files: Path) -> dict[int, int]:
    """Frame number → the number that its grey tells, of what could be read."""
    source = frames.open_sequence(list(files), 25.0)
    return {
        frame.number: round((float(frame.image.mean()) - 2) / 5)
        for frame in source.read()
        if frame.image is not None
    }


def noise(path: Path, codec: str, count: int) -> Path:
    """A video of frames that nothing can be left out of unseen."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), 25, (160, 120))
    chance = np.random.default_rng(1)
    for _ in range(count):
        writer.write(chance.integers(0, 255, (120, 160, 3), np.uint8))
    writer.release()
    return path
