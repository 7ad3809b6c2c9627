"""Runs each contract test against every provider that has what the test needs."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from devbox.providers.base import Provider
from tests.contract.harness import ABILITIES, Harness

HARNESSES: list[type[Harness]] = [
    import_module(f"tests.contract.{file.stem}").HARNESS
    for file in sorted(Path(__file__).parent.glob("harness_*.py"))
]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "harness" in metafunc.fixturenames:
        needed: set[str] = getattr(metafunc.function, "needs", set())
        fit = [each for each in HARNESSES if needed <= each.able <= ABILITIES]
        metafunc.parametrize("harness", fit, indirect=True, ids=[each.name for each in fit])


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test that no provider needs yet is left out; pytest would report it as skipped."""
    items[:] = [item for item in items if not _has_no_provider(item)]


def _has_no_provider(item: pytest.Item) -> bool:
    call: Any = getattr(item, "callspec", None)
    return (
        call is not None
        and "harness" in call.params
        and not isinstance(call.params["harness"], type)
    )


@pytest.fixture
def harness(request: pytest.FixtureRequest, home: Path) -> Iterator[Harness]:
    """The provider under test with its service."""
    made: Harness = request.param(home)
    yield made
    made.close()


@pytest.fixture
def provider(harness: Harness) -> Provider:
    """One provider object; `harness.make()` gives another one on the same service."""
    return harness.make()


@pytest.fixture
def harnesses() -> list[type[Harness]]:
    """Every harness there is."""
    return HARNESSES
