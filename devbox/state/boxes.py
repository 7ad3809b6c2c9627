"""Boxes and the intent journal. Only `devbox.lifecycle` writes here."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import msgspec

from devbox.described import described
from devbox.errors import Conflict, NotFound, StateDamaged
from devbox.model import Box, BoxState, Interval
from devbox.state import ledger, lookup, salvage
from devbox.state.database import Database
from devbox.state.records import insert_event
from devbox.text import clean


class Intent(NamedTuple):
    """A journalled wish: bring a box to `goal` (running, paused, terminated, adopted).

    step: the last step that was begun. pid: the process working on it. finished None: open.
    """

    id: int
    box_id: str
    goal: str
    step: str
    pid: int
    options: dict[str, object]
    created: float
    updated: float
    finished: float | None
    outcome: str


class Unreadable(NamedTuple):
    """A row whose content cannot be decoded: what its other columns say, and why."""

    id: str
    name: str
    state: str
    why: str


class Record(NamedTuple):
    """What is known of a box. goal: its open one. current: its open interval; last: the one that
    ended last."""

    box: Box
    goal: Intent | None
    current: Interval | None
    last: Interval | None


class Change(NamedTuple):
    """What `Boxes.apply` writes. intervals: those with id 0 are new, the others get their end.
    detail: what is said of a new state."""

    box: Box
    intervals: Sequence[Interval] = ()
    detail: str = ""


_INSERT = (
    "INSERT INTO boxes (id, name, state, project, created, body, root, slug) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
)


class Boxes:
    """The boxes table and its journal."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def insert(
        self,
        box: Box,
        goal: str,
        options: dict[str, object],
        now: float,
        *,
        alias: Callable[[str], str] = "devbox-{}".format,
    ) -> int:
        """A new box and its first intent, in one transaction. The row gets its slug, free among
        live boxes, and `alias` of that. Conflict when its project has a live box of its name."""
        with self._db.write() as connection:
            live = connection.execute(
                "SELECT name, root, project, slug FROM boxes "
                "WHERE state NOT IN ('terminated', 'lost')"
            ).fetchall()
            if (box.name, box.root, box.project) in {tuple(row)[:3] for row in live}:
                raise Conflict(
                    f"a box named {box.name} exists already",
                    fix=f"see it with: devbox status {box.name}",
                )
            slug = lookup.free_slug(box, {row["slug"] for row in live})
            box = msgspec.structs.replace(box, slug=slug, host_alias=alias(slug))
            connection.execute(_INSERT, _row_of(box))
            return _insert_intent(connection, box.id, goal, options, now)

    def add_past(self, box: Box, interval: Interval) -> bool:
        """A row for what is over and was never tracked, with its interval (id 0), in one
        transaction; False when its provider's handle has a row already."""
        with self._db.write() as connection:
            rows = connection.execute("SELECT * FROM boxes WHERE name = ?", (box.name,))
            made = ((b.provider, b.handle) for b in map(_decoded, rows) if isinstance(b, Box))
            if (box.provider, box.handle) in made:
                return False
            connection.execute(_INSERT, _row_of(box))
            ledger.put(connection, [interval])
            return True

    def apply(
        self,
        box_id: str,
        change: Callable[[Record], Change],
        now: float,
        *,
        alias: Callable[[str], str] = "devbox-{}".format,
    ) -> tuple[Record, Box]:
        """Read a box's record, have `change` decide, and write the row, the ledger and the event of
        a new state, in one transaction: no other process comes between. The record before, and
        the box after. `change` is pure. A box that was over and lives on gets another name, and
        another ssh host (`alias` of its slug), when a box that was made meanwhile has its own."""
        with self._db.write() as connection:
            before = _record(connection, box_id)
            after, intervals, detail = change(before)
            if before.box.state.is_over and not after.state.is_over:
                after = _with_free_name(connection, after, alias)
                if after.name != before.box.name:
                    detail = f"{detail}, as {after.name}"
            if after != before.box:
                connection.execute(
                    "UPDATE boxes SET state = ?, body = ?, root = ? WHERE id = ?",
                    (after.state, msgspec.json.encode(after), after.root, box_id),
                )
            ledger.put(connection, intervals)
            if after.state is not before.box.state:
                more = f" ({detail})" if detail else ""
                message = f"{before.box.state} → {after.state}{more}"
                insert_event(connection, box_id, "state", message, now)
            return before, after

    def get(self, box_id: str) -> Box | None:
        found = self._db.rows("SELECT * FROM boxes WHERE id = ?", box_id)
        return _box(found[0]) if found else None

    def named(self, name: str) -> list[Box]:
        """The boxes of that name in all projects: live ones, then the latest that are over."""
        found = self._db.rows(
            "SELECT * FROM boxes WHERE name = ? "
            "ORDER BY state IN ('terminated', 'lost'), created DESC, rowid",
            name,
        )
        readable = [each for each in map(_decoded, found) if isinstance(each, Box)]
        return readable or [_box(row) for row in found]

    def own(self, name: str, here: lookup.Here) -> Box | None:
        """This project's live box of that name, else its latest one that is over."""
        return here.own(self.named(name))

    def pick(self, asked: str | None, here: lookup.Here) -> Box:
        """The box that NAME, PROJECT/NAME or FOLDER/NAME means where it is typed; without a name
        the only live one of this project. NotFound for none; Conflict for another project's."""
        if asked is None:
            return lookup.only(self.all(), here)
        owner, name = lookup.parts(asked)
        found = self.named(name)
        live = [] if found else [box.name for box in self.all()]
        return lookup.choose(found, owner, name, here, live)

    def ids_of(self, root: str, project: str) -> list[str]:
        """Ids of a project's boxes, those that are over too: of its folder, or of its name where
        that is not known."""
        rows = self._db.rows(
            "SELECT id FROM boxes WHERE (root = ? AND root != '') OR (root = '' AND project = ?)",
            root,
            project,
        )
        return [row[0] for row in rows]

    def readable(self, ids: Iterable[str]) -> list[Box]:
        """The boxes of these ids; those that are gone or cannot be decoded are left out."""
        found = []
        for box_id in ids:
            rows = self._db.rows("SELECT * FROM boxes WHERE id = ?", box_id)
            box = _decoded(rows[0]) if rows else None
            found += [box] if isinstance(box, Box) else []
        return found

    def ids_in(self, states: Sequence[BoxState]) -> list[str]:
        """Ids of the boxes in one of these states."""
        marks = ", ".join("?" * len(states))
        rows = self._db.rows(f"SELECT id FROM boxes WHERE state IN ({marks})", *states)  # noqa: S608
        return [row[0] for row in rows]

    def all(self, *, over: bool = False) -> list[Box]:
        """Live boxes by name; with `over` also those that are over. A row that cannot be decoded
        is left out here and told by `unreadable`, so that it does not hide the others."""
        where = "" if over else "WHERE state NOT IN ('terminated', 'lost') "
        found = self._db.rows(f"SELECT * FROM boxes {where}ORDER BY name, created")  # noqa: S608
        decoded = (_decoded(row) for row in found)
        return [each for each in decoded if isinstance(each, Box)]

    def unreadable(self) -> list[Unreadable]:
        """The rows that `all` leaves out."""
        return self.everything()[1]

    def everything(self) -> tuple[list[Box], list[Unreadable]]:
        """All boxes by name, those that are over too, and the rows that cannot be decoded."""
        rows = self._db.rows("SELECT * FROM boxes ORDER BY name, created")
        decoded = [_decoded(row) for row in rows]
        return (
            [each for each in decoded if isinstance(each, Box)],
            [each for each in decoded if isinstance(each, Unreadable)],
        )

    def raw(self, box_id: str) -> sqlite3.Row:
        """A row as it is stored, also one that does not decode."""
        return self._db.rows("SELECT * FROM boxes WHERE id = ?", box_id)[0]

    def delete(self, box_id: str) -> None:
        """Drop a row and close its goals. Only for one that cannot be read."""
        with self._db.write() as connection:
            connection.execute(
                "UPDATE intents SET finished = updated, outcome = 'damaged' "
                "WHERE box_id = ? AND finished IS NULL",
                (box_id,),
            )
            connection.execute("DELETE FROM boxes WHERE id = ?", (box_id,))

    def begin(self, box_id: str, goal: str, options: dict[str, object], now: float) -> int:
        """Journal a wish. It replaces older open ones of that box: the last wish wins."""
        with self._db.write() as connection:
            connection.execute(
                "UPDATE intents SET finished = ?, outcome = 'replaced' "
                "WHERE box_id = ? AND finished IS NULL",
                (now, box_id),
            )
            return _insert_intent(connection, box_id, goal, options, now)

    def step(self, intent: int, step: str, now: float) -> None:
        """Journal that a step begins, and who is at it."""
        with self._db.write() as connection:
            connection.execute(
                "UPDATE intents SET step = ?, pid = ?, updated = ? WHERE id = ?",
                (step, os.getpid(), now, intent),
            )

    def finish(self, intent: int, outcome: str, now: float) -> None:
        with self._db.write() as connection:
            connection.execute(
                "UPDATE intents SET finished = ?, outcome = ?, updated = ? "
                "WHERE id = ? AND finished IS NULL",
                (now, outcome, now, intent),
            )

    def was_asked_for(self, box_id: str) -> bool:
        """Whether any step of any wish for that box was ever begun, so that its provider may
        know it."""
        return bool(
            self._db.rows(
                "SELECT 1 FROM intents WHERE box_id = ? AND step != 'journalled' LIMIT 1", box_id
            )
        )

    def open_intents(self, box_id: str | None = None) -> list[Intent]:
        """Wishes not yet finished, oldest first."""
        clause, values = ("", ()) if box_id is None else (" AND box_id = ?", (box_id,))
        found = self._db.rows(
            f"SELECT * FROM intents WHERE finished IS NULL{clause} ORDER BY id",  # noqa: S608
            *values,
        )
        return [_intent(row) for row in found]


