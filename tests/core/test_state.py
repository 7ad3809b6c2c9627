"""SQLite under many processes, crashes and time that jumps."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from devbox import paths
from devbox.errors import Conflict, DevboxError, StateDamaged
from devbox.model import Box, BoxState, Price, Run, RunState
from devbox.state import database, migrations
from devbox.state.store import Store

HOUR = 3600.0


def a_box(name: str = "train", **changes: object) -> Box:
    fields: dict[str, object] = {
        "id": f"id-{name}",
        "name": name,
        "provider": "local",
        "token": f"{name}-1",
        "state": BoxState.RUNNING,
        "hardware": "cpu",
        "price": Price(1_000_000, "config"),
        "created": 1.0,
        "updated": 1.0,
        "seen": 1.0,
    }
    return Box(**{**fields, **changes})  # type: ignore[arg-type]


@pytest.fixture
def store() -> Store:
    return Store.open()


def test_a_name_is_taken_until_its_box_is_over(store: Store) -> None:
    store.boxes.insert(a_box(), "running", {}, 1.0)
    with pytest.raises(Conflict):
        store.boxes.insert(a_box(id="other"), "running", {}, 2.0)
    assert store.boxes.get("other") is None
    store.boxes.update(a_box(state=BoxState.TERMINATED))
    store.boxes.insert(a_box(id="other", created=2.0), "running", {}, 3.0)
    assert [box.id for box in store.boxes.named("train")] == ["other", "id-train"]


def test_the_last_wish_wins_and_steps_are_kept(store: Store) -> None:
    first = store.boxes.insert(a_box(), "running", {"a": 1}, 1.0)
    store.boxes.step(first, "create", 2.0)
    assert [(i.goal, i.step, i.options) for i in store.boxes.open_intents()] == [
        ("running", "create", {"a": 1})
    ]
    second = store.boxes.begin("id-train", "terminated", {}, 3.0)
    assert [i.id for i in store.boxes.open_intents("id-train")] == [second]
    store.boxes.finish(second, "terminated", 4.0)
    assert store.boxes.open_intents() == []


def test_an_interval_opens_once_and_a_new_price_starts_a_new_one(store: Store) -> None:
    box = a_box()
    store.ledger.open(box, Price(100), 10.0)
    store.ledger.open(box, Price(100), 20.0)
    store.ledger.open(box, Price(None), 30.0)
    store.ledger.close(box.id, 25.0)
    spans = [(i.price.micro_per_hour, i.start, i.end) for i in store.ledger.of_box(box.id)]
    assert spans == [(100, 10.0, 30.0), (None, 30.0, 30.0)]
    store.ledger.close(box.id, 99.0)
    assert store.ledger.current(box.id) is None


def test_intervals_never_overlap_even_when_a_provider_says_so(store: Store) -> None:
    box = a_box()
    store.ledger.open(box, Price(1), 10.0)
    store.ledger.close(box.id, 50.0)
    store.ledger.open(box, Price(1), 40.0)
    assert store.ledger.of_box(box.id)[1].start == 50.0


@pytest.mark.parametrize("since", [None, 10.0, 50.0])
def test_a_stretch_that_went_on_stays_one_interval(store: Store, since: float | None) -> None:
    box = a_box()
    store.ledger.open(box, Price(1, unit=60), 10.0)
    store.ledger.close(box.id, 50.0)
    store.ledger.go_on(box, Price(1, unit=60), since, 70.0)
    assert [(i.start, i.end) for i in store.ledger.of_box(box.id)] == [(10.0, None)]


@pytest.mark.parametrize(
    ("price", "since", "start"), [(1, 60.0, 60.0), (2, 10.0, 50.0), (2, None, 50.0)]
)
def test_a_stretch_of_its_own_or_at_another_price_is_another_interval(
    store: Store, price: int, since: float | None, start: float
) -> None:
    box = a_box()
    store.ledger.open(box, Price(1), 10.0)
    store.ledger.close(box.id, 50.0)
    store.ledger.go_on(box, Price(price), since, 70.0)
    spans = [(i.price.micro_per_hour, i.start, i.end) for i in store.ledger.of_box(box.id)]
    assert spans == [(1, 10.0, 50.0), (price, start, None)]


def test_events_are_cleaned_and_bounded(store: Store) -> None:
    store.events.add("b", "warn", "x\x1b[2J" + "y" * 9000, 1.0)
    (event,) = store.events.of_box("b")
    assert event.message.startswith("xy")
    assert len(event.message) == 2000


def test_events_are_told_in_the_order_they_happened(store: Store) -> None:
    """A box's own notes reach us later than what we saw ourselves."""
    for at, message in ((10.0, "up"), (30.0, "run"), (20.0, "armed")):
        store.events.add("b", "x", message, at)
    assert [event.message for event in store.events.of_box("b")] == ["up", "armed", "run"]
    assert [event.message for event in store.events.of_box("b", limit=2)] == ["armed", "run"]


