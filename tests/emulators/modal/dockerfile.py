"""Dockerfile commands as the client sends them, made into instructions."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

REFERENCE = re.compile(r"\\?\$(?:\{(\w+)(?::-([^}]*))?\}|(\w+))")

HERE_DOCUMENT = re.compile(r"<<-?[\"']?(\w+)[\"']?")
HERE_SCRIPT = re.compile(r"<<-?[\"']?(\w+)[\"']?\n(.*)\n\s*\1\s*", re.DOTALL)
WORDS = frozenset(
    (
        *("ADD", "ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "FROM", "HEALTHCHECK"),
        *("LABEL", "MAINTAINER", "ONBUILD", "RUN", "SHELL", "STOPSIGNAL", "USER", "VOLUME"),
        "WORKDIR",
    )
)


@dataclass(frozen=True)
class Instruction:
    """One instruction: its word in capitals, its flags, and the rest as written."""

    word: str
    flags: Mapping[str, str]
    rest: str

    @property
    def text(self) -> str:
        return f"{self.word} {self.rest}"


def parse(commands: Sequence[str]) -> list[Instruction]:
    """Join continued lines, drop comments, split off the flags.

    Raises:
        ValueError: a line that begins with no instruction.
    """
    return [_instruction(line) for line in _logical_lines(commands)]


def expand(text: str, env: Mapping[str, str]) -> str:
    """``$NAME``, ``${NAME}`` and ``${NAME:-default}`` replaced; ``\\$`` stays a dollar."""

    def value(match: re.Match[str]) -> str:
        if match.group(0).startswith("\\"):
            return match.group(0)[1:]
        return env.get(match.group(1) or match.group(3)) or match.group(2) or ""

    return REFERENCE.sub(value, text)


def assignments(rest: str) -> dict[str, str]:
    """The pairs of an ENV or ARG instruction, in either of its two forms."""
    words = shlex.split(rest)
    if words and "=" not in words[0]:
        name, _, value = rest.partition(" ")
        return {name: value.strip()}
    return dict(word.split("=", 1) for word in words if "=" in word)


def command(rest: str) -> list[str]:
    """A CMD or ENTRYPOINT: the JSON form as it is, the shell form through ``/bin/sh -c``."""
    words = json_words(rest)
    return ["/bin/sh", "-c", rest] if words is None else words


def json_words(rest: str) -> list[str] | None:
    """The words of a JSON form, or ``None``."""
    if not rest.lstrip().startswith("["):
        return None
    try:
        words = json.loads(rest)
    except json.JSONDecodeError:
        return None
    return [str(word) for word in words]


def _logical_lines(commands: Sequence[str]) -> list[str]:
    """Instructions as single texts: a backslash or an open here-document takes the next line in."""
    logical: list[str] = []
    pending, closing = "", ""
    for line in "\n".join(commands).split("\n"):
        if closing:
            pending += f"\n{line}"
            if line.strip() == closing:
                logical.append(pending)
                pending, closing = "", ""
        elif line.lstrip().startswith("#") or (not line.strip() and not pending):
            continue
        elif line.rstrip().endswith("\\"):
            pending += line.rstrip()[:-1] + " "
        else:
            pending += line
            opened = HERE_DOCUMENT.search(pending) if pending.lstrip().startswith("RUN") else None
            if opened:
                closing = opened.group(1)
            else:
                logical.append(pending)
                pending = ""
    return [*logical, pending] if pending else logical


def _instruction(line: str) -> Instruction:
    word, _, rest = line.strip().partition(" ")
    if word.upper() not in WORDS:
        raise ValueError(f"dockerfile parse error: unknown instruction: {word}")
    flags: dict[str, str] = {}
    rest = rest.strip()
    while rest.startswith("--"):
        flag, _, rest = rest.partition(" ")
        name, _, value = flag[2:].partition("=")
        flags[name] = value
        rest = rest.lstrip()
    if script := HERE_SCRIPT.fullmatch(rest):
        rest = script.group(2)
    return Instruction(word.upper(), flags, rest)
