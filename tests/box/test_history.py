"""The bounded history: what is kept, what survives a crash, and readers beside the writer."""

from __future__ import annotations

import errno
import gzip
import json
import os
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from devbox.box.history import History, Row, Tail
from devbox.wire import codec


def sample(seq: int, boot: str = "b1", t: float | None = None, **more: Any) -> dict[str, Any]:
    return {"v": 1, "boot": boot, "seq": seq, "t": float(seq) if t is None else t, **more}


def fill(history: History, first: int, last: int, boot: str = "b1", **more: Any) -> None:
    for seq in range(first, last + 1):
        assert history.append(sample(seq, boot, **more))


def seqs(rows: Any) -> list[int]:
    return [row.seq for row in rows]


def stored(
    folder: Path, *, after: tuple[str, int] | None = None, since: float | None = None
) -> list[Row]:
    with closing(Tail(folder, after=after, since=since)) as tail:
        return list(tail.poll())


def stored_in(path: Path) -> list[float]:
    """The times of a packed segment's samples."""
    return [json.loads(line)["t"] for line in gzip.decompress(path.read_bytes()).splitlines()]


def segments(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "history"


def test_lines_come_back_as_written(folder: Path) -> None:
    history = History(folder)
    one = sample(1, gpus=[{"name": "é\n"}], t=1795310810.471)
    history.append(one)
    (row,) = stored(folder)
    assert row.line + b"\n" == codec.encode(one)
    assert (row.boot, row.seq, row.t) == ("b1", 1, 1795310810.471)


def test_segments_are_packed_and_all_is_still_read(folder: Path) -> None:
    history = History(folder, segment_bytes=1000)
    fill(history, 1, 200)
    names = segments(folder)
    assert len(names) > 5
    assert all(name.endswith(".gz") for name in names[:-1])
    assert seqs(stored(folder)) == list(range(1, 201))


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        (None, list(range(1, 11)) + list(range(1, 6))),
        (("b1", 4), [5, 6, 7, 8, 9, 10, 1, 2, 3, 4, 5]),
        (("b1", 10), [1, 2, 3, 4, 5]),
        (("b1", 999), [1, 2, 3, 4, 5]),  # said to be seen; the next boot is newer all the same
        (("b2", 3), [4, 5]),
        (("b2", 5), []),
        (("gone", 7), list(range(1, 11)) + list(range(1, 6))),
    ],
)
def test_resuming(folder: Path, after: tuple[str, int] | None, expected: list[int]) -> None:
    fill(History(folder, segment_bytes=150), 1, 10)
    fill(History(folder, segment_bytes=150), 1, 5, boot="b2")
    assert seqs(stored(folder, after=after)) == expected


