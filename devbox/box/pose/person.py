"""One person as an engine sees them in one frame."""

from __future__ import annotations

from typing import List, NamedTuple, Optional, Tuple

Point = Tuple[float, float, Optional[float], Optional[float], Optional[float], float]


class Person(NamedTuple):
    """names, points: one row a keypoint. A point is x, y in pixels of the frame, then x, y, z in
    metres around the hips (x right, y down, z away from the camera; None without 3D), then a
    confidence from 0 to 1.
    box: x, y, width, height in pixels. score: of the detection, 0 to 1 for a network, any for a
    cascade. track: the engine's own identity, "" without one; tentative: a track that the engine
    does not trust yet.
    vertices: float32, N × 3, metres, as bytes, around the same origin as the points. camera: where
    that origin is seen from the camera, metres, with the focal length in pixels; None without a
    mesh."""

    names: Tuple[str, ...]
    points: List[Point]
    box: Tuple[float, float, float, float]
    score: float
    track: str = ""
    tentative: bool = False
    vertices: Optional[bytes] = None
    camera: Optional[Tuple[float, float, float]] = None
    focal: Optional[float] = None

    @property
    def has_3d(self) -> bool:
        return any(point[2] is not None for point in self.points)

    @property
    def centre(self) -> Tuple[float, float]:
        """Of the box, in pixels."""
        x, y, w, h = self.box
        return x + w / 2, y + h / 2

    def moved(self, dx: float, dy: float) -> "Person":
        """The same pose elsewhere in the picture, at the same distance; dx, dy in pixels."""
        if not dx and not dy:
            return self
        x, y, w, h = self.box
        camera = self.camera
        if camera and self.focal:
            tx, ty, tz = camera
            camera = (tx + dx * tz / self.focal, ty + dy * tz / self.focal, tz)
        points = [(p[0] + dx, p[1] + dy, *p[2:]) for p in self.points]
        return self._replace(points=points, box=(x + dx, y + dy, w, h), camera=camera)
