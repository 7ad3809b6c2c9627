"""Python code that an ignore rule keeps out of the image although the code in it imports it.

The classic is a line `data/` or `**/data`, meant for data sets, that also drops the package
`model/data/`.
"""

from __future__ import annotations

import ast
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from devbox.images.context import Context
from devbox.images.ignore import Ignore

_MOST_READ = 5000  # Python files that are looked at
_MOST_BYTES = 1 << 20
#: made by tools, never imported as part of the project
_NOT_CODE = frozenset(
    (".git", ".venv", "venv", "node_modules", "__pycache__", ".devbox", ".tox", "site-packages")
)


class Swallowed(NamedTuple):
    """path: the folder or file left out. module: its dotted name. importer: a file of the context
    that imports it. rule: the pattern that drops it."""

    path: str
    module: str
    importer: str
    rule: str

    def __str__(self) -> str:
        return (
            f"the ignore rule {self.rule!r} leaves out {self.path}, which {self.importer} imports "
            f"as {self.module}; anchor the rule to the folder you mean, or add !{self.path}"
        )


def swallowed(context: Context, rules: Ignore) -> list[Swallowed]:
    """One entry a package or module that is ignored and imported."""
    if context.root is None:
        return []
    left_out = dict(_left_out(context.root, rules))
    if not left_out:
        return []
    found: dict[str, Swallowed] = {}
    python = [file for file in context.files if file.path.endswith(".py") and not file.link]
    for file in python[:_MOST_READ]:
        if file.size > _MOST_BYTES:
            continue
        for name in _imports(Path(file.source), file.path):
            for module, path in left_out.items():
                if path not in found and _reaches(name, module):
                    found[path] = Swallowed(path, module, file.path, rules.rule(path))
    return list(found.values())


def _left_out(root: Path, rules: Ignore) -> Iterator[tuple[str, str]]:
    """(dotted name, path) of ignored folders that hold Python files, and of ignored .py files
    whose folder is in the context."""
    for folder, inner, names in os.walk(root):
        at = Path(folder).relative_to(root).as_posix()
        prefix = "" if at == "." else f"{at}/"
        inner[:] = [name for name in inner if name not in _NOT_CODE]
        for name in names:
            path = prefix + name
            if name.endswith(".py") and rules.out(path):
                yield _dotted(path.removesuffix(".py").removesuffix("/__init__")), path
        for name in list(inner):
            path = prefix + name
            if rules.out(path):
                inner.remove(name)
                if any(_python_in(Path(folder) / name)):
                    yield _dotted(path), path


def _python_in(folder: Path) -> Iterator[bool]:
    for _, inner, names in os.walk(folder):
        inner[:] = [name for name in inner if name not in _NOT_CODE]
        if any(name.endswith(".py") for name in names):
            yield True


def _imports(source: Path, path: str) -> Iterator[str]:
    """Dotted names that a file imports, relative ones resolved from the root."""
    try:
        tree = ast.parse(source.read_bytes())
    except (SyntaxError, ValueError):  # not our Python, or none at all
        return
    package = _dotted(path).split(".")[:-2]  # without the file and its suffix
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            if base:
                yield base
            yield from (f"{base}.{alias.name}".lstrip(".") for alias in node.names)


def _reaches(name: str, module: str) -> bool:
    """Whether importing `name` runs code of `module`. A project may have its packages below
    src/ or another folder, so the end of the module's path counts too."""
    parts, wanted = name.split("."), module.split(".")
    if parts[: len(wanted)] == wanted:
        return True
    return any(
        len(inner) > 1 and parts[: len(inner)] == inner
        for start in range(1, len(wanted))
        for inner in (wanted[start:],)
    ) or (len(wanted) == 2 and wanted[0] == "src" and parts[0] == wanted[1])


def _dotted(path: str) -> str:
    return path.replace("/", ".")
