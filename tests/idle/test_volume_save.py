"""Before a pause that keeps no disk, what is unsynced is copied into a volume, and told."""

from __future__ import annotations

import errno
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from devbox.box import event_log, with_timeout
from devbox.box.files import losses, volume_save
from devbox.box.files.losses import Losses
from devbox.box.probes.terminals import Terminals
from devbox.box.watchdog import config
from devbox.box.watchdog import effects as deeds_module
from devbox.box.watchdog.effects import BoxEffects
from devbox.wire.messages import WatchdogConfig


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


def given(root: Path, **more: object) -> WatchdogConfig:
    document = {"v": 1, "box": "b", "policy": {}, "deadline": None, "sent": time.time(), **more}
    return config.receive(root, document, config.moment())


def box_effects(root: Path, **more: object) -> BoxEffects:
    return BoxEffects(root, given(root, **more), Terminals(), lambda: None)


def save(home: Path, root: Path, work: Path, seconds: float = 60) -> volume_save.Saved:
    volumes = [str(home / "data")]
    return volume_save.save(Losses(root, work, volumes), volumes, "b", seconds=seconds)


def noted(volume: Path) -> dict[str, Any]:
    found = json.loads((volume / "devbox-saved" / "b" / "latest.json").read_text())
    assert isinstance(found, dict)
    return found


