"""What a box may cost is said before it begins, and asked for above the user's own limit."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devbox import spec
from devbox.model import Price
from devbox.money.projection import projected
from devbox.spec import Budget
from devbox.state.costs import cost
from devbox.state.store import Store
from tests.command_line import Devbox
from tests.terminal import type_at

HOUR = 3600.0


@pytest.fixture
def dear(project: Path) -> Path:
    """A box at a dollar an hour, and a user who is asked above five."""
    (project / "devbox.toml").write_text("[boxes.b]\n[providers.local]\nprice = 1.0\n")
    config = project.parent / ".devbox" / "config.toml"
    config.parent.mkdir(mode=0o700, exist_ok=True)
    config.write_text("[budget]\nask_above = 5.0\n")
    return project


def test_it_refuses_without_a_terminal_and_the_fix_it_prints_works(
    dear: Path, devbox: Devbox
) -> None:
    cheap = devbox("up", "--max-uptime", "5h", "--no-wait")
    assert cheap.code == 0, cheap.err
    assert "b: local cpu at $1.00/h (config), up to $5.00 until max_uptime in 5h" in cheap.err
    assert devbox("down", "--yes", "--no-save").code == 0
    refused = devbox("up", "b", "--max-uptime", "6h", "--no-sync", "--no-setup")
    assert refused.code == 2
    assert "up to $6.00 until max_uptime in 6h, above your $5 (budget.ask_above)" in refused.err
    store = Store.open()
    assert [box.name for box in store.boxes.all()] == [], "nothing is journalled or made"
    store.close()
    fix = refused.err.rsplit("type it with --yes: devbox ", 1)[1]
    assert fix.strip() == "up b --max-uptime 6h --no-sync --no-setup --yes"
    done = devbox(*shlex.split(fix))
    assert done.code == 0, done.err
    assert devbox("pause", "--yes").code == 0
    again = devbox("resume", "b")
    assert (again.code, "devbox resume b --yes" in again.err) == (2, True), again.err
    assert devbox("status", "b", "--json").data["state"] == "paused"
    for words in (["resume", "b", "--yes"], ["down", "b", "--yes", "--no-save"]):
        assert devbox(*words).code == 0


def test_at_a_terminal_no_leaves_nothing_behind(dear: Path, devbox: Devbox) -> None:
    words = [sys.executable, "-m", "devbox.cli.main", "up"]
    said = type_at(words, [("Begin? [y/N]:", "n")], folder=dear)
    assert said.code == 130
    assert "up to $8.00 until max_uptime in 8h" in said.screen
    assert "no tracked box costs money" in said.screen
    assert devbox("ls", "--json").data["boxes"] == []


def test_a_cloned_project_cannot_raise_the_limit(dear: Path) -> None:
    file = dear / "devbox.toml"
    limits = {}
    for limit in ("1000", "2"):
        file.write_text(f"[boxes.b]\n[budget]\nask_above = {limit}\n")
        limits[limit] = spec.load(file).budget.ask_above
    assert limits == {"1000": 5.0, "2": 2.0}


@given(
    st.one_of(st.none(), st.integers(0, 10**9)),
    st.floats(1, 1e6),
    st.one_of(st.none(), st.floats(0, 1e4)),
)
def test_who_is_asked(micro: int | None, seconds: float, limit: float | None) -> None:
    price = Price(micro, unit=60)
    found = projected(Budget(ask_above=limit), price, seconds)
    assert found.micro == cost(price, seconds)
    over = limit is not None and (micro is None or (found.micro or 0) > round(limit * 1e6))
    assert bool(found.question) is over
    if micro is None:
        assert "an unknown amount" in found.sentence
