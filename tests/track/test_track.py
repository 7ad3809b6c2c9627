"""The track job on a real clip: one record per frame, honest sources, pictures a person can see."""

from __future__ import annotations

import json
import struct
import tomllib
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from devbox import paths
from devbox.jobs import demo_clip
from devbox.onbox.job import Job
from devbox.onbox.jobs import track
from devbox.onbox.jobs.track import frames
from devbox.onbox.jobs.track import video as read_video
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


def _write(path: Path, count: int, size: tuple[int, int] = (160, 120)) -> Path:
    """A video of 25 frames a second, whose frame n is a texture around grey 5 n."""
    code = "mp4v" if path.suffix == ".mp4" else "MJPG"
    texture = np.random.default_rng(1).integers(0, 5, (size[1], size[0], 3), np.uint8)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*code), 25, size)
    for number in range(count):
        writer.write(texture + np.uint8(5 * number))
    writer.release()
    return path


def _greys(*files: Path) -> dict[int, int]:
    """Frame number → the number that its grey tells, of what could be read."""
    source = frames.open_sequence(list(files), 25.0)
    return {
        frame.number: round((float(frame.image.mean()) - 2) / 5)
        for frame in source.read()
        if frame.image is not None
    }


@pytest.mark.parametrize("names", [("a.mp4", "a.avi"), ("x/a.mp4", "y/a.mp4"), ("A.mp4", "a.mp4")])
def test_two_videos_of_one_name_keep_their_own_results(home: Path, names: tuple[str, str]) -> None:
    folder = home / "videos"
    for count, name in zip((7, 9), names, strict=True):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        _write(folder / name, count)
    job = Job(
        home / "run", args=ARGS, inputs={"video": folder}, patterns={"video": ("*.mp4", "*.avi")}
    )
    track.run(job)
    found = sorted(len(_records(file.parent)) for file in job.out.rglob("results.jsonl"))
    assert found == [7, 9]


_LETTERS = st.sampled_from("aAb.ßı/")
_NAMES = st.text(_LETTERS, min_size=1, max_size=5).map(
    lambda text: str(Path("x") / text.strip("/") / "v") + text[::-1].replace("/", "")
)


@given(st.lists(_NAMES, min_size=2, max_size=6, unique=True))
@example(["x.mp4", "x.avi", "x.mp4.mkv"])
@example(["1/a.mp4", "1/A.mp4"])
@example(["ß.mp4", "ss.mp4"])
@example(["A.mp4", "a.mp4", "0/A.mp4/b.mp4"])
def test_no_two_videos_share_a_folder_of_results(names: list[str]) -> None:
    found = frames.folders(names)
    assert list(found) == names
    assert len({folder.casefold() for folder in found.values()}) == len(names)
    assert all(folder.endswith("/") and folder[0] != "/" for folder in found.values())


def test_folders_of_results_are_named_by_the_videos() -> None:
    assert frames.folders(["a.mp4", "b.mp4"]) == {"a.mp4": "a/", "b.mp4": "b/"}
    assert frames.folders(["a.mp4", "a.avi", "b.mp4"])["a.avi"] == "a.avi/"


@pytest.mark.parametrize("duration", [None, 0.4])
def test_a_video_that_declares_no_or_too_few_frames_is_read_to_its_end(
    home: Path, duration: float | None
) -> None:
    """Matroska's Duration (RFC 9559, element 0x4489) in milliseconds, or a Void in its place."""
    video = _write(home / "v.mkv", 30)
    data = bytearray(video.read_bytes())
    at = data.index(b"\x44\x89\x88")
    if duration is None:
        data[at : at + 3] = b"\xec\x89\x00"
    else:
        data[at + 3 : at + 11] = struct.pack(">d", duration * 1000)
    video.write_bytes(data)
    looked = read_video.look(video)
    assert looked
    assert looked.expected == round((duration or 0) * 25)
    assert _greys(video) == {number: number for number in range(30)}
    assert len(_records(_run(home / "run", video).out)) == 30


def test_damage_in_a_video_that_declares_no_frames_does_not_end_it(home: Path) -> None:
    video = home / "v.mkv"
    writer = cv2.VideoWriter(str(video), cv2.VideoWriter.fourcc(*"MJPG"), 25, (160, 120))
    noise = np.random.default_rng(1)
    for _ in range(30):
        writer.write(noise.integers(0, 255, (120, 160, 3), np.uint8))
    writer.release()
    data = bytearray(video.read_bytes())
    at = data.index(b"\x44\x89\x88")
    data[at : at + 3] = b"\xec\x89\x00"
    half = len(data) // 2
    data[half : half + 3000] = b"\xa5" * 3000
    video.write_bytes(data)
    assert len(_greys(video)) >= 20


