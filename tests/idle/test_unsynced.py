"""What is only on the box."""

from __future__ import annotations

import itertools
import json
import math
import os
import time
from pathlib import Path

import pytest

from devbox.box import paths
from devbox.box.files import unsynced


@pytest.fixture
def work(home: Path) -> Path:
    (home / "work").mkdir()
    return home / "work"


def old(path: Path, content: str = "x", days: float = 2) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    at = time.time() - days * 86400
    os.utime(path, (at, at))
    return path


def names(work: Path) -> list[str]:
    return [name for name, _ in unsynced.changed(paths.root(), work, (), math.inf)]


def summary(work: Path, seconds: float = 20.0) -> str:
    return unsynced.summary(paths.root(), work, seconds=seconds)


def stamp(t: float, **more: object) -> None:
    path = paths.root() / "synced.json"
    path.write_text(json.dumps({"v": 1, "t": t, **more}))


def test_everything_counts_before_the_first_sync(work: Path) -> None:
    old(work / "a" / "model.pt", "12345")
    old(work / "b.txt")
    assert names(work) == ["b.txt", "a/model.pt"]
    assert summary(work) == "2 unsynced files (6 B)"
    assert list(paths.root().iterdir()) == []


def test_only_what_changed_since_the_sync_counts(work: Path) -> None:
    old(work / "before.txt")
    stamp(time.time() + 0.5)
    os.utime(paths.root() / "synced.json", (time.time() + 0.5,) * 2)
    (work / "after.txt").write_text("new")
    os.utime(work / "after.txt", (time.time() + 5,) * 2)
    assert names(work) == ["after.txt"]


def test_a_file_unpacked_with_an_old_date_counts(work: Path) -> None:
    stamp(time.time() - 60)
    old(work / "unpacked.txt")
    assert names(work) == ["unpacked.txt"]
    assert summary(work) == "1 unsynced file (1 B)"


def test_what_the_laptop_pushed_since_does_not_count_until_it_changes(work: Path) -> None:
    pushed = old(work / "train.py")
    stamp(time.time() - 60, pushed={"train.py": pushed.stat().st_mtime_ns})
    assert names(work) == []
    pushed.write_text("edited on the box")
    assert names(work) == ["train.py"]


def test_a_laptop_clock_that_runs_ahead_hides_nothing(work: Path) -> None:
    stamp(time.time() + 86400)
    os.utime(paths.root() / "synced.json", (time.time() - 60,) * 2)
    (work / "new.txt").write_text("x")
    assert names(work) == ["new.txt"]


def test_what_is_never_synced_is_left_out(work: Path) -> None:
    for name in (".git/objects/ab", "__pycache__/a.pyc", "node_modules/x.js", "wandb/run", "a.pyc"):
        old(work / name)
    stamp(1.0, exclude=["wandb"])
    assert names(work) == []


def test_links_are_not_followed_and_odd_names_are_counted(work: Path, tmp_path: Path) -> None:
    old(tmp_path / "elsewhere" / "big.bin")
    (work / "link").symlink_to(tmp_path / "elsewhere")
    (work / "up").symlink_to("..")
    Path(os.fsdecode(os.fsencode(work) + b"/\xff\x1b[2J\nname")).write_text("x")
    assert summary(work) == "1 unsynced file (1 B)"


def test_a_walk_that_takes_too_long_says_so(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for index in range(10):
        (work / f"{index}.txt").write_text("x")
    assert summary(work, seconds=0) == "an unknown number of unsynced files"
    ticks = itertools.count()
    monkeypatch.setattr("devbox.box.files.walk.time.monotonic", lambda: float(next(ticks)))
    assert summary(work, seconds=4.5) == "at least 4 unsynced files (4 B)"


def test_no_workdir_is_nothing_unsynced(home: Path) -> None:
    assert summary(home / "nowhere") == "0 unsynced files (0 B)"
