"""Python code that an ignore rule keeps out of the image although the code in it imports it.

The classic is a line `data/` or `**/data`, meant for data sets, that also drops the package
`model/data/`.
"""

from __future__ import annotations

import ast
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from devbox.ignore.rules import Rules
from devbox.images.context import Context

_MOST_READ = 5000  # Python files that are looked at
_MOST_BYTES = 1 << 20
#: made by tools, never imported as part of the project
_NOT_CODE = frozenset(
    (".git", ".venv", "venv", "node_modules", "__pycache__", ".devbox", ".tox", "site-packages")
)


class Swallowed(NamedTuple):
    """path: the folder or file left out. module: its dotted name. importer: a file of the context
    that imports it. rule: the pattern that drops it, '' where that is not known."""

    path: str
    module: str
    importer: str
    rule: str

    def __str__(self) -> str:
        who = f"the ignore rule {self.rule!r}" if self.rule else "what is sent"
        fix = (
            f"anchor the rule to the folder you mean, or add !{self.path}"
            if self.rule
            else "look at .gitignore and .dockerignore"
        )
        imports = f"which {self.importer} imports as {self.module}"
        return f"{who} leaves out {self.path}, {imports}; {fix}"


def swallowed(context: Context, rules: Rules) -> list[Swallowed]:
    """One entry a package or module that is ignored and imported."""
    if context.root is None:
        return []

    def left_out_by(path: str) -> str | None:
        rule = rules.decide(os.fsencode(path), folder=not path.endswith(".py"))
        return rule.text if rule and not rule.keep else None

    kept = [file.path for file in context.files if not file.link]
    return _found(context.root, kept, left_out_by)


def missing(root: Path, kept: Iterable[str]) -> list[Swallowed]:
    """The same where only what is kept of the folder is known."""
    files = list(kept)
    above = {str(folder) for path in files for folder in PurePosixPath(path).parents}
    inside = above.union(files)
    return _found(root, files, lambda path: None if path in inside else "")


def _found(root: Path, kept: list[str], rule: Callable[[str], str | None]) -> list[Swallowed]:
    """rule: the rule that leaves a path out, '' for an unknown one, None for none."""
    left_out = dict(_left_out(root, lambda path: rule(path) is not None))
    if not left_out:
        return []
    found: dict[str, Swallowed] = {}
    for importer in [path for path in kept if path.endswith(".py")][:_MOST_READ]:
        for name in _imports(root / importer, importer):
            for module, path in left_out.items():
                if path not in found and _reaches(name, module):
                    found[path] = Swallowed(path, module, importer, rule(path) or "")
    return list(found.values())


def _left_out(root: Path, out: Callable[[str], bool]) -> Iterator[tuple[str, str]]:
    """(dotted name, path) of ignored folders that hold Python files, and of ignored .py files
    whose folder is in the context."""
    for folder, inner, names in os.walk(root):
        at = Path(folder).relative_to(root).as_posix()
        prefix = "" if at == "." else f"{at}/"
        inner[:] = [name for name in inner if name not in _NOT_CODE]
        for name in names:
            path = prefix + name
            if name.endswith(".py") and out(path):
                yield _dotted(path.removesuffix(".py").removesuffix("/__init__")), path
        for name in list(inner):
            path = prefix + name
            if out(path):
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
        if source.stat().st_size > _MOST_BYTES:
            return
        tree = ast.parse(source.read_bytes())
    except (OSError, SyntaxError, ValueError):  # gone since, not our Python, or none at all
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
