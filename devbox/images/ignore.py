"""`.dockerignore` as the engine reads it: patterns count from the root, the last that matches a
path or a folder above it decides. One regular expression answers for all patterns at once."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

FILE = ".dockerignore"
#: left out before the user's own lines, which may bring them back with `!`
DEFAULTS = (
    ".git",
    ".hg",
    ".svn",
    ".venv",
    "venv",
    ".devbox",
    "**/__pycache__",
    "**/*.py[co]",
    "**/node_modules",
    "**/.mypy_cache",
    "**/.pytest_cache",
    "**/.ruff_cache",
    "**/.ipynb_checkpoints",
    "**/.DS_Store",
)


class Ignore:
    """lines: of a .dockerignore, comments and all, after the defaults."""

    def __init__(self, lines: Iterable[str] = ()) -> None:
        patterns = [*DEFAULTS, *filter(None, map(_cleaned, lines))]
        #: whether something inside an ignored folder may be wanted after all
        self.has_exceptions = any(pattern.startswith("!") for pattern in patterns)
        self._patterns = patterns
        self._keeps = [pattern.startswith("!") for pattern in patterns]
        # The first alternative that fits is taken, so the last pattern comes first.
        alternatives = [
            f"(?P<p{index}>{_translated(pattern.lstrip('!'))})"
            for index, pattern in reversed(list(enumerate(patterns)))
        ]
        self._match = re.compile(f"(?:{'|'.join(alternatives)})(?:/.*)?", re.DOTALL).fullmatch

    def out(self, path: str) -> bool:
        """Whether a path relative to the root stays out of the context."""
        found = self._match(path)
        return found is not None and not self._keeps[int((found.lastgroup or "p0")[1:])]

    def rule(self, path: str) -> str:
        """The pattern that decides about a path; empty when none does."""
        found = self._match(path)
        return self._patterns[int((found.lastgroup or "p0")[1:])] if found else ""


def read(root: Path) -> Ignore:
    """The rules of a project folder."""
    file = root / FILE
    if not file.is_file():
        return Ignore()
    return Ignore(file.read_text(encoding="utf-8", errors="replace").splitlines())


def _cleaned(raw: str) -> str:
    line = raw.strip()
    if not line or line.startswith("#"):
        return ""
    keep = "!" if line.startswith("!") else ""
    parts = [part for part in line.removeprefix("!").strip().split("/") if part not in ("", ".")]
    return f"{keep}{'/'.join(parts)}" if parts else ""


def _translated(pattern: str) -> str:
    """A pattern of Go's filepath.Match, with `**` for any number of folders."""
    out, index = "", 0
    while index < len(pattern):
        char = pattern[index]
        index += 1
        if pattern.startswith("**/", index - 1):
            out, index = out + "(?:.*/)?", index + 2
        elif pattern.startswith("**", index - 1):
            out, index = out + ".*", index + 1
        elif char == "*":
            out += "[^/]*"
        elif char == "?":
            out += "[^/]"
        elif char == "[" and (end := pattern.find("]", index + 1)) > 0:
            inner = pattern[index:end].replace("\\", "\\\\")
            out, index = out + f"[{inner}]", end + 1
        elif char == "\\" and index < len(pattern):
            out, index = out + re.escape(pattern[index]), index + 1
        else:
            out += re.escape(char)
    return out
