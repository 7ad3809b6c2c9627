"""PHALP's tracker, frame by frame, with the state of each session apart.

PHALP's own `track()` reads files, renders, and swallows exceptions; here its steps are called. Only
tracks that were updated in a frame are given: its ghosts repeat the last detection, and what is
said of frames without one is devbox.box.pose.coverage's.
"""

from __future__ import annotations

import traceback
from collections import OrderedDict
from typing import Any, List, NamedTuple, Tuple

_TENTATIVE = 1  # TrackState.Tentative
_MOST = 64  # sessions; a track takes about 20 MB


class Track(NamedTuple):
    """key: the same as long as the track lives, of no other track of the process. box: x, y, width,
    height of its detection, pixels."""

    key: str
    box: Tuple[float, float, float, float]
    tentative: bool


class Tracks:
    """phalp: a PHALP with everything loaded."""

    def __init__(self, phalp: Any) -> None:
        self._phalp = phalp
        self._sessions: "OrderedDict[str, Tuple[int, Any]]" = OrderedDict()
        self._made = 0

    def step(self, image: Any, session: str, frame: int) -> List[Track]:
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

    def _update(self, tracker: Any, image: Any, frame: int) -> None:
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


def _box(found: Any) -> Tuple[float, float, float, float]:
    x, y, width, height = (float(value) for value in found)
    return x, y, width, height
