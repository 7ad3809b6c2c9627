"""What a stop loses, as the user reads it before it."""

from __future__ import annotations

import pytest

from devbox.lifecycle.losses import SHOWN, Losses
from devbox.sync.status import File
from devbox.sync.unsaved import Group


def file(name: str, size: int = 1000) -> File:
    return File(name, size, 1.0)


@pytest.mark.parametrize(
    ("losses", "lines"),
    [
        (Losses("b"), []),
        (
            Losses("b", running=("r1",), unknown="it is paused"),
            ["b: run r1 has not ended: this ends it", "b: it is paused"],
        ),
        (
            Losses("b", compared="42 files of /p were compared"),
            ["b: found no file that is not here; 42 files of /p were compared"],
        ),
        (
            Losses("b", unfetched=("r1",), runs_saved=True),
            ["b: the results of run r1 were never fetched (fetched first)"],
        ),
        (
            Losses(
                "b",
                groups=(Group("held", 1, 1000, (file("it's.py"),)),),
                compared="/p was compared",
            ),
            [
                "b: 1 file held back, because programs here act on such files, 1000 B "
                """(NOT fetched: devbox sync down b --path 'it'"'"'s.py')""",
                "  it's.py  1000 B",
                "  /p was compared",
            ],
        ),
        (
            Losses(
                "b",
                alias="devbox-b",
                groups=(
                    Group("only", 2, 1000, (file("a"),)),
                    Group("outside", 3, 1000, complete=False),
                ),
                saved=("only",),
            ),
            [
                "b: 2 files only on it, 1000 B (fetched first)",
                "  a  1000 B",
                "  … and 1 more",
                "b: at least 3 files outside the synced folder, 1000 B "
                "(NOT fetched: copy what you want: scp devbox-b:. .)",
                "  … and 3 more",
            ],
        ),
    ],
)
def test_each_line_says_what_is_lost_and_how_it_is_kept(losses: Losses, lines: list[str]) -> None:
    assert losses.lines() == lines


def test_what_is_saved_first_is_not_left() -> None:
    groups = (Group("only", 2, 9), Group("ignored", 3, 9))
    assert Losses("b", groups=groups).left == 5
    assert Losses("b", groups=groups, saved=("only",)).left == 3


def test_of_many_runs_the_first_are_named_and_the_others_counted() -> None:
    lines = Losses("b", unfetched=tuple(f"r{n}" for n in range(SHOWN + 4))).lines()
    assert len(lines) == SHOWN + 1
    assert lines[0] == "b: the results of run r0 were never fetched (devbox attach r0)"
    assert lines[-1] == "  … nor those of 4 more (devbox runs)"
