"""The source files of a package: folders that are named, and what they import of the project."""

from __future__ import annotations

import ast
import os
import warnings
from collections.abc import Iterator
from pathlib import Path

_MOST = 20_000
_BIG = 4 << 20
_JUNK = ("__pycache__", "node_modules")


def collect(root: Path, folders: tuple[str, ...]) -> list[Path]:
    """Paths relative to root, sorted: every file below the folders but hidden, compiled and linked
    ones, and each module of the project that they import, at any depth, with the `__init__.py`
    files above it. An import that is put together while the program runs is not seen."""
    found: dict[Path, None] = {}
    waiting = [path for folder in folders for path in _below(root, Path(folder))]
    while waiting:
        path = waiting.pop()
        if path in found or len(found) >= _MOST:
            continue
        found[path] = None
        if path.suffix == ".py":
            waiting += _imported(root, path)
            waiting += [
                above / "__init__.py"
                for above in path.parents
                if above != Path() and _is_file(root, above / "__init__.py")
            ]
    return sorted(found)


def _below(root: Path, folder: Path) -> Iterator[Path]:
    if _is_file(root, folder):
        yield folder
    for place, inner, names in os.walk(root / folder):
        here = Path(place)
        inner[:] = [n for n in inner if not n.startswith(".") and n not in _JUNK]
        for name in names:
            path = (here / name).relative_to(root)
            hidden = name.startswith(".") or name.endswith((".pyc", ".pyo"))
            if not hidden and _is_file(root, path):
                yield path


def _is_file(root: Path, path: Path) -> bool:
    """A regular file inside the project, not reached through a link."""
    whole = root / path
    return whole.is_file() and os.path.realpath(whole) == os.path.join(os.path.realpath(root), path)


def _imported(root: Path, path: Path) -> Iterator[Path]:
    try:
        if (root / path).stat().st_size > _BIG:
            return
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse((root / path).read_bytes())
    except (SyntaxError, ValueError, RecursionError, MemoryError, OSError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for each in node.names:
                yield from _module(root, Path(), each.name)
        elif isinstance(node, ast.ImportFrom):
            base = path.parent
            for _ in range(node.level - 1):
                base = base.parent
            start = base if node.level else Path()
            module = node.module or ""
            yield from _module(root, start, module)
            for each in node.names:
                yield from _module(root, start, f"{module}.{each.name}".strip("."))


def _module(root: Path, start: Path, name: str) -> Iterator[Path]:
    """The file of a module, and of the packages it lies in, where they are the project's."""
    parts = name.split(".") if name else []
    for count in range(1, len(parts) + 1):
        place = start.joinpath(*parts[:count])
        for path in (place.with_name(f"{place.name}.py"), place / "__init__.py"):
            if _is_file(root, path):
                yield path