@pytest.mark.parametrize(("at", "length"), [(0.3, 300), (0.5, 1500), (0.4, 3000)])
def test_damage_in_the_middle_of_an_avi_shifts_no_number(
    home: Path, at: float, length: int
) -> None:
    video = _write(home / "v.avi", 50)
    data = bytearray(video.read_bytes())
    start = int(len(data) * at)
    data[start : start + length] = b"\xa5" * length
    # Whatever the first hole hits, this one hits the header of a chunk.
    header = data.index(b"00dc", int(len(data) * 0.8))
    data[header : header + 4] = b"\xa5" * 4
    video.write_bytes(data)
    job = _run(home / "run", video)
    records = _records(job.out)
    assert [record["frame"] for record in records] == list(range(50))
    assert [record["time"] for record in records] == pytest.approx([n / 25 for n in range(50)])
    lost = [record["frame"] for record in records if "error" in record]
    assert 1 <= len(lost) < 15
    greys = _greys(video)
    assert set(greys) == set(range(50)) - set(lost)
    wrong = [number for number, grey in greys.items() if grey != number]
    assert len(wrong) <= 2  # half of a frame that was hit may be decoded


def test_damage_in_the_middle_of_an_mp4_loses_only_what_is_damaged(home: Path) -> None:
    video = home / "v.mp4"
    writer = cv2.VideoWriter(str(video), cv2.VideoWriter.fourcc(*"mp4v"), 25, (160, 120))
    noise = np.random.default_rng(1)
    for _ in range(50):
        writer.write(noise.integers(0, 255, (120, 160, 3), np.uint8))
    writer.release()
    data = bytearray(video.read_bytes())
    start = int(len(data) * 0.4)
    data[start : start + 40_000] = bytes(40_000)
    video.write_bytes(data)
    job = _run(home / "run", video)
    records = _records(job.out)
    assert [record["frame"] for record in records] == list(range(50))
    assert [record["time"] for record in records] == pytest.approx(
        [n / 25 for n in range(50)], abs=0.002
    )
    assert 1 <= sum("error" in record for record in records) < 15


def _retimed(video: Path, durations: list[int], scale: int) -> None:
    """Give an mp4 other times: durations of its frames, in 1/scale seconds (ISO/IEC 14496-12:
    mdhd, stts). The table of times that was there is moved behind the file as a box of its own."""
    data = bytearray(video.read_bytes())
    mdhd = data.index(b"mdhd") + 4
    data[mdhd + 12 : mdhd + 20] = struct.pack(">II", scale, sum(durations))
    stts = data.index(b"stts") - 4
    runs = [(1, duration) for duration in durations]
    body = struct.pack(">II", 0, len(runs)) + b"".join(struct.pack(">II", *run) for run in runs)
    old = struct.unpack(">I", data[stts : stts + 4])[0]
    data[stts : stts + old] = struct.pack(">I", len(body) + 8) + b"stts" + body
    grown = len(body) + 8 - old
    for name in (b"moov", b"trak", b"mdia", b"minf", b"stbl"):
        at = data.index(name) - 4
        size = struct.unpack(">I", data[at : at + 4])[0]
        data[at : at + 4] = struct.pack(">I", size + grown)
    if (edits := data.find(b"edts")) >= 0:
        data[edits : edits + 4] = b"free"
    video.write_bytes(data)


def test_frames_of_different_length_have_the_times_of_the_container(home: Path) -> None:
    video = _write(home / "v.mp4", 30)
    durations = [20 if n % 3 else 100 for n in range(30)]
    _retimed(video, durations, 1000)
    job = _run(home / "run", video)
    times = [record["time"] for record in _records(job.out)]
    assert times == pytest.approx([sum(durations[:n]) / 1000 for n in range(30)], abs=0.002)
    fps = json.loads((job.out / "summary.json").read_text())["fps"]
    assert fps == pytest.approx(1000 * 29 / sum(durations[:29]), rel=0.1)


