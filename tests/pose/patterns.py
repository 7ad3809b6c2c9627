"""In which of 140 frames nobody is seen, and what a result of each frame must say then."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

FRAMES = 140
DROPPED: dict[str, list[int]] = {
    "fifty-in-one-run": list(range(55, 105)),
    "fifty-scattered": sorted(random.Random(4).sample(range(1, FRAMES), 50)),
    "a-run-of-55": list(range(40, 95)),
    "the-first-20": list(range(20)),
    "all": list(range(FRAMES)),
}


def expected(dropped: list[int], *, backfill: int, predict: int = 10, limit: int = 50) -> list[str]:
    """What devbox.box.pose.coverage defines, worked out frame by frame."""
    seen = [frame for frame in range(FRAMES) if frame not in set(dropped)]
    sources = []
    for frame in range(FRAMES):
        before = [f for f in seen if f <= frame]
        after = [f for f in seen if f > frame]
        gone = frame - before[-1] if before else FRAMES
        if gone == 0:
            sources.append("detected")
        elif gone <= predict:
            sources.append("predicted")
        elif gone <= limit or (after and after[0] - frame <= backfill):
            sources.append("held")
        else:
            sources.append("none")
    return sources


def check(records: Sequence[Mapping[str, object]], sources: list[str]) -> None:
    """Exactly one record a frame, in order, each as its source promises."""
    assert [record["frame_number"] for record in records] == list(range(FRAMES))
    assert [record["source"] for record in records] == sources
    for record in records:
        confidence = record["tracking_confidence"]
        assert isinstance(confidence, float)
        if record["source"] == "detected":
            assert confidence == 1.0
            assert record["source_frame"] == record["frame_number"]
        elif record["source"] == "none":
            assert confidence == 0.0
            assert not record["keypoints"]
            assert record["source_frame"] is record["mesh_vertices_data"] is None
            assert record["keypoint_count"] == 0
            assert record["has_3d"] is False
        else:
            assert 0 < confidence < 1
            assert record["source_frame"] != record["frame_number"]
            assert record["keypoint_count"] == 33