@pytest.fixture
def hung(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Call it with a name: opening a file of that name for reading waits until the test ends."""
    over = threading.Event()

    def hang(name: str) -> None:
        def opened(path: Any, *args: Any, **more: Any) -> Any:
            if os.path.basename(path) == name:
                over.wait(60)
                raise OSError("the mount came back")
            return open(path, *args, **more)

        monkeypatch.setattr(volume_save, "open", opened, raising=False)

    yield hang
    over.set()


def test_files_go_into_the_first_volume_that_takes_them(home: Path, root: Path, work: Path) -> None:
    write(work / "train.py", "edited")
    write(work / "deep" / "er" / "w.pt", "weights")
    write(work / ".git" / "config")
    write(root / "runs" / "r1" / "out" / "result.json", "{}")
    write(root / "runs" / "r2" / "rounds" / "7" / "out" / "sub" / "result.json", "[]")
    (home / "full").write_text("not a folder")
    volumes = [str(home / "full"), str(home / "data")]
    report = box_effects(root, disk_kept=False, volumes=volumes).save()
    (folder,) = (p for p in (home / "data" / "devbox-saved" / "b").iterdir() if p.is_dir())
    found = {str(p.relative_to(folder)): p.read_text() for p in folder.rglob("*") if p.is_file()}
    assert found == {
        "work/train.py": "edited",
        "work/deep/er/w.pt": "weights",
        "runs/r1/result.json": "{}",
        "runs/r2/rounds/7/sub/result.json": "[]",
    }
    assert f"4 files (17 B) copied to {folder}" in report.losses


def test_what_was_synced_is_not_copied(home: Path, root: Path, work: Path) -> None:
    write(work / "old.py")
    synced(root, work)
    later = time.time() + 60
    write(work / "new.py")
    os.utime(work / "new.py", (later, later))
    (copies,) = save(home, root, work).copies
    assert copies.files == 1
    assert (Path(copies.folder) / "work" / "new.py").exists()


def test_without_a_volume_the_report_and_the_warning_say_that_it_is_lost(
    root: Path, work: Path
) -> None:
    write(work / "train.py", "edited")
    plain = box_effects(root, disk_kept=False)
    assert plain.save().losses == "1 unsynced file (6 B), which this pause does not keep"
    assert "WILL BE LOST" in plain.at_risk()
    assert box_effects(root).at_risk() == ""
    assert box_effects(root).save().losses == "1 unsynced file (6 B)"


def test_the_copying_ends_in_time_and_says_what_is_left(home: Path, root: Path, work: Path) -> None:
    for name in "abc":
        write(work / name)
    saved = save(home, root, work, seconds=-1)
    assert (saved.files, saved.left, saved.ok) == (0, 3, False)
    assert "3 NOT copied" in saved.sentence()


def test_the_next_start_tells_where_the_copies_are_once(home: Path, root: Path, work: Path) -> None:
    write(work / "train.py")
    (copies,) = save(home, root, work).copies
    for _ in range(2):
        volume_save.tell(root, [str(home / "data"), str(home / "none")], "b")
    (event,) = event_log.read(root)
    assert event.kind == "restored"
    assert event.message == f"saved before a pause: 1 file (1 B) copied to {copies.folder}"


@pytest.mark.parametrize("wrong", ["/data", [1], [""], {"a": 1}])
def test_volumes_that_make_no_sense_are_refused(root: Path, wrong: object) -> None:
    with pytest.raises(ValueError, match="volumes"):
        given(root, volumes=wrong)


def test_a_box_that_copies_begins_early_enough_before_its_deadline(root: Path) -> None:
    now = time.time()
    more = {"deadline": now + 8 * 3600, "started": now, "sent": now}
    plain = config.ceiling(given(root, **more))
    copies = config.ceiling(given(root, **more, disk_kept=False, volumes=["/data"]))
    assert plain
    assert copies
    assert copies.lead == plain.lead + volume_save.SECONDS


@pytest.mark.parametrize("ceiling", [False, True])
def test_a_hung_volume_does_not_hold_the_pause_and_what_was_copied_is_counted(
    home: Path,
    root: Path,
    work: Path,
    hung: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
    ceiling: bool,
) -> None:
    write(work / "a", "1")
    write(work / "b", "22")
    write(work / "c", "333")
    hung("b")
    monkeypatch.setattr(volume_save, "GRACE", 0.3)
    now = time.time()
    more: dict[str, Any] = {"disk_kept": False, "volumes": [str(home / "data")]}
    if ceiling:
        monkeypatch.setattr(deeds_module, "_LEAST", 0.0)
        more.update(deadline=now + 20, started=now)
    else:
        monkeypatch.setattr(volume_save, "COPYING", 0.2)
    its = box_effects(root, **more)
    if ceiling:
        late = config.moment()
        monkeypatch.setattr(config, "moment", lambda: late._replace(mono=late.mono + 17))
    begun = time.monotonic()
    report = its.save()
    assert time.monotonic() - begun < 10
    assert not report.ok
    assert report.losses.startswith("3 unsynced files (6 B), 1 file (1 B) copied to ")
    assert report.losses.endswith(", 2 NOT copied")


def test_a_file_too_large_for_the_time_is_given_up_midway(
    home: Path, root: Path, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(work / "large", "x" * 100)
    monkeypatch.setattr(volume_save, "BLOCK", 1)
    began, ticks = time.monotonic(), iter(range(10**6))
    monkeypatch.setattr("devbox.box.files.volume_save.time.monotonic", lambda: began + next(ticks))
    saved = save(home, root, work, seconds=20)
    assert (saved.files, saved.left) == (0, 1)
    assert not list((home / "data").rglob("large"))


def test_a_look_that_hangs_does_not_hold_the_warning_or_the_pause(
    home: Path, root: Path, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(work / "a")
    over = threading.Event()
    monkeypatch.setattr(losses, "is_on", lambda *_: over.wait(60))
    monkeypatch.setattr(deeds_module, "_GLANCE", -0.9)
    monkeypatch.setattr(volume_save, "COPYING", -0.1)
    monkeypatch.setattr(volume_save, "GRACE", 0.2)
    its = box_effects(root, disk_kept=False, volumes=[str(home / "data")])
    begun = time.monotonic()
    try:
        assert its.at_risk().startswith("an unknown number of unsynced files in work are copied")
        report = its.save()
    finally:
        over.set()
    assert time.monotonic() - begun < 10
    assert not report.ok
    assert report.losses.startswith("an unknown number of unsynced files")


def test_a_save_command_that_cannot_be_killed_does_not_hold_the_pause(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    over = threading.Event()
    monkeypatch.setattr("devbox.box.run_command.run", lambda *_, **__: over.wait(60))
    monkeypatch.setattr(deeds_module, "_KILLED", -0.9)
    policy = {"save_command": ["true"], "save_timeout": 1}
    try:
        report = box_effects(root, policy=policy).save()
    finally:
        over.set()
    assert not report.ok
    assert "could not be killed" in report.detail


def test_a_call_that_ends_in_time_gives_what_it_gives() -> None:
    assert with_timeout.within(60, lambda: 3) == 3
    with pytest.raises(ZeroDivisionError):
        with_timeout.within(60, lambda: 1 // 0)


def test_results_of_runs_are_told_as_what_the_pause_loses(root: Path, work: Path) -> None:
    write(root / "runs" / "r1" / "out" / "result.json", "{}")
    plain = box_effects(root, disk_kept=False)
    assert plain.save().losses == "1 unsynced file (2 B), which this pause does not keep"
    assert plain.at_risk().startswith("1 unsynced file (2 B) in the results of runs WILL BE LOST")
    write(work / "train.py", "edited")
    assert plain.save().losses == "2 unsynced files (8 B), which this pause does not keep"
    assert plain.at_risk().startswith(
        "2 unsynced files (8 B) in work and the results of runs WILL BE LOST"
    )


@pytest.mark.parametrize("linked", [False, True])
@pytest.mark.parametrize("inner", ["", "project"])
def test_a_workdir_on_a_volume_is_neither_lost_nor_copied_into_itself(
    home: Path, root: Path, linked: bool, inner: str
) -> None:
    data = home / "data"
    write(data / inner / "train.py", "edited")
    (home / "link").symlink_to(data / inner)
    workdir = str(home / "link" if linked else data / inner)
    its = box_effects(root, disk_kept=False, volumes=[str(data)], workdir=workdir)
    assert its.at_risk() == ""
    assert its.save().losses == "0 unsynced files (0 B)"
    assert not (data / "devbox-saved").exists()
    write(root / "runs" / "r1" / "out" / "result.json", "{}")
    assert "1 file (2 B) copied to" in its.save().losses
    copied = [path.name for path in (data / "devbox-saved").rglob("*") if path.is_file()]
    assert sorted(copied) == ["latest.json", "result.json"]


def test_what_was_saved_before_is_never_copied_again(home: Path, root: Path, work: Path) -> None:
    write(work / "train.py")
    write(work / "data" / "devbox-saved" / "b" / "then" / "old.py")
    assert save(home, root, work).found.files == 1


def test_with_nothing_unsynced_a_pause_leaves_what_was_saved_before(
    home: Path, root: Path, work: Path
) -> None:
    write(work / "train.py")
    save(home, root, work)
    before = noted(home / "data")
    (work / "train.py").unlink()
    report = box_effects(root, disk_kept=False, volumes=[str(home / "data")]).save()
    assert (report.ok, report.losses) == (True, "0 unsynced files (0 B)")
    assert noted(home / "data") == before
    assert len(list((home / "data" / "devbox-saved" / "b").iterdir())) == 2
    assert box_effects(root, disk_kept=False).save().losses == "0 unsynced files (0 B)"


def test_files_beyond_the_most_are_counted_as_not_copied(
    home: Path, root: Path, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(5):
        write(work / f"{number}", "x" * (5 - number))
    monkeypatch.setattr(volume_save, "MOST", 2)
    saved = save(home, root, work)
    assert (saved.found.files, saved.files, saved.left) == (5, 2, 3)
    assert {path.name for path in Path(saved.copies[0].folder, "work").iterdir()} == {"3", "4"}


def fills(
    monkeypatch: pytest.MonkeyPatch, volume: Path, takes: int, number: int = errno.ENOSPC
) -> None:
    """Let `volume` take no file larger than that."""
    really = volume_save._copy

    def copy(source: Path, target: Path, until: float) -> None:
        if volume in target.parents and source.stat().st_size > takes:
            raise OSError(number, os.strerror(number))
        really(source, target, until)

    monkeypatch.setattr(volume_save, "_copy", copy)


def test_what_a_full_volume_does_not_take_goes_into_the_next(
    home: Path, root: Path, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for size in (1, 2, 3):
        write(work / f"{size}", "x" * size)
    fills(monkeypatch, home / "one", 1)
    volumes = [str(home / "one"), str(home / "two")]
    report = box_effects(root, disk_kept=False, volumes=volumes).save()
    assert report.ok
    assert report.losses.startswith("3 unsynced files (6 B), 1 file (1 B) copied to ")
    assert " and 2 files (5 B) copied to " in report.losses
    assert [(noted(home / v)["files"], noted(home / v)["left"]) for v in ("one", "two")] == [
        (1, 0),
        (2, 0),
    ]


def test_what_no_volume_takes_makes_the_save_a_failed_one(
    home: Path, root: Path, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for size in (1, 2, 3):
        write(work / f"{size}", "x" * size)
    fills(monkeypatch, home / "one", 1)
    fills(monkeypatch, home / "two", 0)
    volumes = [str(home / "one"), str(home / "two"), str(home / "full")]
    (home / "full").write_text("not a folder")
    report = box_effects(root, disk_kept=False, volumes=volumes).save()
    assert not report.ok
    assert report.losses.endswith(", 2 NOT copied")
    assert (noted(home / "one")["files"], noted(home / "one")["left"]) == (1, 2)
    assert not (home / "two" / "devbox-saved" / "b" / "latest.json").exists()


def test_volumes_that_take_nothing_at_all_are_told(home: Path, root: Path, work: Path) -> None:
    write(work / "train.py")
    (home / "full").write_text("not a folder")
    report = box_effects(root, disk_kept=False, volumes=[str(home / "full")]).save()
    assert (report.ok, report.losses) == (False, "1 unsynced file (1 B), 1 NOT copied")


def test_one_file_that_cannot_be_read_does_not_stop_the_others(
    home: Path, root: Path, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for size in (1, 2, 3):
        write(work / f"{size}", "x" * size)
    fills(monkeypatch, home / "data", 2, errno.EIO)
    saved = save(home, root, work)
    assert (saved.files, saved.left, saved.ok) == (2, 1, False)


def test_a_volume_that_keeps_no_times_keeps_the_file(
    home: Path, root: Path, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: Any, **__: Any) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    write(work / "train.py")
    monkeypatch.setattr("shutil.copystat", refused)
    assert save(home, root, work).ok
