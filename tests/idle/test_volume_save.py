"""Before a pause that keeps no disk, what is unsynced is copied into a volume, and told."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from devbox.onbox import journal, orders, volume_save
from devbox.onbox.deeds import Deeds
from devbox.onbox.terminals import Terminals


@pytest.fixture
def root(home: Path) -> Path:
    folder = home / ".devbox-box"
    folder.mkdir()
    return folder


@pytest.fixture
def work(home: Path) -> Path:
    return home / "work"


def write(path: Path, text: str = "x") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def synced(root: Path, work: Path) -> None:
    """All that is there now came from the laptop."""
    then = time.time() + 1
    (root / "synced.json").write_text(json.dumps({"t": then, "pushed": {}, "exclude": []}))
    os.utime(root / "synced.json", (then, then))


def given(root: Path, **more: object) -> orders.Orders:
    document = {"v": 1, "box": "b", "policy": {}, "deadline": None, "sent": time.time(), **more}
    return orders.receive(root, document, orders.moment())


def deeds(root: Path, **more: object) -> Deeds:
    return Deeds(root, given(root, **more), Terminals(), lambda: None)


def test_files_go_into_the_first_volume_that_takes_them(home: Path, root: Path, work: Path) -> None:
    write(work / "train.py", "edited")
    write(work / "deep" / "er" / "w.pt", "weights")
    write(work / ".git" / "config")
    write(root / "runs" / "r1" / "out" / "result.json", "{}")
    (home / "full").write_text("not a folder")
    volumes = [str(home / "full"), str(home / "data")]
    report = deeds(root, disk_kept=False, volumes=volumes).save()
    (folder,) = (p for p in (home / "data" / "devbox-saved" / "b").iterdir() if p.is_dir())
    found = {str(p.relative_to(folder)): p.read_text() for p in folder.rglob("*") if p.is_file()}
    assert found == {
        "work/train.py": "edited",
        "work/deep/er/w.pt": "weights",
        "runs/r1/result.json": "{}",
    }
    assert f"3 files (15 B) copied to {folder}" in report.losses


def test_what_was_synced_is_not_copied(home: Path, root: Path, work: Path) -> None:
    write(work / "old.py")
    synced(root, work)
    later = time.time() + 60
    write(work / "new.py")
    os.utime(work / "new.py", (later, later))
    saved = volume_save.save(root, work, [str(home / "data")], "b")
    assert saved
    assert saved.files == 1
    assert (Path(saved.folder) / "work" / "new.py").exists()


def test_without_a_volume_the_report_and_the_warning_say_that_it_is_lost(
    root: Path, work: Path
) -> None:
    write(work / "train.py", "edited")
    plain = deeds(root, disk_kept=False)
    assert plain.save().losses == "1 unsynced file (6 B), which this pause does not keep"
    assert "WILL BE LOST" in plain.at_risk()
    assert deeds(root).at_risk() == ""
    assert deeds(root).save().losses == "1 unsynced file (6 B)"


def test_the_copying_ends_in_time_and_says_what_is_left(home: Path, root: Path, work: Path) -> None:
    for name in "abc":
        write(work / name)
    saved = volume_save.save(root, work, [str(home / "data")], "b", seconds=-1)
    assert saved
    assert (saved.files, saved.left) == (0, 3)
    assert "3 NOT copied" in saved.sentence()


def test_the_next_start_tells_where_the_copies_are_once(home: Path, root: Path, work: Path) -> None:
    write(work / "train.py")
    saved = volume_save.save(root, work, [str(home / "data")], "b")
    assert saved
    for _ in range(2):
        volume_save.tell(root, [str(home / "data"), str(home / "none")], "b")
    (event,) = journal.read(root)
    assert event["kind"] == "restored"
    assert saved.folder in event["message"]


@pytest.mark.parametrize("wrong", ["/data", [1], [""], {"a": 1}])
def test_volumes_that_make_no_sense_are_refused(root: Path, wrong: object) -> None:
    with pytest.raises(ValueError, match="volumes"):
        given(root, volumes=wrong)


def test_a_box_that_copies_begins_early_enough_before_its_deadline(root: Path) -> None:
    now = time.time()
    more = {"deadline": now + 8 * 3600, "started": now, "sent": now}
    plain = given(root, **more).ceiling
    copies = given(root, **more, disk_kept=False, volumes=["/data"]).ceiling
    assert plain
    assert copies
    assert copies.lead == plain.lead + volume_save.SECONDS
