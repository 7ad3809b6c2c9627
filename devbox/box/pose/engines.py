"""What finds people in a frame. An engine is a class with `see`; adding one is a class, a line in
`load` and a choice in job.toml and service.toml.

They are made and used in a process of their own (`host`), one frame at a time.
"""

from __future__ import annotations

from typing import Callable, Dict, List, Tuple, TypedDict

from devbox.box.arrays import Pixels
from devbox.box.job import Args
from devbox.box.pose.keypoints import FACE, MEDIAPIPE
from devbox.box.pose.person import Person, Point
from devbox.box.pose.result import Faces

NAMES = ("mediapipe", "4d-humans", "cascade")
_SEEN = 0.5  # visibility from which a landmark counts as in the picture
# On the demo clip 0.5, MediaPipe's own default, sees people in 4 of 50 frames that hide the person,
# 0.7 misses the person in one, and 0.6 does neither.
_CONFIDENT = 0.6


class Options(TypedDict, total=False):
    """min_size: of cascade, pixels; weights and hashes: paths, of 4d-humans."""

    min_size: int
    weights: str
    hashes: str


class Engine:
    """models: which of its networks are loaded. device: cpu or cuda. faces: of its meshes, rows of
    three vertices, None without a mesh."""

    device = "cpu"
    faces: Faces = None

    def __init__(self) -> None:
        self.models = {"hmr2": False, "phalp": False}

    def see(self, image: Pixels, session: str, frame: int) -> List[Person]:
        """People in a BGR uint8 frame of height × width × 3. session, frame: frames of one session
        come in rising order, and 0 begins it again; "" is for a picture that belongs to none.
        ValueError where the picture, or what the network made of it, is of no use."""
        raise NotImplementedError  # why: the seam itself; engines are its subclasses

    def forget(self, session: str) -> None:
        """The session ended."""


def options(args: Args) -> Options:
    """What `load` takes of a job's or service's arguments."""
    return {
        "min_size": args["min_size"],
        "weights": args["weights"],
        "hashes": args["hashes"],
    }


def load(name: str, options: Options) -> Engine:
    """The engine of that name."""
    if name == "4d-humans":
        from devbox.box.pose.four_d_humans import load_engine

        return load_engine(options)
    made: Dict[str, Callable[[], Engine]] = {
        "mediapipe": MediaPipe,
        "cascade": lambda: Cascade(options["min_size"]),
    }
    return made[name]()


class Cascade(Engine):
    """Faces by OpenCV's own cascade: one keypoint, the middle of the face, no skeleton and no 3D.
    It stands in where mediapipe does not run. min_size: smallest face in pixels."""

    def __init__(self, min_size: int) -> None:
        super().__init__()
        from devbox.box.jobs.track.engines import Cascade as Faces

        self._finder = Faces(min_size)

    def see(self, image: Pixels, session: str, frame: int) -> List[Person]:
        return [_face(found.box, found.score) for found in self._finder.detect(image)]


def _face(box: Tuple[float, float, float, float], score: float) -> Person:
    x, y, w, h = box
    # The cascade's weight has no fixed scale; from 0 to 10 covers what it gives on faces.
    middle = (x + w / 2, y + h / 2, None, None, None, min(max(score / 10, 0.0), 1.0))
    return Person(FACE, [middle], (x, y, w, h), score)


class MediaPipe(Engine):
    """MediaPipe Pose 0.10: 33 keypoints in pixels and in metres around the hips, of one person.
    Each picture is looked at by itself, so an answer never depends on those before it."""

    def __init__(self) -> None:
        super().__init__()
        import cv2
        import mediapipe

        self._cv2 = cv2
        # Complexity 1 is the model inside the wheel; the others are downloaded when asked for.
        self._pose = mediapipe.solutions.pose.Pose(
            static_image_mode=True, model_complexity=1, min_detection_confidence=_CONFIDENT
        )

    def see(self, image: Pixels, session: str, frame: int) -> List[Person]:
        found = self._pose.process(self._cv2.cvtColor(image, self._cv2.COLOR_BGR2RGB))
        if found.pose_landmarks is None:
            return []
        height, width = image.shape[:2]
        flat, metres = found.pose_landmarks.landmark, found.pose_world_landmarks.landmark
        points: List[Point] = [
            (a.x * width, a.y * height, b.x, b.y, b.z, min(max(a.visibility, 0.0), 1.0))
            for a, b in zip(flat, metres)
        ]
        inside = [p for p in points if p[5] >= _SEEN] or points
        xs, ys = [p[0] for p in inside], [p[1] for p in inside]
        box = (min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys))
        score = sum(p[5] for p in points) / len(points)
        return [Person(MEDIAPIPE, points, box, score)]
