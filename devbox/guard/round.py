"""One round: schedules and ceilings first, which take a moment; then, with the answer given, the
look at the providers and the budgets, which may take long.

    python -P -m devbox.guard.round [--no-look]

Its answer is one line of JSON on stdout: `every`, seconds until the next round, and `next`, the
unix time of the next thing that is due, or null.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import msgspec

from devbox import lifecycle, paths, process, spec
from devbox.described import described
from devbox.errors import DevboxError
from devbox.files import write_atomic
from devbox.guard import entries, keep, place, silence
from devbox.guard.entries import Entry
from devbox.guard.watch import EVERY, say
from devbox.lifecycle import enforce
from devbox.money import exposure
from devbox.notify import deliver
from devbox.text import clean
from devbox.workspace import Workspace

T = TypeVar("T")

#: seconds between rounds while nothing costs or may start to
CALM = 1800.0


class Status(msgspec.Struct, frozen=True):
    """What the last round came to. at, next: unix times. problems: sentences about what it could
    not keep."""

    at: float
    every: float
    next: float | None = None
    problems: tuple[str, ...] = ()


class Round:
    """clock, narrate: as of a workspace. begin: starts what an entry says."""

    def __init__(
        self,
        begin: Callable[[Entry], None],
        make: Callable[[spec.Spec], Workspace] = lambda config: Workspace(config, narrate=say),
    ) -> None:
        self._begin, self._make = begin, make
        self._problems: list[str] = []
        self.ws = make(spec.load(None))

    def keep(self) -> Status:
        """What has a time, of every project that is known here. What is wrong with one of them ends
        no other's turn."""
        coming = [self._try("max_uptime", lambda: keep.ceilings(self.ws, self._begin))]
        for file in self._try("projects", lambda: entries.projects(self.ws)) or ():
            coming.append(self._try(str(file), lambda file=file: self._project(file)))  # type: ignore[misc]
        soonest = min((each for each in coming if each is not None), default=None)
        every = EVERY if self._try("boxes", self._costs) is not False else CALM
        found = Status(self.ws.clock(), every, soonest, tuple(self._problems))
        self._try("status", lambda: write_status(found))
        return found

    def look(self) -> None:
        """Reconcile, keep budgets, and have what was learned told."""
        findings = self._try("reconcile", lambda: lifecycle.reconcile(self.ws))
        if findings is not None:
            self._try("silence", lambda: silence.note(self.ws, findings))
        self._try("budgets", self._budgets)
        self._try("notices", lambda: deliver.deliver(self.ws))
        found = read_status()
        if found and self._problems:
            changed = msgspec.structs.replace(found, problems=tuple(self._problems))
            self._try("status", lambda: write_status(changed))

    def _budgets(self) -> None:
        for done in enforce.enforce(self.ws):
            say(f"guard: {done.kind}: {done.detail}")

    def _project(self, file: Path) -> float | None:
        ws = self._make(spec.load(file))
        try:
            return keep.schedules(ws, entries.of(ws.spec), self._begin)
        finally:
            ws.close()

    def _costs(self) -> bool:
        found = exposure.of_all(self.ws, self.ws.store.boxes.all())
        return any(not each.is_nothing for each in found.values())

    def _try(self, doing: str, action: Callable[[], T]) -> T | None:
        """Its result; None when it failed, which is a problem that the status names."""
        try:
            return action()
        except Exception as error:  # whatever one part meets, the others have their turn
            known = error.what if isinstance(error, DevboxError) else ""
            why = known or f"{type(error).__name__}: {clean(str(error), 300)}"
            self._problems.append(why if doing in why else f"{clean(doing, 200)}: {why}")
            say(f"guard: {self._problems[-1]}")
            return None


def begin(entry: Entry) -> None:
    process.spawn([sys.executable, "-P", "-m", "devbox.guard.act", entry.key])


def write_status(status: Status) -> None:
    write_atomic(_status(), msgspec.json.encode(status))


def read_status() -> Status | None:
    with suppress(OSError, msgspec.MsgspecError):
        return msgspec.json.decode(_status().read_bytes(), type=described(Status))
    return None


def _status() -> Path:
    return place.folder() / "status.json"


def main(words: list[str]) -> None:
    gc.set_threshold(50_000)  # as in devbox.cli.main: a round makes little garbage
    gc.freeze()
    os.chdir(paths.home())
    this = Round(begin)
    found = this.keep()
    said = msgspec.json.encode({"every": found.every, "next": found.next})
    sys.stdout.buffer.write(said + b"\n")
    sys.stdout.flush()
    # Who started us reads no further, and is not kept waiting.
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)
    if "--no-look" not in words:
        this.look()


if __name__ == "__main__":
    main(sys.argv[1:])
