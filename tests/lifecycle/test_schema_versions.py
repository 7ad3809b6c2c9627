"""A box is listed and ended whichever devbox version wrote its record: by the command line, at a
provider in memory."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from devbox import lifecycle, paths, spec
from devbox.cli.main import cli
from devbox.errors import StateDamaged
from devbox.model import Box, BoxState
from devbox.providers import registry
from devbox.providers.base import Provider
from devbox.state.migrations import MIGRATIONS
from devbox.state.store import Store
from devbox.workspace import Workspace
from tests.boxes import rewrite
from tests.emulators.common import Clock
from tests.lifecycle.cloud import Pausing
from tests.old_files import VERSIONS, old_file, put_box

Run = Callable[..., str]


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Pausing:
    """In place of the local provider, also where the command line loads it."""
    made, load = Pausing("local", Clock()), registry.load

    def loads(name: str, config: spec.ProviderSettings) -> Provider:
        return made if name == "local" else load(name, config)

    monkeypatch.setattr(registry, "load", loads)
    return made


@pytest.fixture
def ws(home: Path, cloud: Pausing) -> Iterator[Workspace]:
    folder = home / "project"
    folder.mkdir()
    (folder / "devbox.toml").write_text("[boxes.b]\n")
    workspace = Workspace.open(folder)
    yield workspace
    workspace.close()


@pytest.fixture
def box(ws: Workspace, cloud: Pausing) -> Box:
    made = lifecycle.up(ws, "b", wait=False)
    assert (made.state, made.handle) == (BoxState.RUNNING, "h1")
    return made


@pytest.fixture
def run(ws: Workspace, monkeypatch: pytest.MonkeyPatch) -> Run:
    """run("ls", "--json") → what it printed; it must end well."""
    monkeypatch.chdir(ws.spec.root)

    def call(*words: str) -> str:
        done = CliRunner().invoke(cli, words)
        assert done.exit_code == 0, (words, done.output, done.exception)
        return done.output

    return call


@pytest.mark.parametrize("version", VERSIONS)
def test_boxes_of_every_schema_version_are_listed_and_ended(
    ws: Workspace, cloud: Pausing, box: Box, run: Run, version: int
) -> None:
    ws.close()
    raw = old_file(version)
    put_box(raw, version, box)
    raw.close()
    assert '"name":"b"' in run("ls", "--json")
    assert "running" in run("status", "b")
    assert run("runs").splitlines()[1].split() == [
        *(
            "r1",
            "failed",
            "3",
            "of",
            "4",
            "items",
            "32s",
            "$0.00",
            "b",
            "1",
            "of",
            "4",
            "items",
            "failed",
        ),
    ]
    assert '"failures":[{"item":"c.png","error":"no c"}]' in run("runs", "--json")
    stored = ws.store.boxes.get(box.id)
    assert stored
    assert not spec.unread(stored.spec)
    vram = spec.decode_box(stored.spec).idle.idle_vram_after
    assert vram == (5400 if version < 6 else spec.Idle().idle_vram_after)
    ws.close()
    run("down", "b", "-y", "--no-save")
    assert_ended(cloud, box)
    names = [
        row["name"] for row in ws.store.database.rows("SELECT name FROM migrations ORDER BY rowid")
    ]
    assert names == [migration.__name__ for migration in MIGRATIONS]


def _newer(body: dict[str, Any]) -> None:
    body |= {"later": 1, "price": {**body["price"], "later": 1}, "connection": {"later": {}}}


def _price(body: dict[str, Any]) -> None:
    body["price"] = "cheap"


def _state(body: dict[str, Any]) -> None:
    body["state"] = "hibernating"


def _endpoint(body: dict[str, Any]) -> None:
    body["endpoint"] = {"port": "many"}


def _connection(body: dict[str, Any]) -> None:
    body["connection"] = 7


def _spec(body: dict[str, Any]) -> None:
    body["spec"] = "bm9uc2Vuc2U="


def _times(body: dict[str, Any]) -> None:
    body |= {"seen": None, "created": "yesterday", "deadline": []}


@pytest.mark.parametrize("change", [_newer, _price, _state, _endpoint, _connection, _spec, _times])
def test_a_record_that_is_partly_unreadable_is_listed_and_ended(
    ws: Workspace, cloud: Pausing, box: Box, run: Run, change: Callable[[dict[str, Any]], None]
) -> None:
    spoil(ws, box, change)
    assert '"name":"b"' in run("ls", "--json")
    assert "running" in run("status", "b")
    run("down", "b", "-y", "--no-save")
    assert_ended(cloud, box)


@pytest.mark.parametrize(
    "change",
    [
        {"idle": {"after": "soon"}},
        {"provider": 7, "later": True},
        {"sync": {"down": 1}, "volumes": {"v": {"source": "s"}}},
    ],
)
def test_a_spec_that_is_partly_unreadable_ends_its_box_and_starts_none(
    ws: Workspace, cloud: Pausing, box: Box, run: Run, change: dict[str, Any]
) -> None:
    lifecycle.pause(ws, box)
    stored = msgspec.json.decode(spec.encode_box(spec.BoxSpec())) | change
    damaged = msgspec.structs.replace(
        ws.store.boxes.get(box.id) or box, spec=msgspec.json.encode(stored)
    )
    rewrite(ws.store, damaged)
    assert spec.unread(damaged.spec)
    with pytest.raises(StateDamaged, match="cannot be read") as refused:
        lifecycle.resume(ws, damaged)
    assert "doctor --fix" in refused.value.fix
    assert "was mended" in run("doctor", "--fix")
    assert not spec.unread((ws.store.boxes.get(box.id) or box).spec)
    rewrite(ws.store, damaged)
    run("down", "b", "-y", "--no-save")
    assert_ended(cloud, box)


def spoil(ws: Workspace, box: Box, change: Callable[[dict[str, Any]], None]) -> None:
    body: dict[str, Any] = msgspec.json.decode(ws.store.boxes.raw(box.id)["body"])
    change(body)
    ws.close()
    raw = sqlite3.connect(paths.state_db())
    raw.execute("UPDATE boxes SET body = ? WHERE id = ?", (msgspec.json.encode(body), box.id))
    raw.commit()
    raw.close()


def assert_ended(cloud: Pausing, box: Box) -> None:
    assert cloud.there[box.handle].state is BoxState.TERMINATED
    store = Store.open()
    found = store.boxes.get(box.id)
    assert found
    assert found.state.is_over
    assert store.ledger.current(box.id) is None
    store.close()
