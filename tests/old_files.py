"""State files of older schema versions: made by the migrations of that time, with rows as devbox
wrote them then."""

from __future__ import annotations

import base64
import sqlite3
from typing import Any

import msgspec

from devbox import paths
from devbox.model import Box
from devbox.state.migrations import MIGRATIONS

VERSIONS = range(1, len(MIGRATIONS) + 1)
_BOX_1 = (
    *("id", "name", "provider", "token", "state", "hardware", "price", "created", "updated"),
    *("seen", "handle", "endpoint", "workdir", "stage", "message", "started", "deadline"),
    *("project", "spec"),
)
_BOX_2 = (*_BOX_1, "root", "slug", "host_alias", "connection", "unanswered", "given_up")
_CONNECTION = {
    **dict.fromkeys(("endpoint", "git_endpoint", "ssh_gateway", "server_url", "namespace"), ""),
    **{"environment": "", "docker_host": "", "price": None, "pause_token": "", "identity": ""},
}
_NAMED = 4  # the version from which files keep the names of migrations
_IDLE = {"enabled": True, "after": 1800.0, "warn": 300.0, "stuck_after": 5400.0}
_SPEC_1 = {"provider": "local", "image": "cpu", "idle": _IDLE, "max_uptime": 28800.0}

_STATUS = {
    **{"state": "failed", "reason": "items", "message": "1 of 4 items failed", "attempt": 2},
    **{"attempts": [{"started": 10.0, "ended": 12.0}, {"started": 20.0, "ended": 50.0}]},
    **{"started": 20.0, "ended": 50.0, "exit_code": 3, "progress": [3, 4.0], "unit": "items"},
    **{"counts": {"total": 4, "done": 3, "failed": 1, "skipped": 0}, "eta": None, "stage": "draw"},
    **{"note": "", "timings": {"draw": 1.5}, "failures": [{"item": "c.png", "error": "no c"}]},
    **{"failures_dropped": 0, "peak": {"rss": 5, "vram": None, "vram_source": None}},
    **{"log_bytes": 9, "log_dropped": 0, "submitter": None},
}


def old_file(version: int) -> sqlite3.Connection:
    """An empty state file of that version in DEVBOX_HOME, in place of the one there is."""
    for suffix in ("", "-wal", "-shm"):
        file = paths.state_db()
        file.with_name(file.name + suffix).unlink(missing_ok=True)
    raw = sqlite3.connect(paths.state_db())
    for migration in MIGRATIONS[:version]:
        migration(raw)
    raw.execute(f"PRAGMA user_version = {version}")
    if version >= _NAMED:
        names = [(migration.__name__, 1.0) for migration in MIGRATIONS[:version]]
        raw.executemany("INSERT INTO migrations VALUES (?, ?)", names)
    return raw


def put_box(raw: sqlite3.Connection, version: int, box: Box) -> None:
    """A box with its goal, its open interval, a run and an event."""
    body: dict[str, Any] = msgspec.to_builtins(box)
    if version < 3:
        body["price"] = {"micro_per_hour": box.price.micro_per_hour, "source": box.price.source}
        body = {key: body[key] for key in (_BOX_1 if version == 1 else _BOX_2)}
    if "connection" in body and version < 5:
        body["connection"] = dict(_CONNECTION)
    if version < 6:
        body["spec"] = base64.b64encode(msgspec.json.encode(_SPEC_1)).decode()
    row = {
        **{key: body[key] for key in ("id", "name", "state", "project", "created")},
        "body": msgspec.json.encode(body),
    }
    if version > 1:
        row |= {"root": box.root, "slug": box.slug}
    _insert(raw, "boxes", row)
    _insert(
        raw,
        "intents",
        {"box_id": box.id, "goal": "running", "step": "login", "pid": 1, "options": b"{}"}
        | {"created": 1.0, "updated": 1.0, "finished": 2.0, "outcome": "done"},
    )
    interval: dict[str, Any] = {"box_id": box.id, "box_name": box.name, "provider": box.provider}
    interval |= {"hardware": box.hardware, "micro_per_hour": 1_000_000, "price_source": "config"}
    _insert(
        raw, "intervals", interval | {"start": box.created} | ({"unit": 0} if version > 2 else {})
    )
    run = {"id": "r1", "box_id": box.id, "box_name": box.name, "job": "j", "state": "failed"}
    stored = {"created": 1.0, "request": b"{}", "status": msgspec.json.encode(_STATUS)}
    _insert(raw, "runs", run | stored)
    _insert(raw, "events", {"box_id": box.id, "at": 1.0, "kind": "state", "message": "up"})
    raw.commit()


def _insert(raw: sqlite3.Connection, table: str, row: dict[str, Any]) -> None:
    raw.execute(
        f"INSERT INTO {table} ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})",
        tuple(row.values()),
    )
