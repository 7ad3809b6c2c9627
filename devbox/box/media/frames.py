"""Frames of a video file or of a folder of images, as BGR uint8 arrays of height × width × 3."""

from __future__ import annotations

from collections import Counter
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Dict, Iterator, List, NamedTuple, Optional, Tuple

from devbox.box.arrays import Pixels
from devbox.box.job import Job
from devbox.box.media import video
from devbox.box.pieces import is_image, sequences


class Frame(NamedTuple):
    """number: from 0, as in the file. time: seconds from the first frame. image: None when this
    frame could not be read."""

    number: int
    time: float
    image: Optional[Pixels]


class Sequence:
    """What one item of the job reads. fps: frames a second, on the average where they vary;
    expected: frames the container declares, 0 if unknown; width and height in pixels."""

    def __init__(
        self, name: str, paths: List[Path], fps: float, expected: int, width: int, height: int
    ) -> None:
        self.name, self.fps, self.expected = name, fps, expected
        self.width, self.height = width, height
        self._paths = paths

    def read(self) -> Iterator[Frame]:
        """Every frame in order. One that cannot be read has no image, so that the count of frames
        of a folder is the count of files, and a damaged video keeps its numbers."""
        if is_image(self._paths[0]):
            for index, path in enumerate(self._paths):
                yield Frame(index, index / self.fps, self._image(path))
            return
        for found in video.read(self._paths[0], self.fps, self.expected):
            yield Frame(*found)

    def blank(self) -> Pixels:
        """A grey frame in place of one that could not be read."""
        import numpy as np

        return np.full((self.height, self.width, 3), 96, np.uint8)

    def _image(self, path: Path) -> Optional[Pixels]:
        import cv2

        image = load_image(path)
        if image is not None and image.shape[:2] != (self.height, self.width):
            image = cv2.resize(image, (self.width, self.height))
        return image


def of_input(job: Job, name: str) -> Dict[str, List[Path]]:
    """The sequences of a job's input (devbox.box.pieces). ValueError when there is none. Images
    beside videos are passed over, and the log says how many."""
    files = job.files(name)
    found = sequences(files, job.inputs[name])
    if not found:
        raise ValueError("the input holds no video and no image")
    if left := len(files) - sum(map(len, found.values())):
        job.log(f"passed over: {left} images beside videos")
    return found


def folders(names: List[str]) -> Dict[str, str]:
    """Item name → its folder in the results, "" for the only one: its path without the suffix, or
    with it where two would share one, or all numbered where two would still. Folders differ in
    more than case: a computer that fetches them may ignore it."""
    if len(names) == 1:
        return {names[0]: ""}
    return {name: f"{folder}/" for name, folder in stems(names, ("/",)).items()}


def stems(names: List[str], suffixes: Tuple[str, ...]) -> Dict[str, str]:
    """Item name → the beginning of the names of its results, which end with `suffixes`: named as
    for `folders`, and no result is where another one needs a folder."""
    return dict(_stems(tuple(names), suffixes))


@lru_cache(maxsize=1)  # each round of a batch asks for the names of all of it
def _stems(names: Tuple[str, ...], suffixes: Tuple[str, ...]) -> Dict[str, str]:
    bare = [str(Path(name).with_suffix("")) for name in names]
    taken = Counter(stem.casefold() for stem in bare)
    found = [stem if taken[stem.casefold()] == 1 else name for name, stem in zip(names, bare)]
    if _collide([stem + suffix for stem in found for suffix in suffixes]):
        found = [f"{number}/{name}" for number, name in enumerate(names, 1)]
    return dict(zip(names, found))


def _collide(paths: List[str]) -> bool:
    """Two are the same, or one is a folder of another."""
    folded = {path.casefold() for path in paths}
    if len(folded) < len(paths):
        return True
    return any(str(parent) in folded for path in folded for parent in PurePosixPath(path).parents)


def open_sequence(paths: List[Path], fps: float) -> Sequence:
    """Look at the size and rate. ValueError when nothing of it can be read."""
    name = paths[0].name if len(paths) == 1 else paths[0].parent.name
    if is_image(paths[0]):
        for path in paths:
            image = load_image(path)
            if image is not None:
                height, width = image.shape[:2]
                return Sequence(name, paths, fps, len(paths), width, height)
        raise ValueError(f"{name}: no image of it can be read")
    seen = video.look(paths[0])
    if seen is None:
        raise ValueError(f"{name} is not a video that OpenCV can read")
    return Sequence(name, paths, seen.fps or fps, seen.expected, seen.width, seen.height)


def read_image(path: Path) -> Pixels:
    """OSError for what is no image."""
    image = load_image(path)
    if image is None:
        raise OSError(f"{path} cannot be read as a picture")
    return image


def load_image(path: Path) -> Optional[Pixels]:
    """None for what is no image, or one larger than OpenCV or this box's memory takes."""
    import cv2

    try:
        image: Optional[Pixels] = cv2.imread(str(path))
    except (cv2.error, MemoryError):
        return None
    return image