def test_only_what_is_young_enough_is_read_and_unpacked(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    history = History(folder, segment_bytes=300)
    fill(history, 1, 50)
    history.close()
    packed = sorted(folder.iterdir())
    for path in packed:  # as on a box, where a sample's time is the time of its write
        newest = stored_in(path)[-1]
        os.utime(path, (newest, newest))
    unpacked: list[bytes] = []
    unpack = gzip.decompress

    def watched(data: bytes) -> bytes:
        unpacked.append(data)
        return unpack(data)

    monkeypatch.setattr(gzip, "decompress", watched)
    assert seqs(stored(folder, since=47.0)) == [47, 48, 49, 50]
    assert len(unpacked) < len(packed) // 3
    assert seqs(stored(folder, after=("b1", 48))) == [49, 50]


def test_the_disk_bound_holds_and_the_oldest_goes(folder: Path) -> None:
    history = History(folder, max_bytes=20_000, segment_bytes=4_000)
    noise = os.urandom(150).hex()
    for seq in range(1, 1500):
        history.append(sample(seq, t=seq / 100, noise=noise[seq % 50 :] + os.urandom(40).hex()))
        assert sum(path.stat().st_size for path in folder.iterdir()) <= 20_000
    kept = seqs(stored(folder))
    assert kept[-1] == 1499
    assert kept == list(range(kept[0], 1500))
    assert kept[0] > 1


def test_an_hour_of_an_eight_gpu_box_fits(folder: Path) -> None:
    """Samples as an 8-GPU box under load makes them, an hour of them at 1 Hz."""
    history = History(folder)

    def gpu(index: int, seq: int) -> dict[str, Any]:
        x = (seq * 7919 + index * 104729) % 9973
        return {
            "index": index, "uuid": f"GPU-5a0c1b2d-0000-4000-8000-00000000000{index}",
            "name": "NVIDIA H100 80GB HBM3", "util": x % 101, "mem_util": x % 97,
            "mem_used": 70_000_000_000 + x * 1_048_576, "mem_total": 85_520_809_984,
            "power_w": 300 + x / 25, "power_limit_w": 700.0, "temp_c": 50 + x % 30,
            "sm_mhz": 1155 + x % 800, "mem_mhz": 2619, "throttle": [], "ecc_errors": 0,
            "mig": False,
            "processes": [{"pid": 4000 + index, "name": "python3", "mem_used": 7 << 30}],
        }  # fmt: skip

    for seq in range(1, 4200):
        history.append(sample(seq, gpus=[gpu(index, seq) for index in range(8)]))
    kept = seqs(stored(folder, since=4199.0 - 3600))
    assert kept == list(range(599, 4200))
    assert sum(path.stat().st_size for path in folder.iterdir()) <= 8 << 20


def test_old_segments_go_by_age(folder: Path) -> None:
    history = History(folder, segment_age=10, max_age=100)
    fill(history, 1, 30)
    history.close()
    for path in folder.iterdir():
        os.utime(path, (1_000_000, 1_000_000))
    again = History(folder, segment_age=10, max_age=100)
    fill(again, 31, 50)
    again.close()
    assert min(seqs(stored(folder))) == 31


def test_a_torn_last_line_is_ignored_and_writing_goes_on(folder: Path) -> None:
    fill(History(folder), 1, 3)
    (path,) = folder.iterdir()
    with path.open("ab") as stream:
        stream.write(codec.encode(sample(4))[:-10])
    assert seqs(stored(folder)) == [1, 2, 3]
    fill(History(folder), 1, 2, boot="b2")
    assert seqs(stored(folder)) == [1, 2, 3, 1, 2]
    assert len(segments(folder)) == 2


def test_damage_costs_only_what_is_damaged(folder: Path) -> None:
    fill(History(folder, segment_bytes=400), 1, 30)
    middle = sorted(folder.glob("*.gz"))[1]
    lost = seqs_of(middle)
    middle.write_bytes(b"not gzip")
    (folder / "00000000.jsonl.gz").write_bytes(gzip.compress(b'\x00\xff{]\n{"v":1}\n[]\n'))
    (folder / "unrelated").write_text("x")
    assert seqs(stored(folder)) == [n for n in range(1, 31) if n not in lost]


def seqs_of(path: Path) -> list[int]:
    lines = gzip.decompress(path.read_bytes()).splitlines()
    return [int(str(message["seq"])) for message in map(codec.load_or_none, lines) if message]


@pytest.mark.parametrize("stage", ["before packing", "packed, not yet removed", "half packed"])
def test_a_crash_while_packing_loses_and_doubles_nothing(folder: Path, stage: str) -> None:
    fill(History(folder), 1, 9)
    (path,) = folder.glob("*.jsonl")
    data = path.read_bytes()
    if stage == "packed, not yet removed":
        path.with_name(path.name + ".gz").write_bytes(gzip.compress(data))
    elif stage == "half packed":
        path.with_name(path.name + ".tmp").write_bytes(gzip.compress(data)[:20])
    assert seqs(stored(folder)) == list(range(1, 10))
    fill(History(folder), 10, 12)
    assert seqs(stored(folder)) == list(range(1, 13))
    assert not list(folder.glob("*.tmp"))


def test_a_full_disk_costs_samples_and_nothing_else(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    history = History(folder)
    fill(history, 1, 3)
    real = os.write

    def full(fd: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "no space")

    def short(fd: int, data: bytes) -> int:
        return real(fd, data[:10])

    for broken in (full, short):
        monkeypatch.setattr(os, "write", broken)
        assert history.append(sample(4)) is False
        monkeypatch.setattr(os, "write", real)
    fill(history, 5, 6)
    assert seqs(stored(folder)) == [1, 2, 3, 5, 6]


def test_a_reader_beside_the_writer_gets_each_line_once(folder: Path) -> None:
    history = History(folder, segment_bytes=700)
    tail = Tail(folder)
    got: list[int] = []
    written = 0
    for step in range(300):
        for _ in range(step % 23):
            written += 1
            history.append(sample(written))
        if step % 3:
            got += seqs(tail.poll())
    got += seqs(tail.poll())
    assert got == list(range(1, written + 1))
    tail.close()


def test_a_slow_reader_that_was_overtaken_goes_on_with_what_is_left(folder: Path) -> None:
    history = History(folder, segment_bytes=300, max_bytes=1500)
    tail = Tail(folder)
    fill(history, 1, 3)
    assert seqs(tail.poll()) == [1, 2, 3]
    fill(history, 4, 2000)
    got = seqs(tail.poll())
    assert got[-1] == 2000
    assert got == sorted(set(got))


def test_a_reader_survives_an_emptied_folder(folder: Path) -> None:
    history = History(folder, segment_bytes=200)
    fill(history, 1, 20)
    tail = Tail(folder)
    assert len(seqs(tail.poll())) == 20
    for path in folder.iterdir():
        path.unlink()
    fill(History(folder), 1, 2, boot="b2")
    assert seqs(tail.poll()) == [1, 2]


def test_no_folder_is_an_empty_history(folder: Path) -> None:
    assert stored(folder) == []
    assert list(Tail(folder, after=("b", 1)).poll()) == []


def test_reading_leaves_no_file_open(folder: Path) -> None:
    history = History(folder, segment_bytes=300)
    fill(history, 1, 30)
    before = os.listdir("/proc/self/fd")
    for _ in range(20):
        stored(folder, after=("b1", 3))
        stored(folder, since=20.0)
    assert len(os.listdir("/proc/self/fd")) == len(before)