def _row_of(box: Box) -> tuple[object, ...]:
    body = msgspec.json.encode(box)
    return box.id, box.name, box.state, box.project, box.created, body, box.root, box.slug


def _record(connection: sqlite3.Connection, box_id: str) -> Record:
    row = connection.execute("SELECT * FROM boxes WHERE id = ?", (box_id,)).fetchone()
    if row is None:
        raise NotFound(
            f"the record of box {clean(box_id, 60)} is gone",
            means="what it was made as at its provider is untouched, and costs what it did",
            fix="devbox reconcile",
        )
    goal = connection.execute(
        "SELECT * FROM intents WHERE box_id = ? AND finished IS NULL ORDER BY id DESC LIMIT 1",
        (box_id,),
    ).fetchone()
    return Record(_box(row), _intent(goal) if goal else None, *ledger.latest(connection, box_id))


def _with_free_name(connection: sqlite3.Connection, box: Box, alias: Callable[[str], str]) -> Box:
    """The box under a name and a slug that no other live box has, written so."""
    live = connection.execute(
        "SELECT name, root, project, slug FROM boxes "
        "WHERE state NOT IN ('terminated', 'lost') AND id != ?",
        (box.id,),
    ).fetchall()
    if (box.name, box.root, box.project) in {tuple(row)[:3] for row in live}:
        box = msgspec.structs.replace(box, name=f"{box.name[:35]}-{box.id[:4]}")
    if (box.slug or box.name) in {row["slug"] for row in live}:
        slug = lookup.free_slug(box, {row["slug"] for row in live})
        box = msgspec.structs.replace(box, slug=slug, host_alias=alias(slug))
    connection.execute(
        "UPDATE boxes SET name = ?, slug = ? WHERE id = ?",
        (box.name, box.slug or box.name, box.id),
    )
    return box


