"""Frames without a person, identity, and the names of keypoints: the pure parts."""

from __future__ import annotations

import pytest

from devbox.box.pose import result
from devbox.box.pose.coverage import Follow, Limits, backfilled
from devbox.box.pose.keypoints import (
    COCO_17,
    COCO_IN_HMR2,
    COCO_IN_MEDIAPIPE,
    HMR2,
    MEDIAPIPE,
    limbs,
)
from devbox.box.pose.person import Person
from devbox.box.pose.report import report
from tests.pose.fake import FACES, walker
from tests.pose.patterns import DROPPED, FRAMES, check, expected

SIZE = (400, 200)


def records(dropped: list[int], *, backfill: bool) -> list[result.Record]:
    limits = Limits()
    follow = Follow(limits)
    steps = (
        follow.step(frame, [] if frame in dropped else [walker(20 + 2 * frame, 0, True)], SIZE)
        for frame in range(FRAMES)
    )
    covered = backfilled(steps, limits) if backfill else steps
    return [result.record(c, size=SIZE, milliseconds=1, faces=FACES) for c in covered]


@pytest.mark.parametrize("backfill", [False, True])
@pytest.mark.parametrize("name", DROPPED)
def test_every_frame_has_one_result_that_says_where_it_is_from(name: str, backfill: bool) -> None:
    found = records(DROPPED[name], backfill=backfill)
    check(found, expected(DROPPED[name], backfill=20 if backfill else 0))
    told = report(found)
    assert told["frames"] == FRAMES
    assert told["sequential"] is True
    assert told["detected"] == round((FRAMES - len(DROPPED[name])) / FRAMES, 4)


def test_a_run_of_55_and_the_first_20_are_covered_once_later_frames_are_known() -> None:
    assert report(records(DROPPED["a-run-of-55"], backfill=True))["covered"] == 1.0
    assert report(records(DROPPED["a-run-of-55"], backfill=False))["sources"]["none"] == 5
    first = records(DROPPED["the-first-20"], backfill=True)
    assert report(first)["covered"] == 1.0
    assert {record["source_frame"] for record in first[:20]} == {20}
    told = report(records(DROPPED["all"], backfill=True))
    assert (told["covered"], told["longest_gap"], told["gaps"]) == (0.0, FRAMES, [[0, 139]])


def test_a_predicted_pose_moves_as_the_person_did_with_its_camera_and_then_stands() -> None:
    follow = Follow(Limits(predict=5, limit=20))
    for frame in range(10):
        follow.step(frame, [walker(20 + 2 * frame, 0, True)], SIZE)
    gone = [follow.step(frame, [], SIZE).person for frame in range(10, 20)]
    lefts = [person.points[0][0] for person in gone if person]
    assert lefts == pytest.approx([40, 42, 44, 46, 48, 48, 48, 48, 48, 48])
    moved = gone[0]
    assert moved
    assert moved.camera == pytest.approx((0.1 + 2 * 4.0 / 500, 0.2, 4.0))
    assert moved.points[0][2:5] == walker(0, 0, True).points[0][2:5]


def test_a_predicted_person_stays_in_the_picture() -> None:
    follow = Follow(Limits(predict=50, limit=60))
    for frame in range(5):
        follow.step(frame, [walker(200 + 30 * frame, 0, False)], SIZE)
    centres = [follow.step(frame, [], SIZE).person for frame in range(5, 50)]
    assert all(person and person.centre[0] <= SIZE[0] for person in centres)


def test_a_person_keeps_the_number_beside_another_and_a_jump_gets_a_new_one() -> None:
    follow = Follow(Limits())
    for frame in range(5):
        one = follow.step(frame, [walker(20, 0, False)], SIZE)
    larger = walker(200, 0, False)._replace(box=(200.0, 10.0, 90.0, 90.0))
    both = follow.step(5, [larger, walker(22, 0, False)], SIZE)
    assert (both.number, both.people) == (one.number, 2)
    assert both.person
    assert both.person.box[0] == 22
    elsewhere = follow.step(6, [walker(300, 0, False)], SIZE)
    assert (elsewhere.source, elsewhere.number) == ("detected", 2)


def test_a_track_of_the_engine_is_followed_across_the_picture_and_not_mixed_up() -> None:
    follow = Follow(Limits())
    follow.step(0, [walker(20, 0, False)._replace(track="1.7")], SIZE)
    far = follow.step(1, [walker(300, 0, False)._replace(track="1.7")], SIZE)
    assert far.number == 1
    other = follow.step(2, [walker(300, 0, False)._replace(track="1.8")], SIZE)
    assert other.number == 2


def test_gaps_in_frame_numbers_count_as_frames() -> None:
    follow = Follow(Limits(predict=2, limit=10))
    follow.step(0, [walker(20, 0, False)], SIZE)
    sources = [follow.step(frame, [], SIZE).source for frame in (2, 6, 10, 14)]
    assert sources == ["predicted", "held", "held", "none"]


def test_names_stand_on_the_rows_that_the_models_give() -> None:
    assert (len(HMR2), len(MEDIAPIPE), len(set(HMR2)), len(set(MEDIAPIPE))) == (44, 33, 44, 33)
    assert [HMR2[row] for row in (0, 8, 9, 12, 19, 24)] == [
        *("Nose", "MidHip", "RHip", "LHip", "LBigToe", "RHeel")
    ]
    assert [HMR2[row] for row in (25, 28, 38, 43)] == [
        *("RAnkle(LSP)", "LHip(LSP)", "HeadTop(LSP)", "Head(H36M)")
    ]
    rows = {0: "nose", 2: "left_eye", 5: "right_eye", 7: "left_ear", 10: "right_mouth"}
    rows |= {11: "left_shoulder", 16: "right_wrist", 17: "left_pinky", 19: "left_index"}
    rows |= {21: "left_thumb", 24: "right_hip", 29: "left_heel", 32: "right_foot_index"}
    assert {row: MEDIAPIPE[row] for row in rows} == rows
    assert [MEDIAPIPE[row] for row in COCO_IN_MEDIAPIPE] == list(COCO_17)
    short = {"left": "L", "right": "R"}
    for name, row in zip(COCO_17, COCO_IN_HMR2, strict=True):
        side, _, part = name.partition("_")
        assert HMR2[row] == (short[side] + part.capitalize() if part else "Nose")
    for a, b in [*limbs(HMR2), *limbs(MEDIAPIPE)]:
        assert a != b


def test_keypoints_say_pixels_and_metres_in_fields_of_their_own() -> None:
    (first, *_) = result.keypoints(walker(20, 1, False))
    assert first == {
        **{"name": "nose", "x": 20.0, "y": 40.0, "z": 0.0, "confidence": 0.9},
        **{"x_3d": 0.0, "y_3d": 1.0, "z_3d": 0.0},
    }
    flat = Person(("face_center",), [(1.0, 2.0, None, None, None, 0.5)], (0, 0, 2, 4), 5.0)
    assert result.keypoints(flat)[0]["z"] is None
    assert not flat.has_3d
