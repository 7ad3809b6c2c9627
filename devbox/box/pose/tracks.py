"""PHALP's tracker, frame by frame, with the state of each session apart.

PHALP's own `track()` reads files, renders, and swallows exceptions; here its steps are called. Only
tracks that were updated in a frame are given: its ghosts repeat the last detection, and what is
said of frames without one is devbox.box.pose.coverage's.
"""

from __future__ import annotations

import traceback
from collections import OrderedDict
from typing import Iterable, List, Mapping, MutableMapping, NamedTuple, Protocol, Sequence, Tuple

from devbox.box.arrays import Pixels

_TENTATIVE = 1  # TrackState.Tentative
_MOST = 64  # sessions; a track takes about 20 MB


class Track(NamedTuple):
    """key: the same as long as the track lives, of no other track of the process. box: x, y, width,
    height of its detection, pixels."""

    key: str
    box: Tuple[float, float, float, float]
    tentative: bool


class PhalpTrack(Protocol):
    """What is used of PHALP's Track."""

    track_id: int
    state: int
    time_since_update: int
    track_data: Mapping[str, Sequence[Mapping[str, Iterable[float]]]]


class PhalpTracker(Protocol):
    """What is used of PHALP's Tracker."""

    tracks: Sequence[PhalpTrack]
    tracked_cost: MutableMapping[int, object]

    def predict(self) -> object: ...

    def update(self, people: object, frame: int, name: str, shot: int, /) -> object: ...


class Phalp(Protocol):
    """What is used of PHALP itself."""

    tracker: PhalpTracker
    detector: object

    def eval(self) -> object: ...

    def setup_deepsort(self) -> object: ...

    def get_detections(
        self, image: Pixels, name: str, frame: int, more: object, size: List[int], /
    ) -> Tuple[object, ...]: ...

    def run_additional_models(self, *given: object) -> object: ...

    def get_human_features(self, *given: object) -> object: ...


class Tracks:
    """phalp: a PHALP with everything loaded."""

    def __init__(self, phalp: Phalp) -> None:
        self._phalp = phalp
        self._sessions: "OrderedDict[str, Tuple[int, PhalpTracker]]" = OrderedDict()
        self._made = 0

    def step(self, image: Pixels, session: str, frame: int) -> List[Track]:
        """The tracks that a person in this frame belongs to. Where the tracker fails, it is begun
        again for the next frame, as it leaves its tracks half updated, and there are none."""
        if frame == 0 or session not in self._sessions:
            self._begin(session)
        made, tracker = self._sessions[session]
        self._sessions.move_to_end(session)
        self._phalp.tracker = tracker
        try:
            self._update(tracker, image, frame)
            return [
                Track(
                    f"{made}.{track.track_id}",
                    _box(track.track_data["history"][-1]["bbox"]),
                    track.state == _TENTATIVE,
                )
                for track in tracker.tracks
                if track.time_since_update == 0
            ]
        except Exception:
            traceback.print_exc()
            self._begin(session)
            return []

    def forget(self, session: str) -> None:
        self._sessions.pop(session, None)

    def _begin(self, session: str) -> None:
        self._phalp.setup_deepsort()
        self._made += 1
        self._sessions[session] = (self._made, self._phalp.tracker)
        while len(self._sessions) > _MOST:
            self._sessions.popitem(last=False)

    def _update(self, tracker: PhalpTracker, image: Pixels, frame: int) -> None:
        import torch

        phalp, name = self._phalp, f"{frame:08d}.jpg"
        height, width = image.shape[:2]
        most = max(height, width)
        size = [height, width, most, (most - width) // 2, (most - height) // 2]
        with torch.no_grad():
            boxes, padded, masks, scores, classes, truth, notes = phalp.get_detections(
                image, name, frame, {}, size
            )
            more = phalp.run_additional_models(
                *(image, boxes, masks, scores, classes, name, frame, size, truth, notes)
            )
            people = phalp.get_human_features(
                *(image, masks, boxes, padded, scores, name, classes, frame, size),
                *(truth, notes, more),
            )
            tracker.predict()
            tracker.update(people, frame, name, 0)
        tracker.tracked_cost.clear()  # it keeps every frame's


def _box(found: Iterable[float]) -> Tuple[float, float, float, float]:
    x, y, width, height = (float(value) for value in found)
    return x, y, width, height
