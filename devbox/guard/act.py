"""What a schedule or ceiling says, done by the verbs that a user would type, in a process that
outlives the guard.

    python -P -m devbox.guard.act KEY

The verbs journal what they do, so that an end of this process loses nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec

from devbox import lifecycle, paths, process, spec
from devbox.errors import BudgetError, DevboxError, Locked
from devbox.files import locked
from devbox.guard import entries, keep
from devbox.guard.entries import Entry, Record
from devbox.guard.watch import say
from devbox.text import clean
from devbox.workspace import Workspace

#: seconds that one verb may take; a start waits for its provider and for its files
_PATIENCE = 4 * 3600.0


class Outcome(msgspec.Struct, frozen=True):
    """Of one verb. code: its exit code. what: its error's first line, '' when it went well."""

    code: int
    what: str = ""


Run = Callable[[list[str], str], Outcome]


def verbs(entry: Entry, *, unsaved: bool = False) -> list[list[str]]:
    """The commands, each after the one before went well. unsaved: a ceiling, without fetching."""
    if entry.verb == "up":
        return [["up", entry.box]]
    if entry.verb == "run":
        return [["up", entry.box], ["run", entry.name, "--box", entry.box, "--detach"]]
    if entry.verb == "pause":
        return [["pause", entry.box, "--yes"]]
    return [["pause", entry.box, "--yes", *(["--no-save"] if unsaved else [])]]


def act(ws: Workspace, record: Record, run: Run) -> Record:
    """Do it; the record with its end. ws: of the entry's project."""
    entry = record.entry
    for words in verbs(entry, unsaved=record.tries > 0 and _keeps_files(ws, entry)):
        done = run(words, entry.root or str(paths.home()))
        if done.code:
            return _failed(ws, record, words, done)
    said = {"up": "brought up", "run": "started", "pause": "paused", "ceiling": "paused"}
    at = keep.at(entry, record.due or ws.clock())
    box = keep.box_of(ws, entry)
    by = "its max_uptime" if entry.verb == "ceiling" else f"its schedule ({entry.written})"
    what = f"{said[entry.verb]} by {by} at {at}"
    ws.store.events.add(box.id if box else "", "schedule", what, ws.clock())
    return _end(ws, record, ok=True, outcome=said[entry.verb])


def verb(words: list[str], cwd: str) -> Outcome:
    """Run one as `devbox WORDS` there."""
    argv = [sys.executable, "-P", "-m", "devbox.cli.main", *words, "--json"]
    try:
        done = process.finished(argv, timeout=_PATIENCE, cwd=cwd)
    except DevboxError as error:
        return Outcome(error.exit_code, error.what)
    except OSError as error:
        return Outcome(1, f"{clean(cwd, 200)}: {error.strerror}")
    lines = done.stderr.decode(errors="replace").strip().splitlines()
    what = lines[-1] if lines else ""
    with suppress(msgspec.MsgspecError, TypeError, KeyError):
        what = str(msgspec.json.decode(what)["what"])
    return Outcome(done.returncode, clean(what, 500))


def _failed(ws: Workspace, record: Record, words: list[str], done: Outcome) -> Record:
    entry = record.entry
    at = keep.at(entry, record.due or ws.clock())
    refused = done.code == BudgetError.exit_code
    kind = "schedule-refused" if refused else "schedule-failed"
    how = "was refused" if refused else "failed"
    outcome = f"devbox {words[0]} {how}: {done.what}"
    if entry.verb != "ceiling" or record.tries == 0:
        keep.tell(ws, entry, kind, f"at {at} devbox {words[0]} {how}: {done.what}")
    return _end(ws, record, ok=False, outcome=outcome)


def _keeps_files(ws: Workspace, entry: Entry) -> bool:
    """Whether files that could not be fetched stay on the box when it pauses. Elsewhere it runs on
    for their sake, as with budgets: lost work is worse than money."""
    box = keep.box_of(ws, entry)
    return box is not None and not lifecycle.ends_disk(ws, box, "pause")


def _end(ws: Workspace, record: Record, *, ok: bool, outcome: str) -> Record:
    tries = 0 if ok else record.tries + 1
    return msgspec.structs.replace(record, ended=ws.clock(), ok=ok, outcome=outcome, tries=tries)


def main(key: str) -> None:
    with suppress(Locked), locked(entries.lock(key)):
        record = entries.read(key)
        if record is None or record.began is None or record.ended is not None:
            return
        root = record.entry.root
        config = spec.load(Path(root) / spec.FILE_NAME if root else None)
        ws = Workspace(config, narrate=say)
        entries.write(act(ws, record, verb))
        ws.close()


if __name__ == "__main__":
    main(sys.argv[1])