def test_runs_keep_their_last_state(store: Store) -> None:
    run = Run(id="r1", box_id="b", box_name="n", job="j", state=RunState.QUEUED, created=1.0)
    store.runs.put(run)
    store.runs.put(Run(**{**{f: getattr(run, f) for f in run.__struct_fields__}, "exit_code": 3}))
    found = store.runs.get("r1")
    assert found is not None
    assert found.exit_code == 3
    assert [r.id for r in store.runs.latest(box_id="b")] == ["r1"]


_WRITER = """
import sys
from devbox.state.store import Store
store = Store.open()
for index in range(25):
    store.events.add("b", "x", f"{sys.argv[1]}-{index}", 1.0)
"""


def test_ten_processes_write_at_once_and_lose_nothing() -> None:
    writers = [subprocess.Popen([sys.executable, "-c", _WRITER, str(n)]) for n in range(10)]
    assert [writer.wait(60) for writer in writers] == [0] * 10
    found = Store.open().events.of_box("b", limit=1000)
    assert len({event.message for event in found}) == 250


def test_threads_of_one_process_take_turns(store: Store) -> None:
    def write(name: int) -> None:
        for index in range(25):
            store.events.add("b", "x", f"{name}-{index}", 1.0)
            store.events.of_box("b")

    threads = [threading.Thread(target=write, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len({e.message for e in store.events.of_box("b", limit=1000)}) == 200


def test_a_write_that_fails_changes_nothing(store: Store) -> None:
    def fail() -> None:
        with store.database.write() as connection:
            connection.execute("INSERT INTO events VALUES (1, 'b', 1, 'x', 'y')")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert store.events.of_box("b") == []


def test_a_new_file_that_another_process_is_making_is_waited_for(home: Path) -> None:
    """SQLite itself refuses at once while somebody else is about to write."""
    other = sqlite3.connect(home / "s.db", isolation_level=None, check_same_thread=False)
    other.execute("CREATE TABLE t (x)")
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(DevboxError, match="stayed busy"):
        database.Database(home / "s.db", busy_timeout=0.0)
    soon = threading.Timer(0.2, lambda: other.execute("COMMIT"))
    soon.start()
    database.Database(home / "s.db").close()
    soon.join()
    other.close()


def test_ten_processes_open_a_new_file_at_once() -> None:
    code = "from devbox.state.store import Store; Store.open().boxes.all()"
    openers = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(10)]
    assert [opener.wait(60) for opener in openers] == [0] * 10


def test_a_migration_that_fails_leaves_the_old_version(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(connection: sqlite3.Connection) -> None:
        connection.execute("CREATE TABLE extra (x)")
        connection.execute("INSERT INTO no_such_table VALUES (1)")

    Store.open().close()
    before = len(migrations.MIGRATIONS)
    monkeypatch.setattr(migrations, "MIGRATIONS", (*migrations.MIGRATIONS, broken))
    with pytest.raises(StateDamaged, match="no_such_table"):
        Store.open()
    raw = sqlite3.connect(paths.state_db())
    assert raw.execute("PRAGMA user_version").fetchone()[0] == before
    assert raw.execute("SELECT COUNT(*) FROM migrations").fetchone()[0] == before
    assert not raw.execute("SELECT 1 FROM sqlite_master WHERE name = 'extra'").fetchall()


def test_a_file_of_a_newer_devbox_is_refused(home: Path) -> None:
    Store.open().close()
    raw = sqlite3.connect(paths.state_db())
    raw.execute("PRAGMA user_version = 999")
    raw.close()
    with pytest.raises(DevboxError, match="newer devbox"):
        Store.open()


def test_the_state_file_is_private(store: Store) -> None:
    assert paths.state_db().stat().st_mode & 0o077 == 0
