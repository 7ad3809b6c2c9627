"""`devbox-box setup look`: a `SetupPlan` on stdin → a `SetupState`. Git's name and email, which
take no time, are given on the way; the rest is work of a run (`devbox.box.setup.work`)."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import List, Union

from devbox.box.paths import home
from devbox.box.runs import folder
from devbox.box.setup import record
from devbox.wire.codec import Unreadable, decode, encode
from devbox.wire.jobs import Refusal
from devbox.wire.setup import SetupPlan, SetupState

_MOST = 4 << 20  # bytes


def main(argv: List[str]) -> int:
    """The verb."""
    answer: Union[SetupState, Refusal]
    try:
        if argv != ["look"]:
            raise Unreadable("usage: setup look")
        answer = look(decode(sys.stdin.buffer.read(_MOST + 1), SetupPlan, limit=_MOST))
    except (Unreadable, OSError) as error:
        answer = Refusal("bad_request", f"its setup cannot be looked at: {error}")
    sys.stdout.buffer.write(encode(answer))
    return int(isinstance(answer, Refusal))


def look(plan: SetupPlan) -> SetupState:
    """How much of the plan is there."""
    if plan.name and plan.email:
        _introduce(plan.name, plan.email)
    known = record.read(home(plan.workdir))
    runs = known.run in folder.active()
    done = record.common(known.done, plan.lines)
    tried = known.failed and not runs and plan.lines[: done + 1] == known.wanted[: done + 1]
    return SetupState(
        done=done,
        dotfiles=plan.dotfiles in ("", record.login().dotfiles),
        run=known.run if runs else "",
        same=known.wanted == plan.lines,
        failed=known.failed if tried else "",
        failed_in=known.run if tried else "",
    )


def _introduce(name: str, email: str) -> None:
    """Tell git who commits here, unless it has a name or an email already."""
    git = shutil.which("git")
    if git is None or any(_said(git, "--get", key) for key in ("user.name", "user.email")):
        return
    _said(git, "--global", "user.name", name)
    _said(git, "--global", "user.email", email)


def _said(git: str, *words: str) -> bytes:
    # In the login folder: a repository's own settings are not the box's.
    done = subprocess.run(
        [git, "config", *words],
        cwd=os.path.expanduser("~"),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    return done.stdout
