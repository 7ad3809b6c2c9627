"""What is a folder on one side and a file or link on the other; tracked, sparse and fetched files;
and a dry run that tells what the real run does."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from devbox.ignore import tree
from devbox.sync import target as place
from devbox.sync.compare import IN_THE_WAY, LEADS_OUT
from devbox.sync.push import Push
from devbox.sync.rsync import Options
from tests.sync.conftest import Pair, files, write

Make = Callable[[Path], object]


def folder(at: Path) -> None:
    write(at / "in" / "side.txt", "a folder's")


def file(at: Path) -> None:
    write(at, "a file's")


def link(at: Path) -> None:
    at.symlink_to("a.py")


def link_to_folder(at: Path) -> None:
    (at.parent / "elsewhere").mkdir(exist_ok=True)
    at.symlink_to("elsewhere")


CLASHES = [
    (folder, file),
    (folder, link),
    (folder, link_to_folder),
    (link, folder),
    (link, file),
    (file, folder),
]


@pytest.mark.parametrize(("mine", "theirs"), CLASHES)
def test_what_has_another_kind_on_the_box_is_told_and_the_rest_goes_up(
    pair: Pair, mine: Make, theirs: Make
) -> None:
    write(pair.here / "a.py", "1", age=50)
    pair.up()
    mine(pair.here / "x")
    theirs(pair.there / "x")
    write(pair.here / "a.py", "2")
    before = files(pair.there)
    dry = pair.up(dry_run=True)
    report = pair.up()
    assert [(kept.path, kept.why) for kept in report.kept] == [("x", IN_THE_WAY)]
    assert files(pair.there) == before | {"a.py": "2"}
    assert (dry.moved, dry.kept) == (report.moved, report.kept)


@pytest.mark.parametrize(("mine", "theirs"), CLASHES)
def test_force_makes_way_after_a_yes(pair: Pair, mine: Make, theirs: Make) -> None:
    write(pair.here / "a.py", "1", age=50)
    pair.up()
    mine(pair.here / "x")
    theirs(pair.there / "x")
    report = pair.up(force=True, approve=lambda _: True)
    assert report.kept == ()
    assert report.deleted == (("x/in/side.txt",) if theirs is folder else ())
    here, there = files(pair.here), files(pair.there)
    assert {name: here[name] for name in here if name.startswith("x")} == {
        name: there[name] for name in there if name.startswith("x")
    }


@pytest.mark.parametrize(("mine", "theirs"), CLASHES)
def test_a_watch_lives_on_with_what_has_another_kind(pair: Pair, mine: Make, theirs: Make) -> None:
    write(pair.here / "a.py", "1", age=50)
    pair.up()
    mine(pair.here / "x")
    theirs(pair.there / "x")
    before = files(pair.there)
    write(pair.here / "a.py", "2")
    where = place.find(pair.ws, pair.box)
    push = Push(pair.ws, pair.box, where, Options())
    push.edits(tree.read(where.root, where.sync).rules, [b"a.py", b"x"])
    assert push.blocked == {b"x"}
    assert files(pair.there) == before | {"a.py": "2"}


def test_what_was_sent_and_not_touched_there_may_change_its_kind(pair: Pair) -> None:
    write(pair.here / "x", "1", age=50)
    write(pair.here / "y", "1", age=50)
    pair.up()
    (pair.here / "x").unlink()
    folder(pair.here / "x")
    (pair.here / "y").unlink()
    (pair.here / "y").symlink_to("x")
    assert pair.up().kept == ()
    assert files(pair.there) == {"x/in/side.txt": "a folder's", "y": "-> x"}


def test_tracked_files_go_although_an_ignore_file_names_them(pair: Pair) -> None:
    def git(*words: str) -> str:
        done = subprocess.run(
            ["git", "-c", "user.name=x", "-c", "user.email=x@y", *words],
            cwd=pair.here, check=True, capture_output=True, text=True,
        )  # fmt: skip
        return done.stdout

    git("init", "-q")
    for name in ("outputs/keep.txt", "outputs/drop.txt", "a.pt", "b.pt", "deep/c/d.log", "e.py"):
        write(pair.here / name, name)
    write(pair.here / "not_on_boxes.csv", "x")
    write(pair.here / ".gitignore", "outputs/\n*.pt\n*.log\n")
    write(pair.here / ".dockerignore", "not_on_boxes.csv\n")
    git("add", ".")
    git("add", "-f", "outputs/keep.txt", "a.pt", "deep/c/d.log", "not_on_boxes.csv")
    pair.up()
    oracle = set(git("ls-files").splitlines()) - {"not_on_boxes.csv"}
    assert set(files(pair.there)) == oracle
    write(pair.there / "outputs" / "keep.txt", "from the box")
    write(pair.there / "outputs" / "more.txt", "from the box")
    assert pair.down().moved == ("outputs/keep.txt",)


def test_holes_stay_holes_both_ways(pair: Pair) -> None:
    for side, other, go in (
        (pair.here, pair.there, pair.up),
        (pair.there, pair.here, pair.down),
    ):
        name = f"from-{side.name}.bin"
        side.mkdir(exist_ok=True)
        with (side / name).open("wb") as stream:
            stream.write(b"begin")
            stream.truncate(64 << 20)
        go()
        assert (other / name).stat().st_size == 64 << 20
        assert (other / name).stat().st_blocks * 512 < 1 << 20


def test_fetched_results_are_not_sent_back(pair: Pair) -> None:
    write(pair.here / "results" / "track-20261122-151203-x7f2" / "tracks.json", "{}")
    write(pair.here / "results" / "mine.csv", "1")
    write(pair.here / "results" / "paper-2026" / "fig.csv", "1")
    pair.up()
    assert set(files(pair.there)) == {"results/mine.csv", "results/paper-2026/fig.csv"}


def test_a_dry_run_counts_what_the_real_run_does(pair: Pair) -> None:
    for side, go in ((pair.here, pair.up), (pair.there, pair.down)):
        write(side / "sub" / "a.txt", side.name)
        write(side / "b.txt", "12345")
        for name, target in {
            "inside": "b.txt",
            "sub/up": "../b.txt",
            "dangling": "nowhere",
            "absolute": "/etc/passwd",
            "out": "../../etc/passwd",
            "sub/out": "../../x",
            "sub/around": "a.txt/../../../x",
        }.items():
            path = side / (name if side is pair.here else f"their-{name.replace('/', '-')}")
            path.parent.mkdir(exist_ok=True)
            path.symlink_to(target)
        dry, real = go(dry_run=True), go()
        assert (dry.moved, dry.bytes, dry.kept) == (real.moved, real.bytes, real.kept)
        assert go().moved == ()
    left = {kept.path for kept in pair.down().kept if kept.why == LEADS_OUT}
    assert {"their-absolute", "their-out", "their-sub-around"} <= left
    assert not any(os.path.lexists(pair.here / name) for name in left if "their" in name)
