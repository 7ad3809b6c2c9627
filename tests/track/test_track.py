"""The track job on a real clip: one record per frame, honest sources, pictures a user can see."""

from __future__ import annotations

import json
import struct
import tomllib
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from devbox import paths
from devbox.box import pieces
from devbox.box.job import Job
from devbox.box.jobs import track
from devbox.box.media import frames
from devbox.jobs import demo_clip
from tests import in_rounds
from tests.track.clips import ARGS, greys_of, records_of, run, write


@pytest.fixture
def clip(home: Path) -> Path:
    path = home / "clip.mp4"
    demo_clip.make(paths.data("templates") / "demo" / "astronaut.jpg", path)
    return path


def test_140_frames_in_140_records_out_through_50_hidden_frames(home: Path, clip: Path) -> None:
    job = run(home / "run", clip)
    records = records_of(job.out)
    assert [r["frame"] for r in records] == list(range(140))
    hidden = range(*demo_clip.HIDDEN)
    assert {r["source"] for r in records if r["frame"] in hidden} == {"predicted", "held"}
    seen = [r for r in records if r["frame"] not in hidden and r["frame"] > 3]
    assert sum(r["source"] == "detected" for r in seen) >= 0.95 * len(seen)
    # The face that comes back after 50 frames is the same person.
    assert {t["id"] for r in records for t in r["tracks"]} == {1}
    assert job.failed == []


def test_a_person_can_look_at_the_pictures(home: Path, clip: Path) -> None:
    job = run(home / "run", clip)
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
    job = run(home / "run", folder)
    records = records_of(job.out)
    assert [r["source"] for r in records] == ["none"] * 4
    assert [("error" in r) for r in records] == [False, False, True, False]


def test_one_broken_video_fails_itself_and_leaves_no_half_output(home: Path, clip: Path) -> None:
    folder = home / "videos"
    folder.mkdir()
    clip.rename(folder / "good.mp4")
    (folder / "bad.mp4").write_bytes(b"\0" * 5000)
    job = run(home / "run", folder)
    assert job.failed == ["bad.mp4"]
    assert len(records_of(job.out / "good")) == 140
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
    job = run(home / "run", short)
    assert 10 <= len(records_of(job.out)) < 30


def test_an_input_without_frames_is_an_error(home: Path) -> None:
    (home / "empty").mkdir()
    with pytest.raises(ValueError, match="no video and no image"):
        run(home / "run", home / "empty")


@pytest.mark.parametrize("names", [("a.mp4", "a.avi"), ("x/a.mp4", "y/a.mp4"), ("A.mp4", "a.mp4")])
def test_two_videos_of_one_name_keep_their_own_results(home: Path, names: tuple[str, str]) -> None:
    folder = home / "videos"
    for count, name in zip((7, 9), names, strict=True):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        write(folder / name, count)
    job = Job(
        home / "run", args=ARGS, inputs={"video": folder}, patterns={"video": ("*.mp4", "*.avi")}
    )
    track.run(job)
    found = sorted(len(records_of(file.parent)) for file in job.out.rglob("results.jsonl"))
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


@pytest.mark.parametrize("size", [(9000, 200), (1, 1), (17, 3), (200, 9001)])
def test_results_do_not_depend_on_an_overlay(home: Path, size: tuple[int, int]) -> None:
    folder = home / "images"
    folder.mkdir()
    for number in range(3):
        cv2.imwrite(str(folder / f"{number}.png"), np.zeros((size[1], size[0], 3), np.uint8))
    job = run(home / "run", folder)
    assert job.failed == []
    assert len(records_of(job.out)) == 3
    assert (job.out / "contact_sheet.png").exists()


def test_an_overlay_that_cannot_be_written_is_logged(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("devbox.box.media.draw._LARGEST", 70_000)
    folder = home / "images"
    folder.mkdir()
    cv2.imwrite(str(folder / "0.png"), np.zeros((8, 66_000, 3), np.uint8))
    job = run(home / "run", folder)
    assert job.failed == []
    assert len(records_of(job.out)) == 1
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
    job = run(home / "run", folder)
    assert job.failed == []
    assert [("error" in record) for record in records_of(job.out)] == [n == place for n in range(3)]


def test_images_are_read_in_the_order_of_their_numbers(home: Path) -> None:
    folder = home / "images"
    folder.mkdir()
    for number in range(12):
        image = np.full((90, 120, 3), 5 * number + 2, np.uint8)
        cv2.imwrite(str(folder / f"frame{number}.png"), image)
    (files,) = pieces.sequences(sorted(folder.iterdir()), folder).values()
    assert greys_of(*files) == {number: number for number in range(12)}


def test_every_suffix_that_the_job_takes_in_a_folder_is_read(home: Path) -> None:
    job_toml = Path(track.__file__).with_name("job.toml")
    patterns = tomllib.loads(job_toml.read_text())["inputs"]["video"]["patterns"]
    assert {"*.m4v", "*.ts"} <= set(patterns)
    folder = home / "videos"
    folder.mkdir()
    one = write(home / "v.mp4", 5).read_bytes()
    names = [f"v{n}{pattern[1:]}" for n, pattern in enumerate(patterns)]
    videos = [name for name in names if Path(name).suffix not in pieces.IMAGES]
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
    write(folder / "v.mp4", 5)
    for name in ("notes.txt", "clip.heic", ".hidden"):
        (folder / name).write_bytes(b"x")
    cv2.imwrite(str(folder / "poster.png"), np.zeros((9, 9, 3), np.uint8))
    run(home / "run", folder)
    said = capsys.readouterr().out
    assert "clip.heic, notes.txt" in said
    assert ".hidden" not in said
    assert "1 images beside videos" in said


def test_in_rounds_results_are_named_as_in_one_run(home: Path) -> None:
    for name in ("a.mp4", "sub/b.mp4", "sub/b.avi"):
        (home / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        write(home / "in" / name, 5)
    patterns = {"video": ("*.mp4", "*.avi")}
    job = Job(home / "one", args=ARGS, inputs={"video": home / "in"}, patterns=patterns)
    track.run(job)
    made = in_rounds.run(
        home / "many", track.run, "sequences", home / "in", args=ARGS, patterns=patterns
    )
    assert made == in_rounds.files(job.out)
    assert {"a/results.jsonl", "sub/b.avi/results.jsonl"} <= made
