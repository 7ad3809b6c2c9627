"""What is sent, deleted and remembered where a folder of the box is a file or link here."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from devbox import process
from devbox.cli.main import cli
from devbox.errors import SyncError, UsageError
from devbox.ignore import tree
from devbox.sync import baseline, remote, rsync_process, target
from devbox.sync.compare import BOTH, IN_THE_WAY, NEWER_THERE
from devbox.sync.push import Push, Sent
from devbox.sync.rsync import Options
from tests.sync.conftest import Pair, files, write


class Approve:
    """Answers yes or no, and notes what it was shown."""

    def __init__(self, answer: bool) -> None:
        self.answer = answer
        self.shown: list[tuple[str, ...]] = []

    def __call__(self, names: tuple[str, ...]) -> bool:
        self.shown.append(names)
        return self.answer


def edits(pair: Pair, *paths: bytes) -> Sent:
    """What a watch does with a batch of saves."""
    where = target.find(pair.ws, pair.box)
    push = Push(pair.ws, pair.box, where, Options())
    return push.edits(tree.read(where.root, where.sync).rules, paths)


def conflict(pair: Pair) -> None:
    """mine.txt was edited on both sides; the last sync left it as it is."""
    write(pair.here / "mine.txt", "old", age=50)
    write(pair.here / "data" / "a.csv", "1", age=50)
    pair.up()
    write(pair.here / "mine.txt", "my edit", age=20)
    write(pair.there / "mine.txt", "edited there")
    assert [kept.why for kept in pair.up().kept] == [NEWER_THERE]


def test_a_save_that_cannot_go_up_is_not_remembered_as_a_whole_sync(pair: Pair) -> None:
    conflict(pair)
    before = baseline.load(pair.box, pair.here)
    shutil.rmtree(pair.here / "data")
    (pair.here / "data").symlink_to("elsewhere")
    assert edits(pair, b"data") == Sent({}, set(), 1)
    assert baseline.load(pair.box, pair.here) == before
    assert {kept.path: kept.why for kept in pair.down().kept}["mine.txt"] == BOTH
    assert (pair.here / "mine.txt").read_text() == "my edit"


def test_no_saves_are_no_sync(pair: Pair) -> None:
    conflict(pair)
    before = baseline.load(pair.box, pair.here)
    assert edits(pair) == Sent({}, set(), 1)
    assert baseline.load(pair.box, pair.here) == before


def test_a_chosen_file_that_is_a_folder_there_is_kept_and_nothing_else_is_sent(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(pair.here)
    write(pair.here / "model.bin", "weights")
    write(pair.here / "other.txt", "not asked for")
    write(pair.there / "model.bin" / "part-1", "theirs")
    report = pair.up(paths=("model.bin",))
    assert (report.moved, [(k.path, k.why) for k in report.kept]) == (
        (),
        [("model.bin", IN_THE_WAY)],
    )
    assert files(pair.there) == {"model.bin/part-1": "theirs"}
    assert baseline.load(pair.box, pair.here).is_first


def test_a_file_there_stays_when_a_file_below_it_is_chosen(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(pair.here)
    write(pair.here / "a" / "b.txt", "mine")
    write(pair.here / "z" / "c.txt", "mine")
    write(pair.there / "a", "a file of the box")
    write(pair.there / "z", "a file of the box")
    report = pair.up(paths=("a/b.txt",))
    assert [(k.path, k.why) for k in report.kept] == [("a", IN_THE_WAY)]
    assert files(pair.there) == {"a": "a file of the box", "z": "a file of the box"}
    assert pair.up(paths=("a/b.txt",), force=True).moved == ("a/b.txt",)
    assert files(pair.there) == {"a/b.txt": "mine", "z": "a file of the box"}


def test_a_saved_folder_does_not_bring_a_link_that_is_something_else_there(pair: Pair) -> None:
    write(pair.here / "a.py", "1", age=50)
    pair.up()
    write(pair.here / "new" / "b.txt", "b")
    (pair.here / "new" / "link").symlink_to("b.txt")
    write(pair.there / "new" / "link", "a file of the box")
    edits(pair, b"new", b"new/link")
    assert files(pair.there / "new") == {"b.txt": "b", "link": "a file of the box"}


def ignored_outputs(pair: Pair) -> None:
    """outputs is a link here, and a folder of checkpoints that .gitignore names on the box."""
    write(pair.here / ".gitignore", "outputs/\n")
    write(pair.here / "a.py", "1")
    (pair.here / "outputs").symlink_to("/big/disk")
    write(pair.there / "outputs" / "best.ckpt", "weights")
    write(pair.there / "outputs" / "run" / "last.ckpt", "weights")
    (pair.there / "outputs" / "empty" / "folder").mkdir(parents=True)


def test_force_deletes_a_folder_of_the_box_only_after_a_yes(pair: Pair) -> None:
    ignored_outputs(pair)
    before = files(pair.there)
    no = Approve(False)
    report = pair.up(force=True, approve=no)
    assert no.shown == [("outputs/best.ckpt", "outputs/run/last.ckpt")]
    assert (report.deleted, [k.path for k in report.kept]) == ((), ["outputs"])
    assert files(pair.there).items() > before.items()
    assert (pair.there / "a.py").exists()
    yes = Approve(True)
    report = pair.up(force=True, approve=yes)
    assert yes.shown == no.shown == [report.deleted]
    assert report.kept == ()
    assert (pair.there / "outputs").readlink() == Path("/big/disk")


def test_force_leaves_what_came_into_the_folder_after_the_yes(pair: Pair) -> None:
    ignored_outputs(pair)

    def approve(_: tuple[str, ...]) -> bool:
        write(pair.there / "outputs" / "run" / "new.ckpt", "made meanwhile")
        return True

    with pytest.raises(SyncError, match="outputs"):
        pair.up(force=True, approve=approve)
    assert files(pair.there / "outputs") == {"run/new.ckpt": "made meanwhile"}


def test_force_for_a_path_leaves_other_folders_alone(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(pair.here)
    for name in ("x.txt", "y.txt"):
        write(pair.here / name, "a file")
        write(pair.there / name / "in.txt", "theirs")
    approve = Approve(True)
    report = pair.up(paths=("x.txt",), force=True, approve=approve)
    assert approve.shown == [("x.txt/in.txt",)] == [report.deleted]
    assert files(pair.there) == {"x.txt": "a file", "y.txt/in.txt": "theirs"}


def test_the_command_shows_what_force_deletes_and_needs_a_yes(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    (pair.here / "devbox.toml").write_text('project = "project"\n[boxes.b]\n')
    monkeypatch.chdir(pair.here)
    ignored_outputs(pair)
    done = CliRunner().invoke(cli, ["sync", "up", "--force"])
    assert isinstance(done.exception, UsageError)
    assert "to delete on b (2):\n  outputs/best.ckpt\n  outputs/run/last.ckpt" in done.stderr
    assert (pair.there / "outputs" / "best.ckpt").exists()
    done = CliRunner().invoke(cli, ["sync", "up", "--force", "--yes"])
    assert done.exit_code == 0
    assert "2 files deleted" in done.stderr


def rsync_that_first(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, script: str, *, when: str
) -> None:
    """Runs `script`, then the real rsync, where its arguments match the shell pattern `when`."""
    real = process.require("rsync")
    fake = pair.here.parent / "rsync"
    fake.write_text(f'#!/bin/sh\ncase "$*" in {when}) {script};; esac\nexec {real} "$@"\n')
    fake.chmod(0o755)
    was = process.require
    monkeypatch.setattr(
        process, "require", lambda name: str(fake) if name == "rsync" else was(name)
    )


def test_a_restored_file_that_could_not_go_up_is_an_error(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(pair.here / "a.txt", "new", age=50)
    pair.up()
    before = baseline.load(pair.box, pair.here)
    write(pair.here / "a.txt", "restored", age=5000)
    # The second run is the one that sends older files; by then a folder lies on the box.
    script = f"rm {pair.there}/a.txt; mkdir {pair.there}/a.txt; touch {pair.there}/a.txt/x"
    rsync_that_first(pair, monkeypatch, script, when="*--files-from*")
    with pytest.raises(SyncError, match=r"a\.txt"):
        pair.up()
    assert baseline.load(pair.box, pair.here) == before


def test_a_saved_file_that_is_gone_again_does_not_end_a_watch(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(pair.here / "a.txt", "a", age=50)
    pair.up()
    write(pair.here / "a.txt", "edited")
    write(pair.here / "b.tmp", "b")
    rsync_that_first(pair, monkeypatch, f"rm -f {pair.here}/b.tmp", when="*--files-from*")
    assert set(edits(pair, b"a.txt", b"b.tmp").items) == {b"a.txt"}
    assert files(pair.there) == {"a.txt": "edited"}


@pytest.mark.parametrize(
    ("one", "other", "both"), [(0, 0, 0), (24, 23, 23), (23, 0, 23), (0, 24, 24)]
)
def test_unsent_files_of_one_run_count_for_both(one: int, other: int, both: int) -> None:
    first = rsync_process.Outcome({}, {b"a"}, one, "first", 2)
    second = rsync_process.Outcome({}, {b"b"}, other, "second", 1)
    assert first.plus(second) == rsync_process.Outcome({}, {b"a", b"b"}, both, "first\nsecond", 2)


def test_the_box_is_asked_only_where_something_may_be_in_the_way(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(pair.here / "a.txt", "a", age=50)
    write(pair.here / "in" / "b.txt", "b", age=50)
    pair.up()
    asked: list[str] = []
    real = remote.Asking

    def asking(box: object, verb: str) -> remote.Asking:
        asked.append(verb)
        return real(pair.box, verb)

    monkeypatch.setattr(remote, "Asking", asking)
    write(pair.here / "a.txt", "edited")
    edits(pair, b"a.txt")
    assert asked == []
    edits(pair, b"in/b.txt")
    assert asked == ["look"]
    pair.up(force=True)
    assert "look" not in asked[1:]
