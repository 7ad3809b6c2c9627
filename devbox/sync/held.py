"""Files that programs here act on by themselves, and that a box may therefore not bring along.

An editor runs tasks of a folder that is opened, direnv and mise what a folder says that is
entered, git hooks what lies in it at the next commit, a forge its workflows at the next push, and
devbox its own file. Code that somebody runs (a Makefile, a conftest.py) is not among them. Pure.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from devbox.sync.rules import selection

#: Names of files and folders, at any depth, as on a file system that does not tell case.
NAMES = frozenset(
    {
        "devbox.toml",
        ".git",
        ".gitmodules",
        ".vscode",
        ".idea",
        ".zed",
        ".fleet",
        ".cursor",
        ".claude",
        ".mcp.json",
        ".devcontainer",
        ".devcontainer.json",
        ".envrc",
        ".mise.toml",
        "mise.toml",
        ".mise",
        ".exrc",
        ".vimrc",
        ".nvimrc",
        ".nvim.lua",
        ".dir-locals.el",
        ".gdbinit",
        ".lldbinit",
        ".husky",
        ".githooks",
        ".pre-commit-config.yaml",
        "lefthook.yml",
        ".gitlab-ci.yml",
        ".circleci",
    }
)
#: Folders within a folder of these names.
_INSIDE = {".github": frozenset({"workflows", "actions"})}
_SUFFIXES = (".code-workspace",)
# What Windows calls a file whose name does not fit into eight letters, such as GIT~1.
_SHORT = re.compile(r"(git|vscode|devbox|devcon|husky|github|envrc|idea)[^.]{0,3}~[0-9]+.*")


def acts(path: bytes) -> bool:
    """Whether a program here would act on a file of this path, also on a file system that ignores
    case, invisible characters, or dots and blanks at the end of a name."""
    parts = [_folded(part) for part in path.split(b"/") if part]
    for at, part in enumerate(parts):
        if part in NAMES or part.endswith(_SUFFIXES) or _SHORT.fullmatch(part):
            return True
        if part in _INSIDE and parts[at + 1 : at + 2] and parts[at + 1] in _INSIDE[part]:
            return True
    return False


def held_back(
    paths: Iterable[bytes], *, chosen: Iterable[bytes] = (), patterns: Iterable[str] = ()
) -> set[bytes]:
    """Those of `paths` that are held back. chosen: paths that were asked for by name. patterns: of
    the spec; one that names such a file itself (`.vscode/`, not `*`) lets it through."""
    wanted = tuple(path for path in chosen if acts(path))
    named = selection(p for p in patterns if not p.startswith("!") and acts(p.encode()))
    return {
        path
        for path in paths
        if acts(path)
        and named.keeps(path, folder=False)
        and not any(path == w or path.startswith(w + b"/") for w in wanted)
    }


def _folded(part: bytes) -> str:
    text = unicodedata.normalize("NFKC", part.decode(errors="replace"))
    seen = "".join(c for c in text if unicodedata.category(c) not in ("Cf", "Cc"))
    return seen.split(":")[0].rstrip(". ").casefold()
