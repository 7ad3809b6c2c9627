"""An image's build as a user follows it: the step that runs now, out of the lines of its log."""

from __future__ import annotations

import re

from devbox.images import dockerfile
from devbox.text import clean

#: instructions that a builder runs as steps; the others only set something
_STEPS = ("FROM", "RUN", "COPY", "ADD", "WORKDIR")
#: how builders begin a step in their logs: BuildKit, the classic builder, Modal's, that of Spaces
_MARKS = (
    re.compile(r"\[(?:[\w.-]+ )? *(?P<number>\d+)/(?P<total>\d+)\] (?P<text>.+)"),
    re.compile(r"Step (?P<number>\d+)/(?P<total>\d+) : (?P<text>.+)"),
    re.compile(r"=> Step (?P<number>\d+): (?P<text>.+)"),
    re.compile(rf"--> (?P<text>(?:{'|'.join(_STEPS)})\b.*)"),
)
_TROUBLE = re.compile(
    r"(?:error|exception)s?\b|\b(?:fatal|failed|failure|traceback|denied|unauthorized|killed"
    r"|no space left|out of memory)\b",
    re.IGNORECASE,
)
_WIDEST = 500  # characters of a step


def count(text: str) -> int:
    """How many steps the build of a Dockerfile has."""
    return sum(each.word in _STEPS for each in dockerfile.last_stage(dockerfile.parse(text)))


def is_trouble(line: str) -> bool:
    """Whether a line of the log may tell why a build failed, or did less than it should."""
    return bool(_TROUBLE.search(line)) and not any(mark.match(line) for mark in _MARKS)


class BuildProgress:
    """number: of the step that runs, 0 before the first. total: of all, None where that is unknown.
    text: the instruction. last: the latest line that was not a step's beginning."""

    def __init__(self) -> None:
        self.number = 0
        self.total: int | None = None
        self.text = self.last = ""

    def line(self, line: str, steps: int | None = None) -> bool:
        """Take one line of the log; whether it begins a step. steps: of the whole build, where its
        log numbers none."""
        found = next((match for mark in _MARKS if (match := mark.match(line))), None)
        if found is None:
            self.last = line.strip() or self.last
            return False
        named = found.groupdict()
        self.number = _small(named.get("number")) or (
            self.number + 1 if "number" not in named else 0
        )
        self.total = _small(named.get("total")) or steps
        if self.total is not None and self.total < self.number:
            self.total = None
        self.text, self.last = clean(named["text"].strip(), _WIDEST), ""
        return True

    def shown(self) -> str:
        """'build 4/12 RUN pip install torch'; '' before the first step."""
        of = "" if self.total is None else f"/{self.total}"
        return f"build {self.number}{of} {self.text}" if self.text else ""


def _small(text: str | None) -> int:
    """A number as a builder writes it; 0 for one that no build has."""
    return int(text) if text and len(text) <= 5 else 0
