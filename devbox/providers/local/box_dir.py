"""A local box on disk. Standard library only: the box's server imports this before it listens.

    box.json      settings that hold until the next resume (no secret in it)
    goal.json     {"want": running|paused|terminated, "life": n}; life counts the starts
    server.json   {"pid", "port", "life", "at"} of the server that listens, or listened last
    meter.jsonl   a line when a life begins and one when it ends: the box's bill
    heartbeat     its mtime is the last time the server was alive
    stop          its content asks the server to pause the box, and says why
    host_key      the server's private key
    server.log    what the server of this life complained about
    home/         HOME of every session

Two locks, held by living processes and freed by the kernel however those end, say what is alive:
`server.lock` the SSH server, `guard.lock` its guard. A pid on disk is never trusted for that.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, TypedDict

RUNNING, PAUSED, TERMINATED = "running", "paused", "terminated"
MARK = "DEVBOX_LOCAL_BOX"
"""Environment variable with the box's folder, in every process of a box."""


class Settings(NamedTuple):
    """What holds until the next resume. host_key: the public line. uptime: seconds."""

    name: str
    hardware: str
    host_key: str
    uptime: float


class Listening(NamedTuple):
    """The server that listens, or listened last."""

    pid: int
    port: int
    life: int


class Start(TypedDict):
    """What the server of one life is told on its stdin. uptime: seconds. env: with secrets."""

    life: int
    uptime: float
    env: dict[str, str]
    keys: list[str]


class Goal(NamedTuple):
    """What the box should be, and which start of it this is about."""

    want: str
    life: int
    at: float


class Life(NamedTuple):
    """One start of a box. began None: it ended before it listened. ended None: it has not ended,
    or nobody lived to write it down."""

    number: int
    began: float | None
    ended: float | None
    reason: str
    failed: bool


class Stamp(TypedDict, total=False):
    """A line of the meter; reason and failed: of an end."""

    event: str
    life: int
    at: float
    reason: str
    failed: bool


class BoxDir:
    """One box's folder. Reads give None for what is not there or half removed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.home = path / "home"
        self.box_root = self.home / ".devbox-box"
        self.log = path / "server.log"
        self.heartbeat = path / "heartbeat"
        self.stop = path / "stop"
        self.host_key = path / "host_key"
        #: public key lines let in while a server runs, besides those it was started with
        self.admitted = path / "admitted"

    @property
    def mark(self) -> str:
        """The value of MARK for this box's processes."""
        return str(self.path)

    def settings(self) -> Settings | None:
        found = read_json(self.path / "box.json")
        return Settings(*(found[name] for name in Settings._fields)) if found else None

    def write_settings(self, settings: Settings) -> None:
        content = json.dumps({"v": 1, **settings._asdict()})
        replace(self.path / "box.json", content, durable=True)

    def goal(self) -> Goal | None:
        found = read_json(self.path / "goal.json")
        return Goal(found["want"], found["life"], found["at"]) if found else None

    def write_goal(self, want: str, life: int) -> None:
        content = json.dumps({"want": want, "life": life, "at": time.time()})
        replace(self.path / "goal.json", content, durable=True)

    def server(self) -> Listening | None:
        found = read_json(self.path / "server.json")
        return Listening(*(found[name] for name in Listening._fields)) if found else None

    def write_server(self, port: int, life: int) -> None:
        content = {"pid": os.getpid(), "port": port, "life": life, "at": time.time()}
        replace(self.path / "server.json", json.dumps(content))

    def beat(self) -> None:
        """Say that the server is alive."""
        with open(self.heartbeat, "ab"):
            os.utime(self.heartbeat)

    def last_beat(self) -> float | None:
        with suppress(OSError):
            return self.heartbeat.stat().st_mtime
        return None

    def stop_reason(self) -> str | None:
        """Why the server should pause the box now; None when it should not."""
        with suppress(OSError):
            return self.stop.read_text(errors="replace")[:500].strip() or "its watchdog asked"
        return None

    def life(self, number: int) -> Life | None:
        """What the meter has of one life; None when it has neither begun nor ended."""
        began = ended = None
        reason, failed = "", False
        for line in self._meter():
            if line.get("life") == number:
                if line["event"] == "start":
                    began = line["at"]
                else:
                    ended, reason, failed = line["at"], line["reason"], line["failed"]
        if began is None and ended is None:
            return None
        return Life(number, began, ended, reason, failed)

    def stamp_start(self, life: int) -> None:
        self._stamp({"event": "start", "life": life, "at": time.time()})

    def stamp_end(self, life: int, at: float, reason: str, failed: bool) -> None:
        """Write the end of a life. The first one to write it is right; later ones change
        nothing. failed: the server ended by itself, and nobody wanted it to."""
        self._stamp({"event": "end", "life": life, "at": at, "reason": reason, "failed": failed})

    def _stamp(self, line: Stamp) -> None:
        with open(self.path / "meter.jsonl", "a+b") as meter:
            fcntl.flock(meter, fcntl.LOCK_EX)
            meter.seek(0)
            known = parse_lines(meter.read())
            if any((k["event"], k["life"]) == (line["event"], line["life"]) for k in known):
                return
            meter.write(b"\n" * bool(meter.tell()) + json.dumps(line).encode())
            meter.flush()
            os.fsync(meter.fileno())

    def _meter(self) -> list[Stamp]:
        with suppress(OSError):
            return parse_lines((self.path / "meter.jsonl").read_bytes())
        return []

    def alive(self) -> bool:
        """Whether the server or its guard lives."""
        return self.holds("guard.lock") or self.holds("server.lock")

    def holds(self, name: str) -> bool:
        """Whether a living process holds that lock."""
        try:
            with open(self.path / name, "rb") as handle:
                try:
                    fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except BlockingIOError:
                    return True
                return False
        except OSError:
            return False

    def take(self, name: str, patience: float = 1.0) -> int | None:
        """Hold a lock until this process ends; None when another process holds it. Patience
        outlasts those who only look, in seconds. Returns the file descriptor."""
        handle = os.open(self.path / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        until = time.monotonic() + patience
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return handle
            except BlockingIOError:
                if time.monotonic() > until:
                    os.close(handle)
                    return None
                time.sleep(0.005)

    def log_tail(self) -> str:
        """The last of what the server complained about."""
        with suppress(OSError):
            return self.log.read_text(errors="replace")[-1000:].strip()
        return ""


def replace(path: Path, content: str, *, durable: bool = False) -> None:
    """Write a small private file in one step. durable: it outlives a power cut."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with open(temporary, "w", opener=_private) as stream:
        stream.write(content)
        if durable:
            stream.flush()
            os.fsync(stream.fileno())
    os.replace(temporary, path)


def read_json(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def parse_lines(content: bytes) -> list[Stamp]:
    """The whole lines of a meter; one that a crash cut off is left out."""
    out = []
    for line in content.splitlines():
        with suppress(ValueError):
            out.append(json.loads(line))
    return out


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
