"""Frames of a video file or of a folder of images, as BGR uint8 arrays of height × width × 3."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional

VIDEOS = (".mp4", ".mov", ".avi", ".mkv", ".webm")


class Sequence:
    """What one item of the job reads. expected: frames the container declares, 0 if unknown;
    width and height in pixels."""

    def __init__(
        self, name: str, paths: List[Path], fps: float, expected: int, width: int, height: int
    ) -> None:
        self.name, self.fps, self.expected = name, fps, expected
        self.width, self.height = width, height
        self._paths = paths

    def read(self) -> Iterator[Optional[Any]]:
        """Every frame in order. An image of a folder that cannot be read is None, so that the
        count of frames is the count of files."""
        return self._images() if _is_images(self._paths) else self._video()

    def blank(self) -> Any:
        """A grey frame in place of one that could not be read."""
        import numpy as np

        return np.full((self.height, self.width, 3), 96, np.uint8)

    def _images(self) -> Iterator[Optional[Any]]:
        import cv2

        for path in self._paths:
            image = cv2.imread(str(path))
            if image is not None and image.shape[:2] != (self.height, self.width):
                image = cv2.resize(image, (self.width, self.height))
            yield image

    def _video(self) -> Iterator[Optional[Any]]:
        import cv2

        capture = cv2.VideoCapture(str(self._paths[0]))
        try:
            while True:
                ok, image = capture.read()
                if not ok:
                    return
                yield image
        finally:
            capture.release()


def sequences(files: List[Path], root: Path) -> Dict[str, List[Path]]:
    """Item name → its files: every video is an item; all images together are one."""
    videos = {
        str(path.relative_to(root)) if path != root else path.name: [path]
        for path in files
        if path.suffix.lower() in VIDEOS
    }
    images = [path for path in files if path.suffix.lower() not in VIDEOS]
    if images and not videos:
        videos[root.name] = images
    return videos


def open_sequence(paths: List[Path], fps: float) -> Sequence:
    """Look at the size and rate. ValueError when nothing of it can be read."""
    import cv2

    name = paths[0].name if len(paths) == 1 else paths[0].parent.name
    if _is_images(paths):
        for path in paths:
            image = cv2.imread(str(path))
            if image is not None:
                height, width = image.shape[:2]
                return Sequence(name, paths, fps, len(paths), width, height)
        raise ValueError(f"{name}: no image of it can be read")
    capture = cv2.VideoCapture(str(paths[0]))
    try:
        width = int(capture.get(cv2.CAP_PROP_FRAME_WIDTH))
        height = int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
        declared = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        rate = float(capture.get(cv2.CAP_PROP_FPS))
    finally:
        capture.release()
    if width <= 0 or height <= 0:
        raise ValueError(f"{name} is not a video that OpenCV can read")
    # Some containers declare no rate, or a rate of thousands; neither can be played.
    return Sequence(name, paths, rate if 0 < rate <= 1000 else fps, max(0, declared), width, height)


def _is_images(paths: List[Path]) -> bool:
    return paths[0].suffix.lower() not in VIDEOS