def _intent(row: sqlite3.Row) -> Intent:
    return Intent(**{**dict(row), "options": _options(row["options"])})


def _insert_intent(
    connection: object, box_id: str, goal: str, options: dict[str, object], now: float
) -> int:
    cursor = connection.execute(  # type: ignore[attr-defined]
        "INSERT INTO intents (box_id, goal, step, pid, options, created, updated) "
        "VALUES (?, ?, 'journalled', ?, ?, ?, ?)",
        (box_id, goal, os.getpid(), msgspec.json.encode(options), now, now),
    )
    return int(cursor.lastrowid)


def _box(row: sqlite3.Row) -> Box:
    found = _decoded(row)
    if isinstance(found, Box):
        return found
    raise StateDamaged(
        f"the record of box {clean(found.name, 60)} cannot be read: {found.why}",
        means="the box at its provider is untouched, and costs what it did if it runs",
        fix="devbox doctor --fix keeps a copy and rebuilds the record",
    )


def _decoded(row: sqlite3.Row) -> Box | Unreadable:
    try:
        return msgspec.json.decode(row["body"], type=described(Box))
    except (msgspec.MsgspecError, RecursionError, TypeError, ValueError) as error:
        if box := salvage.mended(row):
            return box
        why = clean(str(error), 200)
        return Unreadable(str(row["id"]), str(row["name"]), str(row["state"]), why)


def _options(blob: bytes) -> dict[str, object]:
    """They only say more about a goal: one that cannot be read is pursued without them."""
    try:
        return msgspec.json.decode(blob, type=dict[str, object])
    except (msgspec.MsgspecError, RecursionError, TypeError, ValueError):
        return {}


__all__ = ["BoxState", "Boxes", "Change", "Intent", "Record", "Unreadable"]
