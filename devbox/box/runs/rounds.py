"""rounds.jsonl: the rounds of a run that works in rounds (`JobRequest.spread`), one record a line.

    {"round": Round}         it was added
    {"withdrawn": number}    it is not to be worked on
    {"begun": number}        the worker works on it
    {"finished": RoundDone}  its results in rounds/<number>/out are whole, or not needed any more
    {"closed": true}         no further one comes

Whoever reads before it writes holds rounds.lock, so that a round is never both withdrawn and begun.
A record is on the disk before its writer is answered; a line that a crash tore was never answered,
and counts for nothing.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Dict, Iterator, List, NamedTuple, Optional, Set

from devbox.box import paths
from devbox.box.runs.folder import BadRequest, RunFolder
from devbox.wire.codec import Unreadable, clean, decode, encode, plain
from devbox.wire.jobs import Round, RoundDone, RoundsAsked

MAX_ASKED = 64 << 20  # bytes of a request; a record of it is hardly longer


class _Record(NamedTuple):
    round: Optional[Round] = None
    withdrawn: Optional[int] = None
    begun: Optional[int] = None
    finished: Optional[RoundDone] = None
    closed: bool = False


class Rounds:
    """What is known of the rounds of a run; `read` brings it up to date."""

    def __init__(self, folder: RunFolder) -> None:
        self.waiting: Dict[int, Round] = {}
        self.begun: Dict[int, Round] = {}
        self.finished: List[RoundDone] = []
        self.withdrawn: Dict[int, None] = {}
        self.closed = False
        self._given: Dict[int, Round] = {}
        self._done: Set[int] = set()
        self._folder = folder
        self._path = folder.path / "rounds.jsonl"
        self._offset = 0

    def folder(self, number: int) -> Path:
        """rounds/<number> of the run's folder."""
        return self._folder.path / "rounds" / str(number)

    def read(self) -> "Rounds":
        """Take in what was added since; itself."""
        try:
            if self._path.stat().st_size == self._offset:
                return self
            with self._path.open("rb") as stream:
                stream.seek(self._offset)
                data = stream.read()
        except FileNotFoundError:
            return self
        whole = data[: data.rfind(b"\n") + 1]
        self._offset += len(whole)
        for line in whole.split(b"\n")[:-1]:
            try:
                self._take(decode(line, _Record, limit=2 * MAX_ASKED))
            except Unreadable:
                continue  # the disk lost a part of it
        return self

    def ask(self, asked: RoundsAsked) -> None:
        """Carry out what is asked. BadRequest: nothing of it was."""
        with self._locked():
            self._check(asked)
            gone = [number for number in asked.withdraw if self._may_withdraw(number)]
            new = {each.number: each for each in asked.add if each.number not in self._given}
            records: List[Dict[str, object]] = [
                {"withdrawn": number} for number in dict.fromkeys(gone)
            ]
            records += [
                {"round": each}
                for number, each in new.items()
                if number not in self.withdrawn and number not in gone
            ]
            if asked.close and not self.closed:
                records.append({"closed": True})
            self._write(records)
        for done in self.finished[: asked.seen]:
            shutil.rmtree(self.folder(done.number), ignore_errors=True)

    def begin(self) -> Optional[Round]:
        """The round to work on: the one that was begun and not finished, else the first that
        waits, which is begun now. None when there is none yet, or no more (see `closed`)."""
        if not self._is_changed() and not self.begun and not self.waiting:
            return None
        with self._locked():
            for found in self.begun.values():
                return found
            for found in self.waiting.values():
                self._write([{"begun": found.number}])
                return found
        return None

    def finish(self, done: RoundDone) -> None:
        """Its results are whole. Nothing when it is finished already."""
        with self._locked():
            if done.number in self.begun:
                self._write([{"finished": done}])

    @property
    def ahead(self) -> int:
        """How many pieces wait."""
        return sum(len(each.pieces) for each in self.waiting.values())

    def _check(self, asked: RoundsAsked) -> None:
        new: Dict[int, Round] = {}
        for each in asked.add:
            known = new.setdefault(each.number, self._given.get(each.number, each))
            if known != each:
                raise BadRequest("conflict", f"round {each.number} is another one already")
            if each.number in self._given or each.number in self.withdrawn:
                continue
            if self.closed:
                raise BadRequest("conflict", f"run {self._folder.id} takes no further rounds")
            for name in each.pieces:
                if not is_inside(name):
                    shown = clean(ascii(name), 100)
                    raise BadRequest("bad_request", f"{shown} is no name of a piece")
            if not paths.home(each.input).exists():
                what = f"the input of round {each.number} is not on the box: {each.input}"
                raise BadRequest("missing", what)

    def _may_withdraw(self, number: int) -> bool:
        """One that has begun is only given up where nobody works on it: the run is over."""
        if number in self.withdrawn or number in self._done:
            return False
        if number not in self.begun:
            return True
        status = self._folder.status()
        return status is None or status.is_over

    def _is_changed(self) -> bool:
        try:
            return self._path.stat().st_size != self._offset
        except FileNotFoundError:
            return False

    def _take(self, record: _Record) -> None:
        if record.round is not None:
            number = record.round.number
            self._given[number] = record.round
            self.waiting[number] = record.round
        if record.withdrawn is not None:
            self.withdrawn[record.withdrawn] = None
            self.waiting.pop(record.withdrawn, None)
            self.begun.pop(record.withdrawn, None)
        if record.begun is not None and record.begun in self.waiting:
            self.begun[record.begun] = self.waiting.pop(record.begun)
        if record.finished is not None:
            self.begun.pop(record.finished.number, None)
            self._done.add(record.finished.number)
            self.finished.append(record.finished)
        self.closed = self.closed or record.closed

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with open(self._folder.path / "rounds.lock", "ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self.read()
            yield

    def _write(self, records: List[Dict[str, object]]) -> None:
        """Add them, and take them in. Held: the lock."""
        if not records:
            return
        lines = b"".join(
            encode({name: plain(one) for name, one in each.items()}) for each in records
        )
        handle = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.ftruncate(handle, self._offset)  # what a crash left of a line
            while lines:
                lines = lines[os.write(handle, lines) :]
            os.fsync(handle)
            if not self._offset:
                sync(self._path.parent)
        finally:
            os.close(handle)
        self.read()


def sync(path: Path) -> None:
    """Have what a file or folder holds on the disk, not only on its way there."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def is_inside(name: str) -> bool:
    """Whether a name of a piece is a path inside an input."""
    pure = PurePosixPath(name)
    return bool(pure.parts) and not pure.is_absolute() and ".." not in pure.parts
