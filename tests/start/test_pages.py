"""A newcomer with an empty home and the installed wheel follows each provider's page: its commands
are typed at a terminal as they stand there, from nothing to results and to nothing that costs."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from devbox.providers import registry
from tests.start.worlds import WORLDS, World
from tests.terminal import type_at

PAGES = Path(__file__).parents[2] / "docs" / "start"
MOST_COMMANDS, MOST_SECONDS = 8, 300.0
_TRAIN = """\
import json, os, pathlib
out = pathlib.Path(os.environ["DEVBOX_OUT"])
(out / "metrics.json").write_text(json.dumps({"loss": 0.25, "at": os.getcwd()}))
print("trained")
"""


def commands(page: Path) -> list[str]:
    """The command lines of a page's blocks, without what is said beside them."""
    lines = [line[4:] for line in page.read_text().splitlines() if line.startswith("    ")]
    return [re.split(r"\s{2,}#", line)[0].strip() for line in lines]


@pytest.fixture(params=registry.NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def world(name: str, home: Path) -> Iterator[World]:
    made = WORLDS[name](home)
    yield made
    made.close()


def test_a_newcomer_gets_from_nothing_to_results(
    name: str, world: World, installed: Path, home: Path
) -> None:
    words = commands(PAGES / f"{name}.md")
    assert 0 < len(words) <= MOST_COMMANDS
    project = home / "mine"
    project.mkdir()
    (project / "train.py").write_text(_TRAIN)
    passed_on = {k: v for k, v in os.environ.items() if not k.startswith(("DEVBOX", "PYTHON"))}
    env = {**passed_on, "HOME": str(home), "TERM": "xterm", **world.env}
    env["PATH"] = f"{installed.parent}:{env['PATH']}"

    def typed(line: str, answers: list[tuple[str, str]] | None = None) -> str:
        done = type_at(shlex.split(line), answers or [], folder=project, env=env)
        assert done.code == 0, f"{line}\n{done.screen}"
        return done.screen

    written = ""
    for line in words:
        screen = typed(line, world.answers if line.startswith("devbox login") else None)
        if line.startswith("devbox login"):
            world.after_login(screen)
        if line.startswith("devbox init"):
            written = (project / "devbox.toml").read_text()
    assert written == (project / "devbox.toml").read_text(), "no file is edited by hand"

    (result,) = project.glob("results/*/metrics.json")
    assert json.loads(result.read_text())["loss"] == 0.25
    # Not at a terminal: there it also says on stderr what it waits for.
    listing = [str(installed), "ls", "--all", "--json"]
    done = subprocess.run(listing, cwd=project, env=env, capture_output=True, check=True)
    (box,) = json.loads(done.stdout)["boxes"]
    assert (box["name"], box["provider"], box["state"]) == ("mine", name, world.ends)
    assert world.billed() == []
    assert world.stages() <= MOST_SECONDS
    if world.ends == "paused":
        typed("devbox down --yes --no-save")


def test_each_provider_has_a_page_that_is_linked() -> None:
    linked = (PAGES / "README.md").read_text()
    assert [name for name in registry.NAMES if f"({name}.md)" not in linked] == []
