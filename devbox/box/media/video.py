"""A video file frame by frame: its true numbers and times, past damage in the middle."""

from __future__ import annotations

import struct
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import BinaryIO, Iterator, List, NamedTuple, Optional, Protocol, Set, Tuple

from devbox.box.arrays import Pixels

_SCANNED = 60  # frames looked at for the rate
_FASTEST = 480.0  # frames a second; what is declared above that is a clock, not a rate
_SAME = 0.1  # by which intervals and rates may differ and still be one
_MOST_INDEX = 64 << 20  # bytes of an index that is read: four million frames
_PATIENCE = 1000  # frames in a row that cannot be decoded before a video counts as over


class Look(NamedTuple):
    """fps: 0 where neither the container nor its timestamps tell. expected: 0 if unknown."""

    width: int
    height: int
    fps: float
    expected: int


class _Capture(Protocol):
    """What is used of cv2.VideoCapture."""

    def get(self, property: int, /) -> float: ...

    def grab(self) -> bool: ...

    def retrieve(self) -> Tuple[bool, Optional[Pixels]]: ...


def look(path: Path) -> Optional[Look]:
    """What a video says of itself; None when OpenCV cannot read it. The rate is the one its
    timestamps show: what a container declares may be the speed of its clock."""
    import cv2

    with _opened(path) as capture:
        width = int(capture.get(cv2.CAP_PROP_FRAME_WIDTH))
        height = int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
        expected = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        declared = float(capture.get(cv2.CAP_PROP_FPS))
        if width <= 0 or height <= 0:
            return None
        return Look(width, height, _rate(declared, _times(capture)), max(0, expected))


def read(path: Path, fps: float, expected: int) -> Iterator[Tuple[int, float, Optional[Pixels]]]:
    """(number, seconds, image) of every frame in order; no image for one that is lost. fps, as
    `look` found it, gives the times where the container has none."""
    import cv2

    lost = _lost_frames(path) if path.suffix.lower() == ".avi" else set()
    counted = path.suffix.lower() == ".avi"
    index, failed, first, before = 0, 0, None, -1.0
    with _opened(path) as capture:
        # A container may declare too few frames, or none.
        while failed <= (min(_PATIENCE, expected - index) if index < expected else _PATIENCE):
            image = capture.retrieve()[1] if capture.grab() else None
            if image is None:
                failed += 1
                continue
            at = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
            first = at if first is None else first
            # An .avi has one rate, and its time counts the frames that were found.
            number = index + failed
            if counted:
                number = _nth(round((at - first) * fps), lost, index)
            while index < number:
                yield index, max(before, index / fps), None
                index += 1
            time = at - first
            if time <= before or counted:
                time = max(index / fps, before)
            yield index, round(time, 6), image
            index, failed, before = index + 1, 0, time


def _nth(found: int, lost: "set[int]", least: int) -> int:
    """The number of the frame that was found as the `found`th, from 0."""
    number = found
    for each in sorted(lost):
        if each > number:
            break
        number += 1
    return max(number, least)


@contextmanager
def _opened(path: Path) -> Iterator[_Capture]:
    import cv2

    capture = cv2.VideoCapture(str(path))
    try:
        yield capture
    finally:
        capture.release()


def _times(capture: _Capture) -> List[float]:
    """Timestamps of the first frames, seconds."""
    import cv2

    times: List[float] = []
    while len(times) < _SCANNED and capture.grab():
        times.append(capture.get(cv2.CAP_PROP_POS_MSEC) / 1000)
    return times


def _rate(declared: float, times: List[float]) -> float:
    steps = [times[n] - times[n - 1] for n in range(1, len(times))]
    shown = 0.0
    if len(steps) >= 2 and min(steps) > 0:
        even = all(abs(step - median(steps)) <= _SAME * median(steps) + 0.0011 for step in steps)
        shown = 1 / median(steps) if even else len(steps) / sum(steps)
    if 0 < declared <= _FASTEST and (not shown or abs(declared - shown) <= _SAME * shown):
        return declared
    return shown if 0 < shown <= _FASTEST else 0.0


def _lost_frames(path: Path) -> Set[int]:
    """Frames of an .avi, from 0, whose chunk is not where its index says. Empty without an index,
    or where the index fits nothing.

    FFmpeg numbers these frames by counting the chunks it finds, so one whose header is damaged
    shifts the number of every later frame. The index at the end of the file (idx1; Microsoft's AVI
    RIFF file reference) names every chunk, also those."""
    with path.open("rb") as stream:
        found = _index(stream)
        if found is None:
            return set()
        start, entries = found
        # Offsets count from the word "movi", in some files from the start of the file.
        tries = [
            [_is_there(stream, base + entry[1], entry) for entry in entries] for base in (start, 0)
        ]
    best = max(tries, key=sum)
    return {n for n, there in enumerate(best) if not there} if any(best) else set()


def _index(stream: BinaryIO) -> Optional[Tuple[int, List[Tuple[bytes, int, int]]]]:
    """Where "movi" stands, and (chunk name, offset, size) of each frame of the first video."""
    if stream.read(4) != b"RIFF" or stream.read(8)[4:] != b"AVI ":
        return None
    movi = None
    while len(header := stream.read(8)) == 8:
        name, size = header[:4], struct.unpack("<I", header[4:])[0]
        at = stream.tell()
        if name == b"LIST" and stream.read(4) == b"movi":
            movi = at
        if name == b"idx1" and movi is not None:
            table = stream.read(min(size, _MOST_INDEX))
            rows = [struct.unpack_from("<4sIII", table, n) for n in range(0, len(table) - 15, 16)]
            frames = [(row[0], row[2], row[3]) for row in rows if row[0][2:] in (b"dc", b"db")]
            first = frames[0][0][:2] if frames else b""
            return movi, [frame for frame in frames if frame[0][:2] == first]
        stream.seek(at + size + size % 2)
    return None


def _is_there(stream: BinaryIO, at: int, entry: Tuple[bytes, int, int]) -> bool:
    stream.seek(at)
    return stream.read(8) == entry[0] + struct.pack("<I", entry[2])
