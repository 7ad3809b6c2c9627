"""The messages of a box's setup: what it is to have besides its image, and what of it is there."""

from __future__ import annotations

from typing import Annotated, NamedTuple, Tuple

from devbox.wire.codec import Text, Word


class SetupPlan(NamedTuple):
    """workdir: as of `JobRequest`. lines: commands for the box's shell, in order. dotfiles: what
    `git clone` takes, or a folder on the box relative to the login folder, "" for none. name,
    email: git's, for a box that has neither; "" for none."""

    workdir: Word = "work"
    lines: Tuple[Word, ...] = ()
    dotfiles: Word = ""
    name: Word = ""
    email: Word = ""


class SetupState(NamedTuple):
    """How much of a plan the box has. done: lines, counted from the first. dotfiles: they are
    there, or none are wanted. run: the run that works on a setup in this workdir right now, "" for
    none; same: that run has these lines. failed: how the line after those that are done ended in
    the latest run, "" when it was not tried; failed_in: that run."""

    done: int = 0
    dotfiles: bool = True
    run: Word = ""
    same: bool = False
    failed: Annotated[str, Text(500)] = ""
    failed_in: Word = ""
