"""Boxes and the intent journal. Only `devbox.lifecycle` writes here."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import NamedTuple

import msgspec

from devbox.errors import Conflict
from devbox.model import Box, BoxState
from devbox.state import lookup
from devbox.state.database import Database


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
            connection.execute(
                "INSERT INTO boxes (id, name, state, project, created, body, root, slug) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    box.id,
                    box.name,
                    box.state,
                    box.project,
                    box.created,
                    msgspec.json.encode(box),
                    box.root,
                    slug,
                ),
            )
            return _insert_intent(connection, box.id, goal, options, now)

    def update(self, box: Box) -> None:
        """Replace a box's row."""
        with self._db.write() as connection:
            connection.execute(
                "UPDATE boxes SET state = ?, body = ?, root = ? WHERE id = ?",
                (box.state, msgspec.json.encode(box), box.root, box.id),
            )

    def get(self, box_id: str) -> Box | None:
        found = self._db.rows("SELECT body FROM boxes WHERE id = ?", box_id)
        return _box(found[0]["body"]) if found else None

    def named(self, name: str) -> list[Box]:
        """The boxes of that name in all projects: live ones, then the latest that are over."""
        found = self._db.rows(
            "SELECT body FROM boxes WHERE name = ? "
            "ORDER BY state IN ('terminated', 'lost'), created DESC",
            name,
        )
        return [_box(row["body"]) for row in found]

    def own(self, name: str, here: lookup.Here) -> Box | None:
        """This project's live box of that name, else its latest one that is over."""
        return here.own(self.named(name))

    def pick(self, asked: str | None, here: lookup.Here) -> Box:
        """The box that NAME, PROJECT/NAME or FOLDER/NAME means where it is typed; without a name
        the only live one of this project. NotFound for none; Conflict for another project's."""
        if asked is None:
            return lookup.only(self.all(), here)
        owner, name = lookup.parts(asked)
        return lookup.choose(self.named(name), owner, name, here)

    def all(self, *, over: bool = False) -> list[Box]:
        """Live boxes by name; with `over` also those that are over."""
        where = "" if over else "WHERE state NOT IN ('terminated', 'lost') "
        found = self._db.rows(f"SELECT body FROM boxes {where}ORDER BY name, created")  # noqa: S608
        return [_box(row["body"]) for row in found]

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
        return [
            Intent(**{**dict(row), "options": msgspec.json.decode(row["options"])}) for row in found
        ]


def _insert_intent(
    connection: object, box_id: str, goal: str, options: dict[str, object], now: float
) -> int:
    cursor = connection.execute(  # type: ignore[attr-defined]
        "INSERT INTO intents (box_id, goal, step, pid, options, created, updated) "
        "VALUES (?, ?, 'journalled', ?, ?, ?, ?)",
        (box_id, goal, os.getpid(), msgspec.json.encode(options), now, now),
    )
    return int(cursor.lastrowid)


def _box(body: bytes) -> Box:
    return msgspec.json.decode(body, type=Box)


__all__ = ["BoxState", "Boxes", "Intent"]
