"""A watchdog that died is armed again by whatever verb meets its box, and that is said."""

from __future__ import annotations

import json
from collections.abc import Callable

import psutil
import pytest

from devbox import doctor, lifecycle
from devbox.jobs import catalogue, submit
from devbox.model import Box
from devbox.remote import agent
from devbox.remote.connection import connect
from devbox.workspace import Workspace
from tests.jobs.conftest import until
from tests.processes import alive

SAID = "its watchdog did not run; it was armed again"


def agent_pid(box: Box) -> int:
    """The pid that the box's watchdog tells."""
    with connect(box) as connection:
        root = connection.run(["cat", ".devbox-box/agent.json"]).out
    return int(json.loads(root)["pid"])


VERBS: dict[str, Callable[[Workspace, Box], object]] = {
    "up": lambda ws, box: lifecycle.up(ws, "b"),
    "status": lifecycle.idle_status,
    "keep": lambda ws, box: lifecycle.keep(ws, box, 600.0),
    "doctor": doctor.box,
    "run": lambda ws, box: submit.submit(
        ws, box, catalogue.ad_hoc_command(["true"]), {}, {}, extra=["true"]
    ),
    "reconcile": lambda ws, box: lifecycle.reconcile(ws),
}


@pytest.fixture
def said(ws: Workspace) -> list[str]:
    lines: list[str] = []
    ws.narrate = lines.append
    return lines


@pytest.mark.parametrize("verb", sorted(VERBS.keys() - {"keep"}))
def test_a_dead_watchdog_is_armed_again_by(verb: str, ws: Workspace, said: list[str]) -> None:
    _armed_again_by(verb, ws, said)


@pytest.mark.machine
def test_a_dead_watchdog_is_armed_again_on_a_machine_too(ws: Workspace, said: list[str]) -> None:
    _armed_again_by("keep", ws, said)


def _armed_again_by(verb: str, ws: Workspace, said: list[str]) -> None:
    box = lifecycle.up(ws, "b")
    dead = agent_pid(box)
    process = psutil.Process(dead)
    process.kill()
    until(lambda: not alive(process))
    found = VERBS[verb](ws, box)
    assert any(SAID in line for line in said)
    assert agent_pid(box) != dead
    with connect(box) as connection:
        assert agent.verdict(connection).state == "active"
    if verb == "reconcile":
        assert [each.kind for each in found] == ["armed"]  # type: ignore[attr-defined]
    said.clear()
    VERBS[verb](ws, box)
    assert not any(SAID in line for line in said), "it runs now"


@pytest.mark.openssh
def test_a_watchdog_whose_folder_is_gone_is_armed_again(ws: Workspace, said: list[str]) -> None:
    box = lifecycle.up(ws, "b")
    with connect(box) as connection:
        connection.run(["mv", ".devbox-box", "deleted"])
    lifecycle.keep(ws, box, 600.0)
    assert any("it was armed again" in line for line in said)


def test_keep_is_not_said_where_no_watchdog_can_be_armed(ws: Workspace, said: list[str]) -> None:
    box = lifecycle.up(ws, "b")
    with connect(box) as connection:
        connection.run(["sh", "-c", "mv .devbox-box deleted && touch .devbox-box"])
    with pytest.raises(Exception, match="could not be put on b"):
        lifecycle.keep(ws, box, 600.0)
    assert not any("kept awake" in line for line in said)
