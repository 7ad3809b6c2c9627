"""A Dockerfile as instructions, cut as BuildKit's own parser cuts it (moby/buildkit,
frontend/dockerfile/parser): white space of any kind separates words, a byte order mark is dropped,
continuations are joined, comments and here-documents understood. ARG and ENV values are filled in
where they are known."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from typing import NamedTuple

from devbox.images import heredocs

_VARIABLE = re.compile(r"(?<!\\)\$(?:\{(\w+)(?::([-+])([^}]*))?\}|(\w+))")
_DIRECTIVE = re.compile(r"#\s*([a-zA-Z][a-zA-Z0-9]*)\s*=\s*(.+?)\s*")
_WITH_HEREDOCS = ("RUN", "COPY", "ADD")


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
        word, rest = _cut(raw)
        flags, rest = _flags(rest)
        if word == "FROM":
            stage += 1
            shown = _fill(rest, globals_)
            known = {}
        else:
            shown = _fill(rest, known)
        if word == "ARG":
            for name, value in arguments(shown).items():
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
        return {words[0]: "".join(text.split(None, 1)[1:]).strip()}
    return dict(word.split("=", 1) for word in words if "=" in word)


def arguments(text: str) -> dict[str, str | None]:
    """The names of an ARG instruction, each with its default."""
    found: dict[str, str | None] = {}
    for word in _words(text):
        name, equals, value = word.partition("=")
        found[name] = value if equals else None
    return found


def base(found: Instruction) -> str:
    """What a FROM builds on; empty for a FROM without one."""
    return next(iter(found.text.split()), "")


def stage_name(found: Instruction) -> str:
    """What a FROM calls its stage, in small letters; empty when it has no `AS name`."""
    words = found.text.split()
    return words[2].lower() if len(words) == 3 and words[1].lower() == "as" else ""


def last_stage(found: list[Instruction]) -> list[Instruction]:
    """The instructions of the image that is built, with those of the stages it builds on. A stage
    builds on an earlier one only: its own name, or a later one's, is an image of that name."""
    stages = {each.stage: each for each in found if each.word == "FROM"}
    wanted, stage = set(), max(stages, default=0)
    while stage:
        wanted.add(stage)
        wants = base(stages[stage]).lower()
        stage = max((n for n in stages if n < stage and stage_name(stages[n]) == wants), default=0)
    return [each for each in found if each.stage in wanted]


def _logical(text: str) -> list[tuple[int, str]]:
    """Each instruction with the number of its first line and the text of its here-documents."""
    lines = [line.removesuffix("\r") for line in text.removeprefix("\ufeff").split("\n")]
    escape = _escape(lines)
    continued = re.compile(rf"(^|[^{re.escape(escape)}]){re.escape(escape)}[ \t]*$")
    out = []
    index = 0
    while index < len(lines):
        begun, whole, going = 0, "", True
        while going and index < len(lines):
            line = lines[index]
            index += 1
            if line.lstrip().startswith("#") or (whole and not line.strip()):
                continue
            begun = begun or index
            going = bool(continued.search(line))
            whole += continued.sub(r"\1", line) if going else line
            if not whole.strip():
                break
        if not whole.strip():
            continue
        word, rest = _cut(whole)
        if word in _WITH_HEREDOCS or (word == "ONBUILD" and _cut(rest)[0] in _WITH_HEREDOCS):
            for each in heredocs.of_line(rest, escape):
                while index < len(lines):
                    line = lines[index].lstrip("\t") if each.tabs else lines[index]
                    index += 1
                    if line == each.end:
                        break
                    whole += "\n" + line
        out.append((begun, whole))
    return out


def _escape(lines: list[str]) -> str:
    """The escape character: of the directives that come before anything else."""
    for line in lines:
        found = _DIRECTIVE.fullmatch(line.strip())
        if not found:
            break
        if found.group(1).lower() == "escape" and found.group(2) in ("`", "\\"):
            return found.group(2)
    return "\\"


def _cut(line: str) -> tuple[str, str]:
    """(instruction in capitals, the rest)."""
    word, *rest = line.split(None, 1) or [""]
    return word.upper(), "".join(rest).strip()


def _flags(rest: str) -> tuple[dict[str, str], str]:
    flags: dict[str, str] = {}
    while rest.startswith("--"):
        flag, *after = rest.split(None, 1)
        rest = "".join(after)
        name, _, value = flag[2:].partition("=")
        flags[name] = f"{flags[name]} {value}" if name in flags else value
    return flags, rest


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
