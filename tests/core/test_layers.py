"""A provider is one module: nothing below or above it compares provider names as text."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import devbox
from devbox.providers import registry

_HOUSE = Path(devbox.__file__).parent
#: a provider's own code and settings; the room whose whole purpose is Spaces; the demo of one
_OWN = ("providers", "spec/provider_settings.py", "deploy/target.py", "cli/demo.py")


def test_only_a_providers_own_code_knows_its_name() -> None:
    found = [
        f"{path.relative_to(_HOUSE)}:{line}"
        for path in sorted(_HOUSE.rglob("*.py"))
        if not str(path.relative_to(_HOUSE)).startswith(_OWN)
        for line in _named(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert found == []


def test_a_comparison_with_a_providers_name_is_found() -> None:
    for text in (
        'x = box.provider == "local"',
        'x = provider in {"hf-space", "modal"}',
        'y = "hf-job"',
    ):
        assert set(_named(ast.parse(text))) == {1}
    assert list(_named(ast.parse('run(["ssh", "-V"]); target == "modal"'))) == []


def _named(tree: ast.AST) -> Iterator[int]:
    """Lines that hold a name no other word is, or compare something called provider with one."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and node.value in ("hf-space", "hf-job"):
            yield node.lineno
        elif isinstance(node, ast.Compare):
            words = [n.value for n in ast.walk(node) if isinstance(n, ast.Constant)]
            names = [n.attr for n in ast.walk(node) if isinstance(n, ast.Attribute)]
            names += [n.id for n in ast.walk(node) if isinstance(n, ast.Name)]
            if "provider" in names and set(words) & set(registry.NAMES) - {"hf-space", "hf-job"}:
                yield node.lineno
