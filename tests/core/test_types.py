"""`Any` switches the type checker off, so the product has little of it."""

from __future__ import annotations

import ast
from pathlib import Path

import devbox

_HOUSE = Path(devbox.__file__).parent
_MOST = 0.7  # uses in 1,000 lines: lower it where they become fewer


def test_any_stays_as_rare_as_it_is() -> None:
    files = [path.read_text(encoding="utf-8") for path in _HOUSE.rglob("*.py")]
    used, lines = sum(map(_used, files)), sum(text.count("\n") for text in files)
    assert 1000 * used / lines <= _MOST, f"Any is used {used} times in {lines} lines"


def test_a_use_of_any_is_found_wherever_it_is() -> None:
    assert _used("x: Any = 1\ndef f(*a: typing.Any, **m: dict[str, Any]) -> 'list[Any]': ...") == 4
    assert _used("from typing import Any\nAlias = Callable[[Any], None]") == 1
    assert _used('"""Any text."""\nx = ["Any"]  # Any') == 0


def _used(source: str) -> int:
    """How often Any is used in a module, also in quoted annotations; an import is no use."""
    tree = ast.parse(source)
    annotations = [
        found
        for node in ast.walk(tree)
        for name in ("annotation", "returns")
        if (found := getattr(node, name, None))
    ]
    quoted = [
        str(node.value).count("Any")
        for annotation in annotations
        for node in ast.walk(annotation)
        if isinstance(node, ast.Constant)
    ]
    plain = ["Any" in (getattr(n, "id", None), getattr(n, "attr", None)) for n in ast.walk(tree)]
    return sum(plain) + sum(quoted)
