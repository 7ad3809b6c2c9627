"""Silence while something takes its time: what is said, how often, and that -q says nothing."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from devbox import lifecycle
from devbox.errors import NoAnswer
from devbox.lifecycle import login
from devbox.lifecycle.operation import BoxOperation, Wait
from devbox.model import Box, BoxState, Endpoint, Interval, Price
from devbox.providers import library_logs
from devbox.remote import keys
from devbox.remote.config import known_hosts
from devbox.spec import BoxSpec, Seconds, encode_box
from devbox.state.costs import run_cost
from devbox.text import dollars, duration
from devbox.workspace import Workspace
from tests.boxes import open_interval
from tests.lifecycle.cloud import Cloud, a_project

PRICE = Price(1_800_000, "live")
BOX = Box(
    id="1",
    name="b",
    provider="local",
    token="t",
    state=BoxState.STARTING,
    hardware="T4",
    price=PRICE,
    created=0.0,
    updated=0.0,
    seen=0.0,
    spec=encode_box(BoxSpec(login_timeout=Seconds(1.5))),
)


@pytest.fixture
def silent_port() -> Iterator[int]:
    """Takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_a_line_says_how_long_of_how_much_and_what_it_costs(local_workspace: Workspace) -> None:
    now = [100.0]
    local_workspace.clock = lambda: now[0]
    wait = Wait(local_workspace, BOX, "starting", 2700.0)
    now[0] += 75
    limit = duration(2700)
    assert wait.line() == (
        f"b: starting for 1m15s of at most {limit}; no cost recorded yet, $1.80/h once it runs"
    )
    open_ = Interval(1, "1", "b", "local", "T4", PRICE, start=120.0, end=None)
    wait.now("waiting for ssh to answer", open_)
    assert wait.line().endswith(f"answer for 1m15s of at most {limit}; $0.0275 so far at $1.80/h")


def test_a_wait_is_told_until_it_ends(local_workspace: Workspace) -> None:
    said: list[str] = []
    local_workspace.narrate = said.append
    local_workspace.tell_every = 0.02
    with BoxOperation(local_workspace, BOX).waiting("starting"):
        while len(said) < 3:
            pass
    count = len(said)
    with BoxOperation(local_workspace, BOX).waiting("starting"):
        pass
    assert len(said) == count


def test_a_gateway_that_never_answers_is_told_of_and_ends_with_the_rate(
    local_workspace: Workspace, silent_port: int
) -> None:
    ws, said = local_workspace, list[str]()
    ws.narrate, ws.tell_every = said.append, 0.1
    public = keys.new_host_key()[1]
    endpoint = Endpoint("127.0.0.1", silent_port, "me", (public,))
    box = msgspec.structs.replace(BOX, endpoint=endpoint)
    known_hosts.pin(known_hosts.alias(box), [public])
    ws.store.boxes.insert(box, "running", {}, 0.0)
    open_interval(ws.store.ledger, box, PRICE, ws.clock())
    with pytest.raises(NoAnswer) as caught:
        login.log_in(BoxOperation(ws, box))
    assert any("waiting for ssh to answer for" in line and "$1.80/h" in line for line in said)
    assert "$1.80/h" in caught.value.means
    assert "devbox down b" in caught.value.fix
    assert "login_timeout" in caught.value.fix


def test_what_a_wait_has_cost_is_what_status_says(local_workspace: Workspace) -> None:
    """The first second of a minute that is billed whole."""
    ws, said = local_workspace, list[str]()
    ws.clock = lambda: 1061.0
    ws.store.boxes.insert(BOX, "running", {}, 0.0)
    open_interval(ws.store.ledger, BOX, Price(1_800_000, unit=60), 1000.0)
    with BoxOperation(ws, BOX).waiting("starting") as wait:
        said.append(wait.line())
    assert said == ["b: starting for 0s; $0.06 so far at $1.80/h"]
    assert dollars(run_cost(ws.store.ledger.of_box(BOX.id), 0, ws.clock())) == "$0.06"


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ("create", "b: being asked for for 0s; no cost recorded yet, $3.60/h once it runs"),
        ("observe", "b: being looked at for 0s; $0.00 so far at $3.60/h"),
    ],
)
def test_a_call_that_hangs_is_told_of(
    home: Path, monkeypatch: pytest.MonkeyPatch, call: str, said: str
) -> None:
    cloud, heard = Cloud(), threading.Event()
    ws = a_project(home, cloud)
    ws.tell_every = 0.01
    ws.narrate = lambda line: heard.set() if line == said else None
    if call == "observe":
        lifecycle.up(ws, "b")
    answers = getattr(cloud, call)

    def hangs(asked: Any) -> Any:
        assert heard.wait(60)
        return answers(asked)

    monkeypatch.setattr(cloud, call, hangs)
    if call == "observe":
        lifecycle.down(ws, ws.box("b"))
    else:
        lifecycle.up(ws, "b", wait=False)
    assert heard.is_set()


@pytest.mark.parametrize("library", ["modal-client", "huggingface_hub", "urllib3"])
def test_what_a_client_library_says_is_narrated_and_nothing_else(
    local_workspace: Workspace, library: str, capfd: pytest.CaptureFixture[str]
) -> None:
    said: list[str] = []
    local_workspace.narrate = said.append
    local_workspace.provider("local")
    logger = logging.getLogger(library)
    logger.addHandler(logging.StreamHandler())  # as the library does when it is imported
    library_logs.take(library)
    logger.warning("Retrying in 1s\x1b[31m [Retry 1/5].")
    logger.info("not this")
    assert said == [f"{library}: Retrying in 1s [Retry 1/5]."]
    local_workspace.narrate = lambda _: None
    logger.warning("Retrying")
    assert capfd.readouterr() == ("", "")
