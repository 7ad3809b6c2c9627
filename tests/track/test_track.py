"""The track job on a real clip: one record per frame, honest sources, pictures a person can see."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from devbox import paths
from devbox.jobs import demo_clip
from devbox.onbox.job import Job
from devbox.onbox.jobs import track
from devbox.onbox.jobs.track.engines import Detection
from devbox.onbox.jobs.track.tracker import Tracker

ARGS = {"engine": "cascade", "min_size": 40, "predict_frames": 20, "hold_frames": 90, "fps": 25.0}
PATTERNS = {"video": ("*.mp4", "*.png", "*.jpg")}


def _run(folder: Path, source: Path, **changes: Any) -> Job:
    job = Job(folder, args={**ARGS, **changes}, inputs={"video": source}, patterns=PATTERNS)
    track.run(job)
    return job


def _records(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]


@pytest.fixture
def clip(home: Path) -> Path:
    path = home / "clip.mp4"
    demo_clip.make(paths.data("templates") / "demo" / "astronaut.jpg", path)
    return path


def test_140_frames_in_140_records_out_through_50_hidden_frames(home: Path, clip: Path) -> None:
    job = _run(home / "run", clip)
    records = _records(job.out)
    assert [r["frame"] for r in records] == list(range(140))
    hidden = range(*demo_clip.HIDDEN)
    assert {r["source"] for r in records if r["frame"] in hidden} == {"predicted", "held"}
    seen = [r for r in records if r["frame"] not in hidden and r["frame"] > 3]
    assert sum(r["source"] == "detected" for r in seen) >= 0.95 * len(seen)
    # The face that comes back after 50 frames is the same person.
    assert {t["id"] for r in records for t in r["tracks"]} == {1}
    assert job.failed == []


def test_a_person_can_look_at_the_pictures(home: Path, clip: Path) -> None:
    job = _run(home / "run", clip)
    sheet = cv2.imread(str(job.out / "contact_sheet.png"))
    assert sheet is not None
    assert sheet.shape == (4 * 196 + 4, 5 * 260 + 4, 3)
    overlay = cv2.VideoCapture(str(job.out / "overlay.mp4"))
    assert overlay.get(cv2.CAP_PROP_FRAME_COUNT) == 140
    summary = json.loads((job.out / "summary.json").read_text())
    assert summary["frames"] == sum(summary["sources"].values()) == 140


def test_an_image_folder_gives_one_record_per_file_even_for_a_broken_one(home: Path) -> None:
    folder = home / "images"
    folder.mkdir()
    for index in range(4):
        cv2.imwrite(str(folder / f"{index:03}.png"), np.full((90, 120, 3), 60 * index, np.uint8))
    (folder / "002.png").write_bytes(b"not an image")
    job = _run(home / "run", folder)
    records = _records(job.out)
    assert [r["source"] for r in records] == ["none"] * 4
    assert [("error" in r) for r in records] == [False, False, True, False]


def test_one_broken_video_fails_itself_and_leaves_no_half_output(home: Path, clip: Path) -> None:
    folder = home / "videos"
    folder.mkdir()
    clip.rename(folder / "good.mp4")
    (folder / "bad.mp4").write_bytes(b"\0" * 5000)
    job = _run(home / "run", folder)
    assert job.failed == ["bad.mp4"]
    assert len(_records(job.out / "good")) == 140
    assert not (job.out / "bad").exists() or not list((job.out / "bad").iterdir())


def test_a_video_cut_short_gives_a_record_for_every_frame_that_is_there(
    home: Path, clip: Path
) -> None:
    images = []
    capture = cv2.VideoCapture(str(clip))
    for _ in range(30):
        images.append(capture.read()[1])
    short = home / "short.avi"
    writer = cv2.VideoWriter(str(short), cv2.VideoWriter.fourcc(*"MJPG"), 25, (360, 270))
    for image in images:
        writer.write(image)
    writer.release()
    data = short.read_bytes()
    short.write_bytes(data[: len(data) * 2 // 3])
    job = _run(home / "run", short)
    assert 10 <= len(_records(job.out)) < 30


def test_an_input_without_frames_is_an_error(home: Path) -> None:
    (home / "empty").mkdir()
    with pytest.raises(ValueError, match="no video and no image"):
        _run(home / "run", home / "empty")


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
