"""Here-documents of a Dockerfile line, found as BuildKit finds them: `<<` begins one only where it
begins a word. `$((1<<20))`, `"<<EOF"` and `cat<<EOF` are none."""

from __future__ import annotations

import re
from typing import NamedTuple

_WORD = re.compile(r"\d*<<(-?)([^<]*)")


class Heredoc(NamedTuple):
    """end: the line that ends it, whole. tabs: leading tabs are ignored in it (`<<-`)."""

    end: str
    tabs: bool


def of_line(line: str, escape: str = "\\") -> list[Heredoc]:
    """Those whose text follows a RUN, COPY or ADD line, in order. None where a quote is open."""
    found = []
    for word in words(line, escape) or []:
        match = _WORD.fullmatch(word)
        if match and match.group(2):
            names = words(match.group(2), escape)
            if names is not None and len(names) == 1:
                found.append(Heredoc(_bare(names[0], escape), bool(match.group(1))))
    return found


def words(line: str, escape: str = "\\") -> list[str] | None:
    """Words as the shell of BuildKit splits them, quotes and escapes kept. None for an open quote.
    White space inside quotes and inside `${…}` belongs to its word."""
    found: list[str] = []
    word, quote, braces, index = "", "", 0, 0
    while index < len(line):
        char = line[index]
        if char == escape and quote != "'" and index + 1 < len(line):
            word += line[index : index + 2]
            index += 2
            continue
        if quote:
            quote = "" if char == quote else quote
        elif char in "'\"":
            quote = char
        elif line.startswith("${", index):
            braces += 1
        elif char == "}" and braces:
            braces -= 1
        elif char.isspace() and not braces:
            if word:
                found.append(word)
            word, char = "", ""
        word += char
        index += 1
    if quote or braces:
        return None
    return [*found, word] if word else found


def _bare(word: str, escape: str) -> str:
    """Without its quotes and escapes."""
    out, quote, index = "", "", 0
    while index < len(word):
        char = word[index]
        if char == escape and quote != "'" and index + 1 < len(word):
            out += word[index + 1]
            index += 2
            continue
        if char == quote:
            quote = ""
        elif char in "'\"" and not quote:
            quote = char
        else:
            out += char
        index += 1
    return out