@pytest.mark.parametrize("scale", [1000, 90_000])
def test_the_speed_of_a_clock_is_no_rate(home: Path, scale: int) -> None:
    video = _write(home / "v.mp4", 30)
    _retimed(video, [1] * 30, scale)
    job = _run(home / "run", video)
    assert json.loads((job.out / "summary.json").read_text())["fps"] == ARGS["fps"]
    assert [r["time"] for r in _records(job.out)] == sorted(r["time"] for r in _records(job.out))


@pytest.mark.parametrize("size", [(9000, 200), (1, 1), (17, 3), (200, 9001)])
def test_results_do_not_depend_on_an_overlay(home: Path, size: tuple[int, int]) -> None:
    folder = home / "images"
    folder.mkdir()
    for number in range(3):
        cv2.imwrite(str(folder / f"{number}.png"), np.zeros((size[1], size[0], 3), np.uint8))
    job = _run(home / "run", folder)
    assert job.failed == []
    assert len(_records(job.out)) == 3
    assert (job.out / "contact_sheet.png").exists()


def test_an_overlay_that_cannot_be_written_is_logged(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("devbox.onbox.jobs.track.draw._LARGEST", 70_000)
    folder = home / "images"
    folder.mkdir()
    cv2.imwrite(str(folder / "0.png"), np.zeros((8, 66_000, 3), np.uint8))
    job = _run(home / "run", folder)
    assert job.failed == []
    assert len(_records(job.out)) == 1
    assert not (job.out / "overlay.mp4").exists()
    assert "cannot be encoded" in capsys.readouterr().out


def _png_that_claims(path: Path, width: int, height: int) -> None:
    """A PNG of that size in its header, and no more than a few bytes of it."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        )

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"")))


@pytest.mark.parametrize("place", [0, 1])
def test_an_image_too_large_to_open_fails_itself_and_not_the_folder(home: Path, place: int) -> None:
    folder = home / "images"
    folder.mkdir()
    for number in range(3):
        if number == place:
            _png_that_claims(folder / f"{number}.png", 40_000, 40_000)
        else:
            cv2.imwrite(str(folder / f"{number}.png"), np.zeros((90, 120, 3), np.uint8))
    job = _run(home / "run", folder)
    assert job.failed == []
    assert [("error" in record) for record in _records(job.out)] == [n == place for n in range(3)]


def test_images_are_read_in_the_order_of_their_numbers(home: Path) -> None:
    folder = home / "images"
    folder.mkdir()
    for number in range(12):
        image = np.full((90, 120, 3), 5 * number + 2, np.uint8)
        cv2.imwrite(str(folder / f"frame{number}.png"), image)
    (files,) = frames.sequences(sorted(folder.iterdir()), folder).values()
    assert _greys(*files) == {number: number for number in range(12)}


@pytest.mark.parametrize("suffix", [".m4v", ".ts", ".MOV", ".unheard-of"])
def test_a_single_video_is_read_whatever_its_suffix(home: Path, suffix: str) -> None:
    video = _write(home / "v.mp4", 10)
    video.rename(home / f"v{suffix}")
    assert len(_records(_run(home / "run", home / f"v{suffix}").out)) == 10


def test_every_suffix_that_the_job_takes_in_a_folder_is_read(home: Path) -> None:
    job_toml = Path(track.__file__).with_name("job.toml")
    patterns = tomllib.loads(job_toml.read_text())["inputs"]["video"]["patterns"]
    assert {"*.m4v", "*.ts"} <= set(patterns)
    folder = home / "videos"
    folder.mkdir()
    one = _write(home / "v.mp4", 5).read_bytes()
    names = [f"v{n}{pattern[1:]}" for n, pattern in enumerate(patterns)]
    videos = [name for name in names if Path(name).suffix not in frames.IMAGES]
    for name in videos:
        (folder / name).write_bytes(one)
    job = Job(
        home / "run", args=ARGS, inputs={"video": folder}, patterns={"video": tuple(patterns)}
    )
    track.run(job)
    assert job.failed == []
    assert len(list(job.out.rglob("results.jsonl"))) == len(videos)


def test_files_that_a_job_does_not_take_are_named(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = home / "videos"
    folder.mkdir()
    _write(folder / "v.mp4", 5)
    for name in ("notes.txt", "clip.heic", ".hidden"):
        (folder / name).write_bytes(b"x")
    cv2.imwrite(str(folder / "poster.png"), np.zeros((9, 9, 3), np.uint8))
    _run(home / "run", folder)
    said = capsys.readouterr().out
    assert "clip.heic, notes.txt" in said
    assert ".hidden" not in said
    assert "1 images beside videos" in said


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
