"""The tracker alone: who is a user, and for how long one is predicted."""

from __future__ import annotations

from devbox.box.jobs.track.engines import Detection
from devbox.box.jobs.track.tracker import Tracker


def _face(x: float, y: float = 50.0) -> Detection:
    return Detection((x, y, 40.0, 40.0), 1.0)


def test_a_lone_false_alarm_never_becomes_a_person() -> None:
    follow = Tracker(predict=5, hold=5)
    assert follow.step([_face(10)]) == []
    for _ in range(20):
        assert follow.step([]) == []
    assert follow.people == 0


def test_prediction_moves_on_then_holds_still_then_ends() -> None:
    follow = Tracker(predict=5, hold=7)
    for frame in range(20):
        follow.step([_face(10 + 4 * frame)])
    out = [follow.step([]) for _ in range(14)]
    sources = [tracks[0]["source"] if tracks else "none" for tracks in out]
    assert sources == ["predicted"] * 5 + ["held"] * 7 + ["none"] * 2
    xs = [tracks[0]["box"][0] for tracks in out if tracks]
    assert xs[0] < xs[4]
    assert len(set(xs[5:])) == 1


def test_two_people_keep_their_ids_side_by_side() -> None:
    follow = Tracker(predict=5, hold=20)
    for frame in range(10):
        tracks = follow.step([_face(10 + frame), _face(200 - frame)])
    assert [t["id"] for t in tracks] == [1, 2]
    for _ in range(10):
        follow.step([_face(20)])
    tracks = follow.step([_face(20), _face(192)])
    assert {t["id"]: round(t["box"][0], -1) for t in tracks} == {1: 20.0, 2: 190.0}
