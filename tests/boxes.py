"""Live boxes on the local provider for tests of every room, without the lifecycle.

def test_it(local_workspace, local_box): ...      one running box, ssh configured
def test_two(make_local_box): a = make_local_box("a", env={"X": "1"})
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from devbox.model import Box, BoxState, Interval, Price
from devbox.providers.base import Observation, Provider, Request
from devbox.remote import keys
from devbox.remote.config import ssh_config
from devbox.remote.connection import Connection
from devbox.spec import BoxSpec, LocalSettings, Providers, Spec, encode_box
from devbox.state.boxes import Change
from devbox.state.ledger import Ledger
from devbox.state.store import Store
from devbox.workspace import Workspace

MakeBox = Callable[..., Box]


@pytest.fixture
def local_workspace(home: Path) -> Iterator[Workspace]:
    """A workspace in HOME/project, its store open; local boxes cost one dollar an hour."""
    root = home / "project"
    root.mkdir()
    spec = Spec(project="project", root=root, providers=Providers(local=LocalSettings(price=1.0)))
    workspace = Workspace(spec)
    yield workspace
    workspace.store.close()


@pytest.fixture
def make_local_box(local_workspace: Workspace) -> Iterator[MakeBox]:
    """make_local_box(name="b", **BoxSpec fields) → a running Box in the store, ssh published.
    Every box is removed afterwards, with all its processes."""
    made: list[Box] = []

    def make(name: str = "b", **fields: Any) -> Box:
        box = bring_up(local_workspace, name, BoxSpec(**fields))
        made.append(box)
        return box

    yield make
    for box in made:
        ssh_config.forget(box)
        local_workspace.provider("local").terminate(box.handle)


@pytest.fixture
def local_box(make_local_box: MakeBox) -> Box:
    """One running box named "b"."""
    return make_local_box()


def request_for(name: str, spec: BoxSpec, *, token: str | None = None, **fields: Any) -> Request:
    """What lifecycle hands to `create`, with this installation's key and a fresh host key, and an
    image and workdir, which lifecycle chooses where a spec names none."""
    made = Request(
        name=name,
        token=token or uuid.uuid4().hex,
        spec=msgspec.structs.replace(
            spec, image=spec.image or "cpu", workdir=spec.workdir or Provider.workdir
        ),
        hardware="cpu",
        public_key=keys.ensure_identity(),
        host_key=keys.new_host_key()[0],
        secrets={},
    )
    return made._replace(**fields)


def bring_up(workspace: Workspace, name: str, spec: BoxSpec) -> Box:
    """A running box that the store and ssh know."""
    provider = workspace.provider("local")
    request = request_for(name, spec)
    now = time.time()
    handle = provider.create(request)
    seen = wait_for_state(provider, handle, BoxState.RUNNING)
    box = Box(
        id=uuid.uuid4().hex,
        name=name,
        provider="local",
        token=request.token,
        state=BoxState.RUNNING,
        hardware="cpu",
        price=provider.offers()[0].price,
        created=now,
        updated=now,
        seen=now,
        handle=handle,
        endpoint=seen.endpoint,
        workdir=spec.workdir or Provider.workdir,
        started=seen.billed_since,
        deadline=seen.deadline,
        project=workspace.spec.project,
        spec=encode_box(spec),
    )
    intent = workspace.store.boxes.insert(box, "running", {}, now)
    workspace.store.boxes.finish(intent, "done", now)
    ssh_config.publish(workspace.store.boxes.all)
    return box


def rewrite(store: Store, box: Box) -> None:
    """The box's row is this, whatever it was."""
    store.boxes.apply(box.id, lambda _: Change(box), box.updated)


def open_interval(ledger: Ledger, box: Box, price: Price, start: float) -> None:
    """The ledger has an open interval of this box at this price; one that was open ends."""
    close_interval(ledger, box.id, start)
    new = Interval(0, box.id, box.name, box.provider, box.hardware, price, start, None)
    ledger.put(new)


def close_interval(ledger: Ledger, box_id: str, end: float) -> None:
    current = ledger.current(box_id)
    if current is not None:
        ledger.put(msgspec.structs.replace(current, end=end))


def wait_for_state(
    provider: Provider, handle: str, state: BoxState, seconds: float = 120.0
) -> Observation:
    """Observe until the box is in that state; the Observation."""
    until = time.monotonic() + seconds
    while True:
        seen = provider.observe(handle)
        if seen is not None and seen.state == state:
            return seen
        assert time.monotonic() < until, f"wanted {state}, last saw {seen}"
        time.sleep(0.01)


def put(connection: Connection, data: bytes, path: str) -> None:
    """Write a file on a box. path: relative to the login folder."""
    script = 'mkdir -p "$(dirname "$1")" && cat >"$1"'
    connection.run(["sh", "-c", script, "sh", path], input=data)
