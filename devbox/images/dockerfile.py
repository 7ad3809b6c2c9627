"""A Dockerfile as instructions: continuations joined, comments and here-documents understood,
ARG and ENV values filled in where they are known."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from typing import NamedTuple

_HEREDOC = re.compile(r"<<-?(['\"]?)(\w+)\1")
_VARIABLE = re.compile(r"(?<!\\)\$(?:\{(\w+)(?::([-+])([^}]*))?\}|(\w+))")
_ESCAPE = re.compile(r"#\s*escape\s*=\s*(\S)\s*", re.IGNORECASE)


class Instruction(NamedTuple):
    """line: where it begins, from 1. word: in capitals. flags: its `--name=value` options. text:
    the rest with known variables filled in; raw: as written. stage: how many FROMs came before
    and with it, 0 before the first."""

    line: int
    word: str
    flags: dict[str, str]
    text: str
    raw: str
    stage: int


def parse(text: str, args: Mapping[str, str] | None = None) -> list[Instruction]:
    """args: build arguments given, which win over the defaults of ARG. A variable without a known
    value stays as written."""
    given = dict(args or {})
    known: dict[str, str] = {}
    globals_: dict[str, str] = {}
    stage = 0
    out = []
    for line, raw in _logical(text):
        word, _, rest = raw.strip().partition(" ")
        word = word.upper()
        flags, rest = _flags(rest.strip())
        if word == "FROM":
            stage += 1
            shown = _fill(rest, globals_)
            known = {}
        else:
            shown = _fill(rest, known)
        if word == "ARG":
            for name, value in _arguments(shown).items():
                default = globals_.get(name, "") if value is None and stage else value
                if (chosen := given.get(name, default)) is not None:
                    known[name] = chosen
                    shown = shown if value == chosen else f"{name}={chosen}"
                    if not stage:
                        globals_[name] = chosen
        elif word == "ENV":
            known.update(assignments(shown))
        out.append(Instruction(line, word, flags, shown, rest, stage))
    return out


def assignments(text: str) -> dict[str, str]:
    """The pairs of an ENV or LABEL instruction, in either of its two forms."""
    words = _words(text)
    if words and "=" not in words[0]:
        return {words[0]: text.partition(" ")[2].strip()}
    return dict(word.split("=", 1) for word in words if "=" in word)


def last_stage(found: list[Instruction]) -> list[Instruction]:
    """The instructions of the image that is built, with those of the stages it builds on."""
    last = max((each.stage for each in found), default=0)
    names = {
        words[2].lower(): each.stage
        for each in found
        if each.word == "FROM" and len(words := each.text.split()) == 3 and words[1].lower() == "as"
    }
    wanted, stage = set(), last
    while stage and stage not in wanted:
        wanted.add(stage)
        base = next(each.text for each in found if each.word == "FROM" and each.stage == stage)
        stage = names.get(base.split()[0].lower(), 0) if base.split() else 0
    return [each for each in found if each.stage in wanted]


def _logical(text: str) -> list[tuple[int, str]]:
    escape, out = "\\", []
    lines = text.splitlines()
    if lines and (found := _ESCAPE.fullmatch(lines[0].strip())):
        escape = found.group(1)
    index = 0
    while index < len(lines):
        begun, whole = index + 1, ""
        while index < len(lines):
            line = lines[index]
            index += 1
            if line.lstrip().startswith("#") or (whole and not line.strip()):
                continue
            if line.rstrip().endswith(escape):
                whole += line.rstrip()[: -len(escape)] + " "
                continue
            whole += line
            break
        if whole.split(" ", 1)[0].upper() in ("RUN", "COPY", "ADD"):
            for _, end in _HEREDOC.findall(whole):
                while index < len(lines):
                    line = lines[index]
                    index += 1
                    if line.strip() == end:
                        break
                    whole += "\n" + line
        if whole.strip():
            out.append((begun, whole))
    return out


def _flags(rest: str) -> tuple[dict[str, str], str]:
    flags: dict[str, str] = {}
    while rest.startswith("--"):
        flag, _, rest = rest.partition(" ")
        name, _, value = flag[2:].partition("=")
        flags[name] = f"{flags[name]} {value}" if name in flags else value
        rest = rest.lstrip()
    return flags, rest


def _arguments(text: str) -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    for word in _words(text):
        name, equals, value = word.partition("=")
        found[name] = value if equals else None
    return found


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:  # an unclosed quote: the engine will say so
        return text.split()


def _fill(text: str, known: Mapping[str, str]) -> str:
    def value(match: re.Match[str]) -> str:
        name, sign, word = match.group(1) or match.group(4), match.group(2), match.group(3) or ""
        if sign == "+":
            return word if known.get(name) else ("" if name in known else match.group(0))
        if sign == "-":
            return known.get(name) or word
        return known.get(name, match.group(0))

    return _VARIABLE.sub(value, text)
