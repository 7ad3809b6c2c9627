"""What the watchdog on a box did, brought into our own record, and answered while we are there."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager

from devbox.errors import DevboxError
from devbox.lifecycle import saving
from devbox.lifecycle.guards import guards
from devbox.model import Box, BoxState
from devbox.remote import agent_bootstrap
from devbox.remote.connection import Connection, connect
from devbox.spec import is_headless
from devbox.telemetry import arming, client
from devbox.telemetry.reader import Message, Reader
from devbox.telemetry.rearm import ensure_watchdog
from devbox.wire.messages import BoxEvent, Verdict
from devbox.workspace import Workspace

_MOST = 200
#: kinds after which the box is about to stop
WARNINGS = frozenset({"warning"})
#: kind of the event that says what was copied into a volume before a pause
RESTORED = "restored"


def import_events(ws: Workspace, box: Box, connection: Connection) -> list[BoxEvent]:
    """Put what the box's watchdog noted since we last asked into the store; the new ones."""
    argv = agent_bootstrap.command("stream", "--history", "0", "--events-after", "0")
    done = connection.run(argv, check=False)
    found = Reader(box).feed(done.out.encode(errors="replace"))
    return [e for e in found if isinstance(e, BoxEvent) and _record(ws, box, e)]


def idle_status(ws: Workspace, box: Box, *, unsynced: bool = False) -> Verdict | None:
    """The watchdog's present verdict, its notes recorded on the way; one that died is armed again.
    None when the box does not run or cannot be asked. unsynced: with its count of files that are
    only there."""
    if box.state is not BoxState.RUNNING or is_headless(box):
        return None
    try:
        with connect(box) as connection:
            ensure_watchdog(ws, box, connection)
            import_events(ws, box, connection)
            found = arming.verdict(connection, unsynced=unsynced)
    except DevboxError as error:
        ws.narrate(f"{box.name}: its watchdog could not be asked: {error.what}")
        return None
    if guards(ws, box).pauses:
        return found
    # It would like to, and has no way to.
    return found._replace(pauses_at=None, cause=None)


@contextmanager
def save_on_warning(ws: Workspace, box: Box) -> Iterator[None]:
    """While the block runs: narrate and record what the watchdog does, and when it warns that it
    will pause the box, fetch what the sync rules name before it does."""
    stream = client.messages(box, history=0.0)
    ended = threading.Event()
    worker = threading.Thread(target=_listen, args=(ws, box, stream, ended), daemon=True)
    worker.start()
    try:
        yield
    finally:
        # The box beats at least every ten seconds; the thread is a daemon and holds nothing.
        ended.set()


def _listen(
    ws: Workspace, box: Box, stream: Generator[Message, None, None], ended: threading.Event
) -> None:
    with closing(stream):
        try:
            for message in stream:
                if ended.is_set():
                    return
                if isinstance(message, BoxEvent) and _record(ws, box, message):
                    ws.narrate(f"{box.name}: {message.message}")
                    if message.kind in WARNINGS:
                        saving.save_before_watchdog_pause(ws, box)
        except DevboxError as error:
            ws.narrate(f"{box.name}: {error.what}")


def _record(ws: Workspace, box: Box, event: BoxEvent) -> bool:
    """True when it is new. The box's clock and sequence name an event."""
    known = ws.store.events.of_box(box.id, limit=_MOST)
    if any((e.at, e.message) == (event.t, event.message) for e in known):
        return False
    ws.store.events.add(box.id, event.kind, event.message, event.t)
    return True
