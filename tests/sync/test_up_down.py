"""Files go up and down; nobody's work is overwritten or deleted unseen."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

import pytest

from devbox.box.files import unsynced as unsynced_files
from devbox.errors import Conflict, UsageError
from devbox.sync import target as place
from tests.sync.conftest import MakePair, Pair, files, write


def test_up_sends_everything_but_what_is_left_out(pair: Pair) -> None:
    write(pair.here / "main.py", "1")
    write(pair.here / "pkg/a.py", "2")
    write(pair.here / "pkg/__pycache__/a.pyc", "x")
    write(pair.here / ".venv/bin/python", "x")
    write(pair.here / ".git/config", "x")
    write(pair.here / "data/big.bin", "x")
    write(pair.here / ".gitignore", "data/\n")
    report = pair.up()
    assert files(pair.there) == {"main.py": "1", "pkg/a.py": "2", ".gitignore": "data/\n"}
    assert set(report.moved) == {"main.py", "pkg/a.py", ".gitignore"}
    assert report.bytes == 1 + 1 + 6
    assert pair.up().moved == ()


def test_secrets_are_held_back_and_said_so_until_included(make_pair: MakePair) -> None:
    pair = make_pair(include=("keys/id_ed25519",))
    for name in (".env", ".env.example", "keys/id_ed25519", "keys/id_rsa", "keys/id_rsa.pub"):
        write(pair.here / name, "s")
    report = pair.up()
    assert set(files(pair.there)) == {".env.example", "keys/id_ed25519", "keys/id_rsa.pub"}
    assert report.secrets == (".env", "keys/id_rsa")


def test_down_fetches_what_the_box_made(pair: Pair) -> None:
    write(pair.here / "main.py", "1", age=50)
    pair.up()
    write(pair.there / "out/result.json", "{}")
    report = pair.down()
    assert report.moved == ("out/result.json",)
    assert (pair.here / "out/result.json").read_text() == "{}"
    assert pair.down().moved == ()


def test_down_takes_the_box_version_of_a_file_not_touched_here(pair: Pair) -> None:
    write(pair.here / "a.txt", "old", age=50)
    pair.up()
    write(pair.there / "a.txt", "from the box")
    assert pair.down().moved == ("a.txt",)
    assert (pair.here / "a.txt").read_text() == "from the box"


def test_down_keeps_a_local_edit_even_when_the_box_is_newer(pair: Pair) -> None:
    write(pair.here / "a.txt", "old", age=50)
    write(pair.here / "b.txt", "old", age=50)
    pair.up()
    write(pair.here / "a.txt", "my edit", age=0)
    write(pair.here / "b.txt", "my edit")
    write(pair.there / "a.txt", "box edit", age=-100)
    first = pair.down()
    assert {k.path: k.why for k in first.kept} == {
        "a.txt": "changed here and on the box",
        "b.txt": "edited here and not pushed yet",
    }
    assert (pair.here / "a.txt").read_text() == "my edit"
    # It is still an edit of mine at the next one.
    assert {k.path for k in pair.down().kept} == {"a.txt", "b.txt"}
    assert (pair.here / "a.txt").read_text() == "my edit"
    assert pair.down(force=True).moved == ("a.txt", "b.txt")
    assert (pair.here / "a.txt").read_text() == "box edit"


def test_an_edit_that_keeps_an_old_time_is_still_an_edit(pair: Pair) -> None:
    write(pair.here / "a.txt", "old", age=50)
    pair.up()
    write(pair.here / "a.txt", "restored from backup", age=5000)
    write(pair.there / "a.txt", "box")
    assert [k.path for k in pair.down().kept] == ["a.txt"]
    assert (pair.here / "a.txt").read_text() == "restored from backup"


def test_down_into_a_folder_never_synced_keeps_differing_files(pair: Pair) -> None:
    write(pair.here / "same.txt", "equal", age=500)
    write(pair.here / "mine.txt", "mine", age=500)
    write(pair.there / "same.txt", "equal")
    write(pair.there / "mine.txt", "theirs")
    report = pair.down()
    assert [k.path for k in report.kept] == ["mine.txt"]
    assert (pair.here / "mine.txt").read_text() == "mine"


def test_up_keeps_a_newer_file_of_the_box_and_says_so(pair: Pair) -> None:
    write(pair.here / "a.txt", "old", age=50)
    pair.up()
    write(pair.here / "a.txt", "mine", age=20)
    write(pair.there / "a.txt", "edited on the box")
    report = pair.up()
    assert [(k.path, k.why) for k in report.kept] == [("a.txt", "newer on the box")]
    assert (pair.there / "a.txt").read_text() == "edited on the box"
    # The edit that could not go up is still protected from a sync down.
    assert [k.path for k in pair.down().kept] == ["a.txt"]
    assert pair.up(force=True).moved == ("a.txt",)
    assert (pair.there / "a.txt").read_text() == "mine"


def test_a_newer_time_with_the_same_content_is_no_conflict(pair: Pair) -> None:
    write(pair.here / "a.txt", "same", age=50)
    pair.up()
    os.utime(pair.there / "a.txt")
    assert pair.up().kept == ()


def test_an_edit_within_the_second_of_the_last_sync_goes_up(pair: Pair) -> None:
    file = write(pair.here / "a.txt", "one")
    pair.up()
    status = file.stat()
    file.write_text("two")
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns // 10**9 * 10**9 + 999_999_999))
    pair.up()
    assert (pair.there / "a.txt").read_text() == "two"


@pytest.mark.parametrize("direction", ["up", "down"])
def test_deletion_only_with_delete_only_what_was_shown(pair: Pair, direction: str) -> None:
    for name in ("keep.txt", "gone.txt", "old/deep/gone.txt"):
        write(pair.here / name, name, age=50)
    pair.up()
    source, target = (pair.here, pair.there) if direction == "up" else (pair.there, pair.here)
    (source / "gone.txt").unlink()
    (source / "old/deep/gone.txt").unlink()
    sync = pair.up if direction == "up" else pair.down
    assert sync().deleted == ()
    assert sync(delete=True, dry_run=True).deleted == ("gone.txt", "old/deep/gone.txt")
    assert sync(delete=True).deleted == ()  # not approved
    shown: list[tuple[str, ...]] = []

    def approve(names: tuple[str, ...]) -> bool:
        shown.append(names)
        write(target / "made-meanwhile.txt", "job output")
        write(target / "old/deep/made-meanwhile.txt", "job output")
        return True

    report = sync(delete=True, approve=approve)
    assert shown == [("gone.txt", "old/deep/gone.txt")] == [report.deleted]
    assert not (target / "gone.txt").exists()
    assert (target / "made-meanwhile.txt").exists()
    assert (target / "old/deep/made-meanwhile.txt").exists()
    assert (target / "keep.txt").exists()


def test_delete_leaves_what_rules_leave_out(pair: Pair) -> None:
    write(pair.here / "a.txt", "a")
    pair.up()
    write(pair.there / "__pycache__/x.pyc", "x")
    write(pair.there / ".env", "x")
    assert pair.up(delete=True, approve=lambda _: True).deleted == ()
    assert (pair.there / ".env").exists()


def test_dry_run_changes_nothing(pair: Pair) -> None:
    write(pair.here / "a.txt", "a")
    report = pair.up(dry_run=True)
    assert report.moved == ("a.txt",)
    assert report.bytes == 1
    assert files(pair.there) == {}
    assert pair.up().moved == ("a.txt",)
    write(pair.there / "b.txt", "b")
    assert pair.down(dry_run=True).moved == ("b.txt",)
    assert not (pair.here / "b.txt").exists()


def test_chosen_paths_alone_are_synced(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(pair.here)
    write(pair.here / "src/a.py", "a")
    write(pair.here / "src/__pycache__/a.pyc", "a")
    write(pair.here / "other.txt", "o")
    assert pair.up(paths=("src",)).moved == ("src/a.py",)
    assert files(pair.there) == {"src/a.py": "a"}
    write(pair.there / "src/new.txt", "n")
    write(pair.there / "else.txt", "e")
    assert pair.down(paths=("src",)).moved == ("src/new.txt",)
    with pytest.raises(UsageError, match="not inside"):
        pair.up(paths=("../x",))
    with pytest.raises(UsageError, match="left out"):
        pair.up(paths=("src/__pycache__/a.pyc",))


def test_down_patterns_reach_into_ignored_folders(make_pair: MakePair) -> None:
    pair = make_pair(down=("results/", "*.pt"))
    write(pair.here / ".gitignore", "results/\n*.pt\n")
    pair.up()
    for name in ("results/a.csv", "results/__pycache__/x.pyc", "deep/model.pt", "scratch.txt"):
        write(pair.there / name, name)
    assert pair.down().moved == ("deep/model.pt", "results/a.csv")


def test_the_box_is_told_what_was_synced(pair: Pair) -> None:
    stamp = pair.there.parent / ".devbox-box/synced.json"
    write(pair.here / "a.txt", "a", age=50)
    pair.up()
    first = json.loads(stamp.read_text())
    assert first["t"] > 0
    assert first["pushed"] == {}
    changed = write(pair.here / "a.txt", "b")
    pair.up()
    assert json.loads(stamp.read_text())["t"] == first["t"]
    assert json.loads(stamp.read_text())["pushed"] == {"a.txt": changed.stat().st_mtime_ns}
    pair.down()
    last = json.loads(stamp.read_text())
    assert last["t"] > first["t"]
    assert last["pushed"] == {}


def unsynced_on(pair: Pair) -> tuple[str, ...]:
    root = pair.there.parent / ".devbox-box"
    return tuple(name for name, _ in unsynced_files.changed(root, pair.there, (), math.inf))


def test_the_box_counts_only_its_own_work_as_unsynced(pair: Pair) -> None:
    def unsynced() -> tuple[str, ...]:
        return unsynced_on(pair)

    write(pair.here / "a b.txt", "a", age=50)
    write(pair.here / "é.txt", "e", age=50)
    pair.up()
    assert unsynced() == ()
    write(pair.here / "a b.txt", "edited here", age=20)
    write(pair.here / "é.txt", "edited here")
    pair.up()
    assert unsynced() == ()
    write(pair.there / "out.txt", "o")
    write(pair.there / "é.txt", "edited there")
    assert unsynced() == ("out.txt", "é.txt")
    assert pair.down().kept == ()
    assert unsynced() == ()
    assert (pair.here / "é.txt").read_text() == "edited there"


@pytest.mark.parametrize("paths", [(), ("a.txt",)], ids=["whole", "of chosen paths"])
def test_a_first_up_does_not_count_what_was_made_on_the_box_before(
    pair: Pair, paths: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    def unsynced() -> tuple[str, ...]:
        return unsynced_on(pair)

    monkeypatch.chdir(pair.here)
    write(pair.there / "made" / "out.txt", "o", age=500)
    write(pair.here / "a.txt", "a", age=50)
    pair.up(paths=paths)
    assert unsynced() == ("made/out.txt",)
    write(pair.here / "b.txt", "b", age=20)
    pair.up()
    assert unsynced() == ("made/out.txt",)
    assert pair.down().moved == ("made/out.txt",)
    assert unsynced() == ()


def test_two_syncs_in_one_direction_do_not_mix(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    write(pair.here / "a.txt", "a")
    monkeypatch.setattr(place, "WAIT", 0.05)
    with place.locked(pair.box, "up"):
        with pytest.raises(Conflict, match="another sync up"):
            pair.up()
        pair.down()


def test_a_folder_the_box_does_not_have_yet_is_no_error(pair: Pair) -> None:
    pair.there.rmdir()
    assert pair.down().missing
    write(pair.here / "a.txt", "a")
    assert pair.up().moved == ("a.txt",)


def test_home_is_never_synced_whole(pair: Pair, home: Path) -> None:
    project = pair.here
    project.rmdir()
    project.symlink_to(home)
    with pytest.raises(UsageError, match="refusing"):
        pair.up()
