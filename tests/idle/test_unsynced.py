"""What is only on the box."""

from __future__ import annotations

import json
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


def stamp(t: float, **more: object) -> None:
    path = paths.root() / "synced.json"
    path.write_text(json.dumps({"v": 1, "t": t, **more}))


def test_everything_counts_before_the_first_sync(work: Path) -> None:
    old(work / "a" / "model.pt", "12345")
    old(work / "b.txt")
    found = unsynced.find(paths.root(), work)
    assert (found.files, found.bytes, found.since) == (2, 6, 0)
    assert set(found.names) == {"a/model.pt", "b.txt"}
    assert found.sentence() == "2 unsynced files (6 B)"
    told = unsynced.as_json(found)
    assert (told["count"], told["bytes"], told["complete"]) == (2, 6, True)
    assert list(paths.root().iterdir()) == []


def test_only_what_changed_since_the_sync_counts(work: Path) -> None:
    old(work / "before.txt")
    stamp(time.time() + 0.5)
    os.utime(paths.root() / "synced.json", (time.time() + 0.5,) * 2)
    (work / "after.txt").write_text("new")
    os.utime(work / "after.txt", (time.time() + 5,) * 2)
    assert unsynced.find(paths.root(), work).names == ("after.txt",)


def test_a_file_unpacked_with_an_old_date_counts(work: Path) -> None:
    stamp(time.time() - 60)
    old(work / "unpacked.txt")
    found = unsynced.find(paths.root(), work)
    assert found.names == ("unpacked.txt",)
    assert found.sentence() == "1 unsynced file (1 B)"


def test_what_the_laptop_pushed_since_does_not_count_until_it_changes(work: Path) -> None:
    pushed = old(work / "train.py")
    stamp(time.time() - 60, pushed={"train.py": pushed.stat().st_mtime_ns})
    assert unsynced.find(paths.root(), work).files == 0
    pushed.write_text("edited on the box")
    assert unsynced.find(paths.root(), work).names == ("train.py",)


def test_a_laptop_clock_that_runs_ahead_hides_nothing(work: Path) -> None:
    stamp(time.time() + 86400)
    os.utime(paths.root() / "synced.json", (time.time() - 60,) * 2)
    (work / "new.txt").write_text("x")
    assert unsynced.find(paths.root(), work).files == 1


def test_what_is_never_synced_is_left_out(work: Path) -> None:
    for name in (".git/objects/ab", "__pycache__/a.pyc", "node_modules/x.js", "wandb/run", "a.pyc"):
        old(work / name)
    stamp(1.0, exclude=["wandb"])
    assert unsynced.find(paths.root(), work).files == 0


def test_links_are_not_followed_and_odd_names_are_harmless(work: Path, tmp_path: Path) -> None:
    old(tmp_path / "elsewhere" / "big.bin")
    (work / "link").symlink_to(tmp_path / "elsewhere")
    (work / "up").symlink_to("..")
    Path(os.fsdecode(os.fsencode(work) + b"/\xff\x1b[2J\nname")).write_text("x")
    found = unsynced.find(paths.root(), work)
    assert found.files == 1
    assert "\x1b" not in found.names[0]


def test_names_are_bounded_and_counts_are_not(work: Path) -> None:
    for index in range(unsynced.NAMES + 50):
        (work / f"{index}.txt").write_text("x")
    found = unsynced.find(paths.root(), work)
    assert (found.files, len(found.names)) == (unsynced.NAMES + 50, unsynced.NAMES)


def test_a_walk_that_takes_too_long_says_at_least(work: Path) -> None:
    for index in range(10):
        (work / f"{index}.txt").write_text("x")
    found = unsynced.find(paths.root(), work, seconds=0)
    assert not found.complete
    assert found.sentence().startswith("at least 1 unsynced file")


def test_no_workdir_is_nothing_unsynced(home: Path) -> None:
    assert unsynced.find(paths.root(), home / "nowhere").files == 0
