"""A devbox.toml as text whose comments stay: values set in a table of it, a box's tables taken out
and put under another name. Pure; `templates` reads and writes the files."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from itertools import pairwise

Value = str | int | float | bool | Sequence[str]
_TABLE = re.compile(r"^\[+\s*([^\]#]+?)\s*\]+", re.MULTILINE)
_VALUE = r'(?:"(?:[^"\\]|\\.)*"|\[[^\]#]*\]|[^\s#"\[]+)'


def literal(value: Value) -> str:
    """A value as TOML has it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, str):
        # JSON's strings are TOML's basic strings, but for DEL, which TOML wants escaped.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return f"[{', '.join(map(literal, value))}]"


def with_values(text: str, table: str, values: Mapping[str, Value | None]) -> str:
    """The same document with these keys of one of its tables set, in the line that has the key or,
    commented out, shows it; else in one of their own at the table's end. None comments a key out.
    KeyError for a table that is not there."""
    lines = text.splitlines()
    at = next((n for n, line in enumerate(lines) if _name(line) == table), None)
    if at is None:
        raise KeyError(table)
    end = next((n for n in range(at + 1, len(lines)) if _name(lines[n]) is not None), len(lines))
    for key, value in values.items():
        own = [n for n in range(at + 1, end) if _key(lines[n]) == key]
        if own:
            for line in own:
                lines[line] = _set(lines[line], key, value if line == own[0] else None)
        elif value is not None:
            while end > at + 1 and not lines[end - 1].strip():
                end -= 1
            lines.insert(end, f"{key} = {literal(value)}")
            end += 1
    return "\n".join(lines) + "\n"


def box_tables(text: str, box: str) -> str:
    """The tables of one box, `[boxes.NAME]` and those below it, with their comments."""
    starts = [(m.start(), m[1]) for m in _TABLE.finditer(text)] + [(len(text), "")]
    own = (f"boxes.{box}", f"boxes.{box}.")
    parts = [
        text[start:stop].rstrip()
        for (start, name), (stop, _) in pairwise(starts)
        if name == own[0] or name.startswith(own[1])
    ]
    return "\n\n".join(parts) + "\n"


def renamed(text: str, old: str, new: str) -> str:
    """The same with the tables of box `old` under the name `new`."""
    lines = text.replace(f"up {old}`", f"up {new}`").splitlines()
    return "".join(f"{_renamed(line, f'[boxes.{old}', f'[boxes.{new}')}\n" for line in lines)


def _renamed(line: str, old: str, new: str) -> str:
    """The line with its comment in the same column, where there is room."""
    found = re.match(rf"((?:# ?)?{re.escape(old)}[^#]*)(#.*)?$", line)
    if not found:
        return line
    longer = found[1].replace(old, new)
    return f"{longer.rstrip():{len(found[1]) - 2}}  {found[2]}" if found[2] else longer


def _name(line: str) -> str | None:
    found = _TABLE.match(line)
    return found[1] if found else None


def _key(line: str) -> str:
    """The key that a line sets, or would without its `#`."""
    found = re.match(rf"(?:# ?)?([A-Za-z0-9_.-]+) = {_VALUE}\s*(?:#.*)?$", line)
    return found[1] if found else ""


def _set(line: str, key: str, value: Value | None) -> str:
    if value is None:
        return line if line.startswith("#") else f"# {line}"
    found = re.fullmatch(rf"(?P<before>(?:# ?)?[A-Za-z0-9_.-]+ = {_VALUE}\s*)(?P<note>#.*)?", line)
    assert found is not None
    told = f"{key} = {literal(value)}"
    if not found["note"]:
        return told
    return f"{told.ljust(len(found['before']) - 2)}  {found['note']}"
