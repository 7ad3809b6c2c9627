"""Videos that are damaged, declare too little or keep a time of their own: each frame that is
there gives a record."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest

from devbox.box.media import video as read_video
from tests.track.clips import ARGS, greys_of, noise, records_of, run, write


@pytest.mark.parametrize("duration", [None, 0.4])
def test_a_video_that_declares_no_or_too_few_frames_is_read_to_its_end(
    home: Path, duration: float | None
) -> None:
    """Matroska's Duration (RFC 9559, element 0x4489) in milliseconds, or a Void in its place."""
    video = write(home / "v.mkv", 30)
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
    assert greys_of(video) == {number: number for number in range(30)}
    assert len(records_of(run(home / "run", video).out)) == 30


def test_damage_in_a_video_that_declares_no_frames_does_not_end_it(home: Path) -> None:
    video = noise(home / "v.mkv", "MJPG", 30)
    data = bytearray(video.read_bytes())
    at = data.index(b"\x44\x89\x88")
    data[at : at + 3] = b"\xec\x89\x00"
    half = len(data) // 2
    data[half : half + 3000] = b"\xa5" * 3000
    video.write_bytes(data)
    assert len(greys_of(video)) >= 20


@pytest.mark.parametrize(("at", "length"), [(0.3, 300), (0.5, 1500), (0.4, 3000)])
def test_damage_in_the_middle_of_an_avi_shifts_no_number(
    home: Path, at: float, length: int
) -> None:
    video = write(home / "v.avi", 50)
    data = bytearray(video.read_bytes())
    start = int(len(data) * at)
    data[start : start + length] = b"\xa5" * length
    # Whatever the first hole hits, this one hits the header of a chunk.
    header = data.index(b"00dc", int(len(data) * 0.8))
    data[header : header + 4] = b"\xa5" * 4
    video.write_bytes(data)
    job = run(home / "run", video)
    records = records_of(job.out)
    assert [record["frame"] for record in records] == list(range(50))
    assert [record["time"] for record in records] == pytest.approx([n / 25 for n in range(50)])
    lost = [record["frame"] for record in records if "error" in record]
    assert 1 <= len(lost) < 15
    greys = greys_of(video)
    assert set(greys) == set(range(50)) - set(lost)
    wrong = [number for number, grey in greys.items() if grey != number]
    assert len(wrong) <= 2  # half of a frame that was hit may be decoded


def test_damage_in_the_middle_of_an_mp4_loses_only_what_is_damaged(home: Path) -> None:
    video = noise(home / "v.mp4", "mp4v", 50)
    data = bytearray(video.read_bytes())
    start = int(len(data) * 0.4)
    data[start : start + 40_000] = bytes(40_000)
    video.write_bytes(data)
    job = run(home / "run", video)
    records = records_of(job.out)
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
    video = write(home / "v.mp4", 30)
    durations = [20 if n % 3 else 100 for n in range(30)]
    _retimed(video, durations, 1000)
    job = run(home / "run", video)
    times = [record["time"] for record in records_of(job.out)]
    assert times == pytest.approx([sum(durations[:n]) / 1000 for n in range(30)], abs=0.002)
    fps = json.loads((job.out / "summary.json").read_text())["fps"]
    assert fps == pytest.approx(1000 * 29 / sum(durations[:29]), rel=0.1)


@pytest.mark.parametrize("scale", [1000, 90_000])
def test_the_speed_of_a_clock_is_no_rate(home: Path, scale: int) -> None:
    video = write(home / "v.mp4", 30)
    _retimed(video, [1] * 30, scale)
    job = run(home / "run", video)
    assert json.loads((job.out / "summary.json").read_text())["fps"] == ARGS["fps"]
    assert [r["time"] for r in records_of(job.out)] == sorted(
        r["time"] for r in records_of(job.out)
    )


@pytest.mark.parametrize("suffix", [".m4v", ".ts", ".MOV", ".unheard-of"])
def test_a_single_video_is_read_whatever_its_suffix(home: Path, suffix: str) -> None:
    video = write(home / "v.mp4", 10)
    video.rename(home / f"v{suffix}")
    assert len(records_of(run(home / "run", home / f"v{suffix}").out)) == 10
