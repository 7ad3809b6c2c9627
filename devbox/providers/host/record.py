"""What this computer has adopted: one small file a box, under DEVBOX_HOME/hosts.

The machine itself is not ours to create or delete, so the adoption *is* the resource: making the
record is `create`, removing it is `terminate`.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from devbox import paths, spec
from devbox.errors import StateDamaged
from devbox.files import locked, private_dir, write_atomic
from devbox.text import clean


class Record(msgspec.Struct, frozen=True):
    """target: what the user types after `ssh`. host_keys: from the user's known_hosts and read
    through their own ssh. adopted: our line is in place; before that it may be or not. since: when
    it began to be ours, or woke. paused: our pause_command was given and the machine has not been
    seen since."""

    token: str
    name: str
    target: str
    host: str
    port: int
    user: str
    via: str
    host_keys: tuple[str, ...]
    since: float
    adopted: bool = False
    pause_command: tuple[str, ...] = ()
    paused: float | None = None
    deadline: float | None = None


class Records:
    """The folder of records. Writes are atomic and under one lock."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = private_dir(folder or paths.home() / "hosts", parents=True)

    def get(self, token: str) -> Record | None:
        """StateDamaged when what finds the machine cannot be read."""
        file = self._file(token)
        try:
            record, lost = spec.lenient(msgspec.json.decode(file.read_bytes()), Record)
        except FileNotFoundError:
            return None
        except (msgspec.MsgspecError, RecursionError, ValueError):
            record, lost = None, ("all of it",)
        if record:
            return record
        raise StateDamaged(
            f"{file}, the record of a machine, cannot be read: {clean(', '.join(lost), 200)}",
            means="the machine is untouched; devbox's line may still be in its authorized_keys",
            fix=f"move it away: mv {shlex.quote(str(file))} {shlex.quote(str(file))}.damaged",
        )

    def all(self) -> Iterator[Record]:
        for file in sorted(self._folder.glob("*.json")):
            record = self.get(file.stem)
            if record:
                yield record

    def reserve(self, record: Record, allow: Callable[[Record], None]) -> Record:
        """Add a record unless its token is known; what is there then. `allow` is called with each
        other record, under the lock, and raises when they cannot both be."""
        with locked(self._folder / "lock"):
            known = self.get(record.token)
            if known:
                return known
            for other in self.all():
                allow(other)
            write_atomic(self._file(record.token), msgspec.json.encode(record))
            return record

    def put(self, record: Record) -> None:
        """Replace a record that is there; one that was removed meanwhile stays away."""
        with locked(self._folder / "lock"):
            if self._file(record.token).exists():
                write_atomic(self._file(record.token), msgspec.json.encode(record))

    def remove(self, token: str) -> None:
        with locked(self._folder / "lock"):
            self._file(token).unlink(missing_ok=True)

    def _file(self, token: str) -> Path:
        return self._folder / f"{token}.json"
