"""Pictures for a user: the overlay video and the contact sheet.

Each source has its own colour and its own line: solid, dashed, dotted, so that it reads without
colour too.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import Iterator, List, Optional, Protocol, Tuple, TypedDict

from devbox.box.arrays import Pixels
from devbox.box.job import Job
from devbox.box.media.frames import Sequence

# Blue-green-red; Okabe and Ito's palette, which colour-blind people tell apart.
COLOURS = {"detected": (115, 158, 0), "predicted": (0, 159, 230), "held": (167, 121, 204)}
_DASH = {"detected": 0, "predicted": 10, "held": 4}
_CELLS, _COLUMNS, _CELL = 20, 5, (256, 192)


# Sizes that the encoder surely takes; a larger or smaller picture is scaled.
_SMALLEST, _LARGEST = 16, 4096


class Tracked(TypedDict):
    """One person of a frame. box: x, y, width, height, pixels. source: as the frame's."""

    id: int
    box: List[float]
    score: Optional[float]
    source: str


class Tracks(TypedDict):
    """What is drawn of a frame. source: detected, predicted, held or none."""

    frame: int
    source: str
    tracks: List[Tracked]


class _Writer(Protocol):
    """What is used of cv2.VideoWriter."""

    def write(self, image: Pixels, /) -> object: ...


class Overlay:
    """writer: None where no video can be written: then pictures are dropped."""

    def __init__(self, writer: Optional[_Writer], size: Tuple[int, int]) -> None:
        self._writer, self._size = writer, size

    def add(self, picture: Pixels) -> None:
        import cv2

        if self._writer is None:
            return
        if (picture.shape[1], picture.shape[0]) != self._size:
            picture = cv2.resize(picture, self._size, interpolation=cv2.INTER_AREA)
        self._writer.write(picture)


@contextmanager
def overlay(job: Job, path: str, source: Sequence) -> Iterator[Overlay]:
    """A video of the sequence's size and rate among the outputs. Where it cannot be encoded, that
    is logged, and the results stand without it."""
    import cv2

    size = _encodable(source.width, source.height)
    try:
        with job.output(path) as part:
            code = cv2.VideoWriter.fourcc(*"mp4v")
            writer = cv2.VideoWriter(str(part), code, source.fps, size)
            if not writer.isOpened():
                raise _NotEncodable
            try:
                yield Overlay(writer, size)
            finally:
                writer.release()
            return
    except _NotEncodable:
        job.log(f"{source.name}: no {path}: a video of {size[0]} × {size[1]} cannot be encoded")
    yield Overlay(None, size)


class _NotEncodable(Exception):
    """OpenCV cannot write the overlay."""


def _encodable(width: int, height: int) -> Tuple[int, int]:
    shrink = min(1.0, _LARGEST / max(width, height))
    return max(_SMALLEST, round(width * shrink)), max(_SMALLEST, round(height * shrink))


def annotate(image: Pixels, record: Tracks) -> Pixels:
    """A copy of the frame with its tracks and its source drawn in."""
    picture = image.copy()
    for track in record["tracks"]:
        x, y, w, h = (round(v) for v in track["box"])
        colour = COLOURS[track["source"]]
        rectangle(picture, (x, y), (x + w, y + h), colour, track["source"])
        label(picture, f"#{track['id']} {track['source']}", (x, max(14, y - 6)), colour)
    label(picture, f"{record['frame']}  {record['source']}", (6, picture.shape[0] - 8), (255,) * 3)
    return picture


class Sheet:
    """Up to 20 frames spread evenly over the sequence, as one PNG of 5 columns."""

    def __init__(self, expected: int) -> None:
        self._stride = max(1, -(-expected // _CELLS)) if expected else 1
        self._cells: List[Tuple[int, Pixels]] = []

    def offer(self, frame: int, picture: Pixels) -> None:
        """frame: its number, from 0."""
        import cv2

        if frame % self._stride:
            return
        self._cells.append((frame, cv2.resize(picture, _CELL, interpolation=cv2.INTER_AREA)))
        if len(self._cells) > _CELLS:  # longer than declared: keep every second one
            self._stride *= 2
            self._cells = [cell for cell in self._cells if not cell[0] % self._stride]

    def png(self) -> bytes:
        import cv2
        import numpy as np

        width, height = _CELL
        rows = -(-len(self._cells) // _COLUMNS)
        canvas = np.full((rows * (height + 4) + 4, _COLUMNS * (width + 4) + 4, 3), 24, np.uint8)
        for index, (_, cell) in enumerate(self._cells):
            top = 4 + index // _COLUMNS * (height + 4)
            left = 4 + index % _COLUMNS * (width + 4)
            canvas[top : top + height, left : left + width] = cell
        ok, data = cv2.imencode(".png", canvas)
        if not ok:
            raise OSError("OpenCV could not encode the contact sheet")
        return bytes(data)


def rectangle(
    picture: object, start: Tuple[int, int], end: Tuple[int, int], colour: object, source: str
) -> None:
    """A box in place, its line of the kind that the source has."""
    import cv2

    dash = _DASH.get(source, 0)
    if not dash:
        cv2.rectangle(picture, start, end, colour, 2, cv2.LINE_AA)
        return
    (x1, y1), (x2, y2) = start, end
    for x in range(x1, x2, dash * 2):
        for y in (y1, y2):
            cv2.line(picture, (x, y), (min(x + dash, x2), y), colour, 2)
    for y in range(y1, y2, dash * 2):
        for x in (x1, x2):
            cv2.line(picture, (x, y), (x, min(y + dash, y2)), colour, 2)


def label(picture: object, text: str, at: Tuple[int, int], colour: object) -> None:
    """Text in place, with a dark edge; `at` is its lower left corner."""
    import cv2

    for ink, thickness in (((0, 0, 0), 3), (colour, 1)):
        cv2.putText(picture, text, at, cv2.FONT_HERSHEY_SIMPLEX, 0.45, ink, thickness, cv2.LINE_AA)
