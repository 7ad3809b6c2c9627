"""The demo's input: a still photograph panned into a clip, with an object passing in front."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FRAMES = 140
#: first and last frame (exclusive) in which the face is hidden
HIDDEN = (55, 105)
FPS = 25.0
_WIDTH, _HEIGHT = 360, 270


def make(photograph: Path, clip: Path) -> None:
    """Write FRAMES frames of 360 × 270 pixels; the faces in HIDDEN frames are covered."""
    import cv2

    image = cv2.imread(str(photograph))
    if image is None:
        raise OSError(f"{photograph} cannot be read as an image")
    writer = cv2.VideoWriter(str(clip), cv2.VideoWriter.fourcc(*"mp4v"), FPS, (_WIDTH, _HEIGHT))
    if not writer.isOpened():
        raise OSError(f"{clip} cannot be written")
    try:
        for index in range(FRAMES):
            writer.write(_frame(image, index))
    finally:
        writer.release()


def _frame(image: NDArray[np.uint8], index: int) -> NDArray[np.uint8]:
    """A window of the photograph that swings to the side and back."""
    swing = math.sin(2 * math.pi * index / FRAMES)
    left = round(50 + 45 * swing)
    top = round(15 + 12 * math.cos(4 * math.pi * index / FRAMES))
    frame = image[top : top + _HEIGHT, left : left + _WIDTH].copy()
    if HIDDEN[0] <= index < HIDDEN[1]:
        frame[:, 60:320] = (70, 62, 54)
        frame[:, 60:320:26] = (92, 84, 76)
    return frame
