"""Detections become tracks: constant-velocity Kalman filters, matched by overlap and distance.

A track that is not seen is predicted for `predict` frames, then held where it was last for `hold`
frames, then ended. A detection near enough to a track out of sight continues it under its id.
"""

from __future__ import annotations

import math
from typing import List, Sequence, Tuple

from devbox.box.jobs.track.engines import Detection
from devbox.box.media.draw import Tracked

Box = Tuple[float, float, float, float]

# Detections a track needs before it counts as a user; a lone false alarm never does.
_CONFIRM = 3
_MIN_OVERLAP = 0.2
# How far, in box sizes, a user out of sight may reappear: this much at once, more each frame.
_REACH, _REACH_PER_FRAME, _REACH_MOST = 0.6, 0.05, 2.5


class Tracker:
    """predict, hold: frames, as above. `people` counts confirmed tracks so far."""

    def __init__(self, predict: int, hold: int) -> None:
        self._predict, self._hold = predict, hold
        self._tracks: List[_Track] = []
        self.people = 0

    def step(self, found: Sequence[Detection]) -> List[Tracked]:
        """The tracks in the next frame: [{"id", "box", "score", "source"}], by id."""
        for track in self._tracks:
            track.advance(self._predict)
        for track, detection in _matches(self._tracks, found):
            track.update(detection)
            found = [d for d in found if d is not detection]
        self._tracks += [_Track(d) for d in found]
        self._tracks = [
            t for t in self._tracks if t.unseen <= (self._predict + self._hold if t.id else 0)
        ]
        for track in self._tracks:
            if not track.id and track.hits >= _CONFIRM:
                self.people += 1
                track.id = self.people
        return [track.record(self._predict) for track in self._tracks if track.id]


class _Track:
    """One person. State of the filter: centre x, y, width, height, and their speeds a frame."""

    def __init__(self, first: Detection) -> None:
        import cv2
        import numpy as np

        self.id = 0
        self.hits, self.unseen = 1, 0
        self.score = first.score
        self.box: Box = first.box
        self._filter = cv2.KalmanFilter(8, 4)
        self._filter.transitionMatrix = np.eye(8, dtype=np.float32) + np.eye(
            8, k=4, dtype=np.float32
        )
        self._filter.measurementMatrix = np.eye(4, 8, dtype=np.float32)
        # Detector jitter is a few per cent of the size; speeds change slowly.
        noise = (0.04 * first.box[2]) ** 2
        self._filter.measurementNoiseCov = np.eye(4, dtype=np.float32) * noise
        self._filter.processNoiseCov = np.diag(
            np.array([noise / 16] * 4 + [noise / 400] * 4, dtype=np.float32)
        )
        self._filter.errorCovPost = np.eye(8, dtype=np.float32) * noise
        self._filter.statePost = np.array([*_centred(first.box), 0, 0, 0, 0], np.float32).reshape(
            8, 1
        )

    def advance(self, predict: int) -> None:
        self.unseen += 1
        if self.unseen <= predict:
            self.box = _cornered(self._filter.predict().ravel()[:4])

    def update(self, seen: Detection) -> None:
        import numpy as np

        if self.unseen > 1:
            # Out of sight for a while: the speed is stale, the place is what counts.
            self._filter.statePost[4:] = 0
            self._filter.statePre[:4] = np.array(_centred(seen.box), np.float32).reshape(4, 1)
        measured = np.array(_centred(seen.box), np.float32).reshape(4, 1)
        self.box = _cornered(self._filter.correct(measured).ravel()[:4])
        self.hits, self.unseen, self.score = self.hits + 1, 0, seen.score

    def record(self, predict: int) -> Tracked:
        source = (
            "detected" if not self.unseen else "predicted" if self.unseen <= predict else "held"
        )
        return {
            "id": self.id,
            "box": [round(float(value), 2) for value in self.box],
            "score": self.score if source == "detected" else None,
            "source": source,
        }


def _matches(
    tracks: Sequence[_Track], found: Sequence[Detection]
) -> List[Tuple[_Track, Detection]]:
    """Pairs, best first: by overlap, else by distance for a track out of sight."""
    scored = []
    for track in tracks:
        for detection in found:
            overlap = _overlap(track.box, detection.box)
            apart = _distance(track.box, detection.box)
            reach = min(_REACH + _REACH_PER_FRAME * track.unseen, _REACH_MOST)
            if overlap >= _MIN_OVERLAP or (track.unseen > 1 and apart <= reach):
                scored.append((overlap - apart / 10, track, detection))
    pairs: List[Tuple[_Track, Detection]] = []
    for _, track, detection in sorted(scored, key=lambda s: -s[0]):
        if all(track is not t and detection is not d for t, d in pairs):
            pairs.append((track, detection))
    return pairs


def _overlap(a: Box, b: Box) -> float:
    """Intersection over union, 0 to 1."""
    width = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    height = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    return shared / (a[2] * a[3] + b[2] * b[3] - shared)


def _distance(a: Box, b: Box) -> float:
    """Between centres, in sizes of `a`."""
    ax, ay, aw, ah = _centred(a)
    bx, by, _, _ = _centred(b)
    return math.hypot(ax - bx, ay - by) / max(aw, ah, 1.0)


def _centred(box: Box) -> Box:
    return (box[0] + box[2] / 2, box[1] + box[3] / 2, box[2], box[3])


def _cornered(state: Sequence[float]) -> Box:
    x, y, w, h = (float(value) for value in state)
    w, h = max(w, 1.0), max(h, 1.0)
    return (x - w / 2, y - h / 2, w, h)
