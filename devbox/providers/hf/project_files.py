"""Which files of a project go into its Space: ignore files are kept to, secrets are refused."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from pathspec import GitIgnoreSpec, PathSpec

from devbox.default_excludes import JUNK
from devbox.errors import UsageError
from devbox.images import secret_scan
from devbox.spec import FILE_NAME, Sync
from devbox.text import clean, size

_MOST_FILES = 5000
_MOST_BYTES = 1024**3
_JUNK = GitIgnoreSpec.from_lines((*JUNK, ".devbox/", ".devbox-partial"))


def collect(root: str, sync: Sync) -> dict[str, Path]:
    """Path in the repository → file, for the project at `root`; none for a folder that is no
    devbox project, such as a home folder. Symlinks are left out.

    UsageError, before anything is sent, for likely secrets and for more than a Space should hold.
    """
    top = Path(root, sync.path) if root else None
    if top is None or not (Path(root) / FILE_NAME).is_file() or not top.is_dir():
        return {}
    found: dict[str, Path] = {}
    total = 0
    for path in _kept(top, sync):
        file = top / path
        found[path] = file
        total += file.stat().st_size
        if len(found) > _MOST_FILES or total > _MOST_BYTES:
            raise UsageError(
                f"{clean(str(top), 200)} is too much for a Space "
                f"(over {_MOST_FILES} files or {size(_MOST_BYTES)})",
                means="nothing was uploaded or started",
                fix="name large files in .gitignore or .dockerignore; data belongs in a volume",
            )
    _refuse_secrets(found)
    return found


def _kept(top: Path, sync: Sync) -> Iterator[str]:
    included = GitIgnoreSpec.from_lines(sync.include)
    excluded = GitIgnoreSpec.from_lines(sync.exclude)
    docker = _dockerignore(top) if sync.ignore_files else None
    ignores: dict[str, GitIgnoreSpec] = {}
    for folder, inner, names in os.walk(top):
        at = Path(folder).relative_to(top).as_posix()
        prefix = "" if at == "." else f"{at}/"
        if sync.ignore_files and ".gitignore" in names:
            ignores[prefix] = _lines(Path(folder) / ".gitignore")

        def out(path: str) -> bool:
            return not included.match_file(path) and (
                _JUNK.match_file(path) or excluded.match_file(path) or _ignored(path, ignores)
            )

        # A folder that is out is not entered, unless an include may lie inside.
        if not sync.include:
            inner[:] = [name for name in inner if not out(f"{prefix}{name}/")]
        inner.sort()
        for name in sorted(names):
            path = f"{prefix}{name}"
            file = Path(folder) / name
            if file.is_symlink() or not file.is_file() or out(path):
                continue
            if docker is None or not docker.match_file(path) or included.match_file(path):
                yield path


def _ignored(path: str, ignores: dict[str, GitIgnoreSpec]) -> bool:
    """As git reads .gitignore files: the deepest one with a matching line decides."""
    for prefix in sorted(ignores, key=len, reverse=True):
        if path.startswith(prefix):
            said = ignores[prefix].check_file(path.removeprefix(prefix)).include
            if said is not None:
                return said
    return False


def _dockerignore(top: Path) -> PathSpec | None:  # type: ignore[type-arg]
    """As Docker reads it: a name counts from the root, the last matching line decides."""
    file = top / ".dockerignore"
    if not file.is_file():
        return None
    lines = []
    for raw in file.read_text(encoding="utf-8", errors="replace").splitlines():
        line = raw.strip()
        keep = "!" if line.startswith("!") else ""
        word = line.removeprefix("!").strip().removeprefix("./").strip("/")
        if word and not line.startswith("#"):
            lines.append(f"{keep}/{word}")
    # The files that make the image must be sent for it to be made.
    return PathSpec.from_lines("gitignore", [*lines, "!/Dockerfile", "!/README.md"])


def _lines(file: Path) -> GitIgnoreSpec:
    return GitIgnoreSpec.from_lines(file.read_text(encoding="utf-8", errors="replace").splitlines())


def _refuse_secrets(found: dict[str, Path]) -> None:
    likely = [
        path
        for path, file in found.items()
        if secret_scan.named_like(path) or secret_scan.in_file(file)
    ]
    if likely:
        shown = ", ".join(clean(path, 80) for path in likely[:5])
        more = f" and {len(likely) - 5} more" if len(likely) > 5 else ""
        raise UsageError(
            f"these files look like secrets and would be uploaded: {shown}{more}",
            means="nothing was uploaded or started",
            fix="name them in .gitignore or .dockerignore; "
            "give secrets in the secrets table of the box",
        )
