"""What the input holds: scenes, each a number of views that can be read again and again, one at a
time, so that memory holds a batch and not a video."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Dict, Iterator, NamedTuple, Optional, Tuple

from devbox.box.arrays import Pixels
from devbox.box.jobs.depth.model import processed
from devbox.box.media import frames, pictures

_SAME_SHAPE = 0.01  # by which proportions differ that the model's patches round to one
_RATE = 25.0  # frames a second of a video that does not tell
_LEAST_LEFT = 0.5  # of a picture, after cropping


class Origin(NamedTuple):
    """file: its path inside the input. frame and seconds: of a video. film_mm: focal length on
    35 mm film, where EXIF tells it."""

    file: str
    frame: Optional[int] = None
    seconds: Optional[float] = None
    film_mm: Optional[float] = None


class View(NamedTuple):
    """image: RGB uint8, height × width × 3, upright."""

    image: Pixels
    origin: Origin


class Scene:
    """count: how many views there are, at least nearly. cropped: the share of the most cropped
    picture that was left, where pictures of unlike shape were cropped to one; else 1."""

    count = 0
    cropped = 1.0

    def views(self, process_res: int) -> Iterator[View]:
        """All of them, of one shape at that resolution."""
        raise NotImplementedError  # why: the seam itself; the two kinds are below


class Pictures(Scene):
    """sizes: width and height of each. ValueError for shapes so unlike that cropping them to one
    would leave less than half of a picture."""

    def __init__(self, files: Dict[str, Path], sizes: Dict[str, Tuple[int, int]]) -> None:
        self._files = files
        self.count = len(files)
        shapes = {name: width / height for name, (width, height) in sizes.items()}
        low, high = min(shapes.values()), max(shapes.values())
        self._shape: Optional[float] = None
        if high - low > _SAME_SHAPE * low:
            self._shape = math.sqrt(low * high)
            self.cropped = math.sqrt(low / high)
            if self.cropped < _LEAST_LEFT:
                names = min(shapes, key=lambda n: shapes[n]), max(shapes, key=lambda n: shapes[n])
                raise ValueError(
                    f"{names[0]} and {names[1]} have too unlike shapes for one scene: put them "
                    "into folders of their own, or use --views single"
                )

    def views(self, process_res: int) -> Iterator[View]:
        for name, path in self._files.items():
            picture = pictures.load(path)
            image = picture.image
            if self._shape is not None:
                image = _cropped(image, self._shape, process_res)
            yield View(image, Origin(name, film_mm=picture.film_mm))


def _cropped(image: Pixels, shape: float, process_res: int) -> Pixels:
    """The middle of it, in that proportion of width to height and at the model's own size: all
    pictures end at the same one."""
    import cv2

    target = processed(round(shape * 10_000), 10_000, process_res)
    height, width = image.shape[:2]
    scale = min(width / target[0], height / target[1])
    w, h = round(target[0] * scale), round(target[1] * scale)
    left, top = (width - w) // 2, (height - h) // 2
    kind = cv2.INTER_AREA if scale > 1 else cv2.INTER_CUBIC
    middle = image[top : top + h, left : left + w]
    cropped: Pixels = cv2.resize(middle, target, interpolation=kind)
    return cropped


class Video(Scene):
    """fps: frames a second that are taken; most: of all, spread over the video."""

    def __init__(self, name: str, path: Path, fps: float, most: int) -> None:
        self._name = name
        self._source = frames.open_sequence([path], _RATE)
        total = self._source.expected or sum(1 for _ in self._source.read())
        step = max(self._source.fps / fps, total / most, 1.0)
        self._wanted = [int(index * step) for index in range(most) if int(index * step) < total]
        self.count = len(self._wanted)

    def views(self, process_res: int) -> Iterator[View]:
        """Where a frame is lost, the next one that can be read is taken."""
        wanted = iter(self._wanted)
        due = next(wanted, None)
        for number, seconds, image in self._source.read():
            if due is None:
                return
            if number < due or image is None:
                continue
            yield View(image[:, :, ::-1].copy(), Origin(self._name, number, seconds))
            while due is not None and due <= number:
                due = next(wanted, None)


def sizes(files: Dict[str, Path]) -> Dict[str, Tuple[int, int]]:
    """Width and height of the pictures that can be read; what cannot is left out."""
    found: Dict[str, Tuple[int, int]] = {}
    for name, path in files.items():
        try:
            height, width = pictures.load(path).image.shape[:2]
        except pictures.PictureError:
            continue
        found[name] = (width, height)
    return found
