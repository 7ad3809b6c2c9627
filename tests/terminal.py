"""A program at a terminal of its own, and a user who answers its questions."""

from __future__ import annotations

import os
import pty
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


class Typed(NamedTuple):
    """What it ended with, and all that was on the screen, without colours."""

    code: int
    screen: str


def type_at(
    words: Sequence[str],
    answers: Sequence[tuple[str, str]] = (),
    *,
    folder: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> Typed:
    """Run `words` to the end. answers: (what its question ends with, what is typed then)."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(folder or ".")
        os.execvpe(words[0], list(words), dict(env or os.environ))
    seen, left, at = b"", list(answers), 0
    with suppress(OSError):
        while data := os.read(terminal, 4096):
            seen += data
            while left and left[0][0].encode() in seen[at:]:
                question, answer = left.pop(0)
                at += seen[at:].index(question.encode()) + len(question)
                os.write(terminal, f"{answer}\n".encode())
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    os.close(terminal)
    screen = _COLOUR.sub("", seen.decode(errors="replace").replace("\r\n", "\n"))
    assert not left, f"never asked {left[0][0]!r}:\n{screen}"
    return Typed(code, screen)
