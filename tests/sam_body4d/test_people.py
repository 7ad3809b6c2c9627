"""Everyone keeps their number, body and shape: what upstream's own loop gets wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from devbox.box.jobs import sam_body4d
from tests import in_rounds
from tests.sam_body4d.scenes import (
    PATTERNS,
    Places,
    colour_of,
    folder,
    mask,
    meshes,
    picture,
    run,
    shape_of,
    status,
    video,
)
from tests.sam_body4d.stand_in import Parts


def two(frame: int) -> Places:
    return [(0, 100, 40), (1, 20 + frame, 60)]


def test_the_published_layout_is_whole(tmp_path: Path) -> None:
    source = folder(tmp_path / "in/walk", [two(n) for n in range(12)])
    job = run(tmp_path / "run", source)
    out = job.out / "walk"
    assert job.failed == []
    expected = {f"{n:08d}" for n in range(12)}
    for kind in ("images", "masks", "rendered_frames"):
        assert {path.stem for path in (out / kind).iterdir()} == expected
    for number in (1, 2):
        for kind in ("mesh_4d_individual", "focal_4d_individual"):
            assert {path.stem for path in (out / kind / str(number)).iterdir()} == expected
        rendered = {path.name for path in (out / f"rendered_frames_individual/{number}").iterdir()}
        assert rendered == {f"{stem}_{number}.jpg" for stem in expected}
    capture = cv2.VideoCapture(str(out / "4d_video.mp4"))
    assert int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) == 12
    told = status(out)
    assert (told["state"], told["frames_in"], told["frames_out"]) == ("done", 12, 12)
    assert told["people"] == [
        {"id": 1, "frames": 12, "first": 0, "last": 11},
        {"id": 2, "frames": 12, "first": 0, "last": 11},
    ]
    assert "bodies" in (out / "inference.log").read_text()
    assert not list((tmp_path / "run/scratch").iterdir())


def test_numbers_go_from_left_to_right_and_masks_hold_them(tmp_path: Path) -> None:
    source = folder(tmp_path / "in/walk", [two(0)] * 6)
    out = run(tmp_path / "run", source).out / "walk"
    values = mask(out, 3)
    assert values[72, 32] == 1, "the one on the left, whatever is found first"
    assert values[52, 112] == 2
    assert values[5, 5] == 0
    original = np.asarray(Image.open(out / "images/00000003.jpg"))
    assert np.abs(original.astype(int) - picture(two(0))).mean() < 2


def test_someone_alone_in_a_frame_keeps_number_and_shape(tmp_path: Path) -> None:
    frames = [two(0)] * 4 + [[(0, 100, 40)]] * 4 + [two(0)] * 4
    found = meshes(run(tmp_path / "run", folder(tmp_path / "in/v", frames), batch=3).out / "v")
    assert sorted(found[1]) == [0, 1, 2, 3, 8, 9, 10, 11]
    assert sorted(found[2]) == list(range(12))
    for number, colour in ((1, 1), (2, 0)):
        assert {colour_of(points) for points in found[number].values()} == {colour}
        assert {shape_of(points) for points in found[number].values()} == {colour}


def test_a_frame_without_anybody_shifts_nothing(tmp_path: Path) -> None:
    walking: list[Places] = [[(0, 10 + n, 40)] for n in range(4)]
    frames = [*walking, *([[]] * 3), *([[(0, 50, 40)]] * 4)]
    out = run(tmp_path / "run", folder(tmp_path / "in/v", frames), batch=64).out / "v"
    found = meshes(out)
    assert sorted(found[1]) == [0, 1, 2, 3, 7, 8, 9, 10]
    lefts = [float(found[1][n][1][0]) for n in (0, 3, 7)]
    assert lefts == pytest.approx([10, 13, 50], abs=2), "pixels; a JPEG blurs the edge"
    assert status(out)["frames_out"] == 11


def test_someone_who_comes_in_late_is_followed_back_to_their_first_frame(tmp_path: Path) -> None:
    frames = [[(0, 10, 40)]] * 8 + [[(0, 10, 40), (2, 90, 50)]] * 7
    out = run(tmp_path / "run", folder(tmp_path / "in/v", frames)).out / "v"
    assert status(out)["people"] == [
        {"id": 1, "frames": 15, "first": 0, "last": 14},
        {"id": 2, "frames": 7, "first": 8, "last": 14},
    ]
    assert mask(out, 8)[60, 100] == 2
    assert mask(out, 7)[60, 100] == 0


def test_nobody_before_a_look_and_nobody_at_all(tmp_path: Path) -> None:
    frames: list[Places] = [*([[]] * 13), *([[(1, 60, 60)]] * 5)]
    out = run(tmp_path / "run", folder(tmp_path / "in/v", frames)).out / "v"
    assert status(out)["people"] == [{"id": 1, "frames": 5, "first": 13, "last": 17}]
    job = run(tmp_path / "none", folder(tmp_path / "in/w", [[]] * 7))
    told = status(job.out / "w")
    assert (told["state"], told["people"], told["frames_out"]) == ("done", [], 7)
    assert len(list((job.out / "w/rendered_frames").iterdir())) == 7


def test_numbers_are_kept_over_stretches_also_of_who_is_hidden_there(tmp_path: Path) -> None:
    # Colour 1 is out of sight for frames 12 to 20, over the border of two stretches of 16.
    frames = [two(0) if not 12 <= n <= 20 else [(0, 100, 40)] for n in range(50)]
    parts = Parts()
    out = run(tmp_path / "run", folder(tmp_path / "in/v", frames), parts, stretch=16).out / "v"
    found = meshes(out)
    assert sorted(found) == [1, 2]
    assert sorted(found[1]) == [n for n in range(50) if not 12 <= n <= 20]
    assert max(parts.predictor.sessions) <= 16


def test_a_box_in_which_nobody_is_stops_nothing(tmp_path: Path) -> None:
    parts = Parts()
    parts.estimator.detector.ghosts = [(120.0, 5.0, 150.0, 30.0)]
    out = run(tmp_path / "run", folder(tmp_path / "in/v", [two(n) for n in range(30)]), parts).out
    people = status(out / "v")["people"]
    assert [each["frames"] for each in people] == [30, 30]
    assert len(parts.predictor.sessions) < 4


def test_one_focal_length_for_the_whole_video(tmp_path: Path) -> None:
    parts = Parts()
    source = folder(tmp_path / "in/v", [two(0)] * 9)
    out = run(tmp_path / "run", source, parts, batch=2).out / "v"
    told = [json.loads(p.read_text()) for p in out.glob("focal_4d_individual/*/*.json")]
    assert {each["focal_length"] for each in told} == {500.0}
    assert parts.estimator.cameras == 1


@pytest.mark.parametrize(("number", "colour"), [(1, 1), (76, 76), (77, 1), (255, 27)])
def test_more_people_than_colours(tmp_path: Path, number: int, colour: int) -> None:
    """Upstream has 81 colours and begins at the fifth; its own writer fails at the 77th person."""
    from devbox.box.jobs.sam_body4d.bodies import colour_of_number

    assert colour_of_number(number) == colour
    assert colour + 4 < 81


def test_a_video_file_keeps_its_rate_and_count(tmp_path: Path) -> None:
    source = video(tmp_path / "in/clip.avi", [two(n) for n in range(9)], fps=12)
    job = run(tmp_path / "run", source)
    told = status(job.out / "clip")
    assert (told["frames_in"], told["frames_out"], told["fps"]) == (9, 9, 12.0)
    capture = cv2.VideoCapture(str(job.out / "clip/4d_video.mp4"))
    assert round(capture.get(cv2.CAP_PROP_FPS), 2) == 12


def test_in_rounds_the_models_are_loaded_once_and_results_are_named_as_in_one_run(
    tmp_path: Path,
) -> None:
    for name in ("a.avi", "b.avi"):
        video(tmp_path / "in" / name, [two(n) for n in range(3)])
    job = run(tmp_path / "one", tmp_path / "in")
    parts = Parts()
    loaded: list[bool] = []

    def load(checkpoints: Any, occlusion: bool) -> Any:
        loaded.append(occlusion)
        return parts.load(checkpoints, occlusion)

    made = in_rounds.run(
        tmp_path / "many", lambda part: sam_body4d.run(part, load, parts.vram), "sequences",
        tmp_path / "in", args=job.args, patterns=PATTERNS,
    )  # fmt: skip
    assert made == in_rounds.files(job.out)
    assert len(loaded) == 1
