"""SQLite under many processes, crashes and time that jumps."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import msgspec
import pytest

from devbox import paths
from devbox.errors import Conflict, DevboxError, NotFound, StateDamaged
from devbox.model import Box, BoxState, Interval, Price, Run, RunState
from devbox.state import database, migrations
from devbox.state.boxes import Change, Record
from devbox.state.database import Database
from devbox.state.store import Store
from tests.boxes import rewrite

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
    rewrite(store, a_box(state=BoxState.TERMINATED))
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


def test_no_other_process_writes_between_what_apply_reads_and_what_it_writes(
    home: Path, store: Store
) -> None:
    box = a_box()
    store.boxes.insert(box, "running", {}, 1.0)
    other = Store(Database(store.database.path, busy_timeout=0.0))

    def change(record: Record) -> Change:
        assert record.box == store.boxes.get(box.id)
        with pytest.raises(DevboxError, match="busy"):
            other.boxes.begin(box.id, "terminated", {}, 2.0)
        ended = msgspec.structs.replace(record.box, state=BoxState.TERMINATED)
        interval = Interval(0, box.id, box.name, "local", "cpu", Price(7), 1.0, 2.0)
        return Change(ended, [interval], "gone")

    before, after = store.boxes.apply(box.id, change, 3.0)
    other.close()
    assert before.goal is not None
    assert (before.goal.goal, before.current, before.last) == ("running", None, None)
    assert after.state is BoxState.TERMINATED
    assert [(each.start, each.end) for each in store.ledger.of_box(box.id)] == [(1.0, 2.0)]
    (event,) = store.events.of_box(box.id)
    assert event.message == f"{box.state} → terminated (gone)"


def test_an_apply_that_fails_writes_nothing(store: Store) -> None:
    box = a_box()
    store.boxes.insert(box, "running", {}, 1.0)
    twice = [Interval(0, box.id, box.name, "local", "cpu", Price(7), 1.0, None)] * 2
    ended = msgspec.structs.replace(box, state=BoxState.TERMINATED)
    with pytest.raises(sqlite3.IntegrityError):
        store.boxes.apply(box.id, lambda _: Change(ended, twice), 2.0)
    found = store.boxes.get(box.id)
    assert found is not None
    assert found.state is box.state
    assert store.ledger.of_box(box.id) == []
    assert store.events.of_box(box.id) == []


def test_the_past_of_a_handle_is_added_once(store: Store) -> None:
    past = a_box(state=BoxState.TERMINATED, handle="sb-1")
    stretch = Interval(0, past.id, past.name, "local", "cpu", Price(7), 1.0, 2.0)
    assert store.boxes.add_past(past, stretch)
    assert not store.boxes.add_past(msgspec.structs.replace(past, id="again"), stretch)
    assert [each.end for each in store.ledger.of_box(past.id)] == [2.0]
    assert store.boxes.get("again") is None


def test_a_box_that_lives_on_leaves_its_name_to_the_one_made_meanwhile(store: Store) -> None:
    store.boxes.insert(a_box(id="0123456789"), "running", {}, 1.0)
    first = store.boxes.get("0123456789")
    assert first
    rewrite(store, msgspec.structs.replace(first, state=BoxState.LOST))
    store.boxes.insert(a_box(id="second"), "running", {}, 2.0)

    def lives(record: Record) -> Change:
        return Change(msgspec.structs.replace(record.box, state=BoxState.RUNNING), [], "it answers")

    _, after = store.boxes.apply(first.id, lives, 3.0)
    assert (after.name, after.slug) == ("train-0123", "train-0123")
    assert after.host_alias == "devbox-train-0123"
    *_, event = store.events.of_box(first.id)
    assert event.message == "lost → running (it answers, as train-0123)"
    assert [box.id for box in store.boxes.named("train")] == ["second"]


def test_a_box_that_lives_on_keeps_a_name_that_is_still_its_own(store: Store) -> None:
    store.boxes.insert(a_box(), "running", {}, 1.0)
    before = store.boxes.get("id-train")
    assert before
    rewrite(store, msgspec.structs.replace(before, state=BoxState.LOST))
    _, after = store.boxes.apply("id-train", lambda _: Change(before, [], "it answers"), 3.0)
    assert (after.name, after.slug, after.host_alias) == ("train", "train", "devbox-train")
    assert store.events.of_box("id-train")[-1].message == "lost → running (it answers)"


def test_a_run_whose_record_cannot_be_read_hides_none_beside_it(store: Store) -> None:
    for name in ("r1", "r2"):
        store.runs.put(Run(name, "b", "train", "j", RunState.RUNNING, 1.0, request=b'{"a":1}'))
    with store.database.write() as connection:
        connection.execute("UPDATE runs SET request = '[', state = 'odd' WHERE id = 'r1'")
    found = {run.id: (run.state, run.request) for run in store.runs.latest()}
    assert found == {"r1": (RunState.UNKNOWN, b"{}"), "r2": (RunState.RUNNING, b'{"a":1}')}


def test_the_record_of_a_box_that_is_gone_is_no_box(store: Store) -> None:
    with pytest.raises(NotFound, match="the record of box gone is gone"):
        store.boxes.apply("gone", lambda record: Change(record.box, []), 1.0)


def test_a_level_of_a_budget_is_told_once_and_those_below_it_with_it(store: Store) -> None:
    assert store.budgets.tell(["day:1", "day:0.8"], "b", "spent", 1.0)
    assert not store.budgets.tell(["day:0.8"], "b", "80 %", 2.0)
    assert not store.budgets.tell(["day:1", "day:0.8"], "b", "spent", 3.0)
    assert [event.message for event in store.events.of_box("b")] == ["spent"]


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
from devbox.state.boxes import Change, Record
from devbox.state.database import Database
from devbox.state.store import Store
from tests.boxes import close_interval, open_interval
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
    """SQLite itself refuses at once while someone else is about to write."""
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
