"""What ends or pauses a box when nobody does: its watchdog, and its provider's own timeout. A
max_uptime is promised only where one of them keeps it.

What the watchdog did is brought into our own record, and answered while we are there.
"""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager

import msgspec

from devbox import spec
from devbox.errors import Conflict, DevboxError
from devbox.lifecycle import saving
from devbox.lifecycle.operation import BoxOperation
from devbox.model import Box, BoxState
from devbox.providers.abilities import CanPause
from devbox.providers.base import Provider
from devbox.remote import agent, agent_bootstrap, preconditions
from devbox.remote.agent_bootstrap import Runs
from devbox.remote.exec import Exec
from devbox.telemetry import client, usage
from devbox.telemetry.reader import Message, Reader
from devbox.telemetry.rearm import ensure_watchdog
from devbox.text import duration
from devbox.wire.messages import BoxEvent, Verdict
from devbox.workspace import Workspace

_MOST = 200
#: kinds after which the box is about to stop
WARNINGS = frozenset({"warning"})
#: kind of the event that says what was copied into a volume before a pause
RESTORED = "restored"


class Guards(msgspec.Struct, frozen=True):
    """lines: what is in force, each a sentence. pauses: the box's watchdog can pause it. ceiling:
    max_uptime is kept, by whichever. fix: what would add the missing one, '' for nothing."""

    lines: tuple[str, ...]
    pauses: bool
    ceiling: bool
    fix: str = ""


def guards(ws: Workspace, box: Box, *, answers: bool = True) -> Guards:
    """The guards of a box that lives, from what is remembered; its provider is not called.
    answers: its watchdog does; one that was asked in vain is no longer counted on."""
    return _guards_of(BoxOperation(ws, box), answers=answers)


def guards_for(ws: Workspace, wanted: spec.BoxSpec) -> Guards:
    """The guards that a box of this spec will have."""
    provider = ws.provider(wanted.provider)
    arms = provider.can_arm("") or bool(wanted.pause_command)
    return _guards(provider, wanted, wanted.first_hardware, "", arms, answers=True, runs=False)


def tell_guards(op: BoxOperation) -> None:
    found = _guards_of(op)
    op.narrate("; ".join(found.lines))
    if found.fix:
        op.narrate(f"to have it pause itself: {found.fix}")


def keep(ws: Workspace, box: Box, seconds: float) -> float:
    """Hold off the idle pause for that long; the time it is held until. Never past the box's
    max_uptime or budget, and it says so when one comes first."""
    if box.state is not BoxState.RUNNING:
        raise Conflict(
            f"{box.name} is {box.state}: there is nothing to hold off",
            fix=f"bring it back with: devbox resume {box.name}",
        )
    preconditions.check_running(box)
    now = ws.clock()
    until = now + seconds
    line = Exec(box)
    ensure_watchdog(ws, box, line)  # one that died would hold nothing off
    until = agent.keep(line, until)
    import_events(ws, box, line)  # the box has noted it
    # Kept for the user's sake, not the box's disk: a resume holds it again.
    op = BoxOperation(ws, box)
    op.amend(kept_until=until)
    end = "max_uptime or its budget"
    capped = f" (its {end}, which `keep` does not move)" if until < now + seconds - 1 else ""
    op.narrate(f"kept awake for {duration(until - now)}{capped}")
    return until


def keep_again(op: BoxOperation, line: Runs) -> None:
    """A `keep` that has not ended holds after a pause too."""
    until = op.reload().kept_until
    if until and until > op.ws.clock() + 1:
        until = agent.keep(line, until)
        op.narrate(f"kept awake for {duration(until - op.ws.clock())}, as before")


def tell_restored(op: BoxOperation, line: Runs) -> None:
    """What the watchdog did before a pause, as far as the box's files or volumes tell."""
    if len(op.ws.store.ledger.of_box(op.box.id)) > 1:
        for event in import_events(op.ws, op.box, line):
            if event.kind == RESTORED:
                op.narrate(event.message)


def import_events(ws: Workspace, box: Box, line: Runs) -> list[BoxEvent]:
    """Put what the box's watchdog noted since we last asked into the store; the new ones."""
    argv = agent_bootstrap.command("stream", "--history", "0", "--events-after", "0")
    done = line.run(argv, check=False)
    reader, lines = Reader(), done.out.encode(errors="replace").split(b"\n")
    found = (message for line in lines for message in reader.feed(line))
    return [e for e in found if isinstance(e, BoxEvent) and _record(ws, box, e)]


def idle_status(ws: Workspace, box: Box, *, unsynced: bool = False) -> Verdict | None:
    """The watchdog's present verdict, its notes recorded on the way; one that died is armed again.
    None when the box does not run or cannot be asked. unsynced: with its count of files that are
    only there."""
    if box.state is not BoxState.RUNNING or spec.is_headless(box):
        return None
    try:
        line = Exec(box)
        ensure_watchdog(ws, box, line)
        import_events(ws, box, line)
        usage.fetch(ws, box, line)
        found = agent.verdict(line, unsynced=unsynced)
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


def _guards_of(op: BoxOperation, *, answers: bool = True) -> Guards:
    box, provider = op.box, op.provider
    arms, runs = provider.can_arm(box.handle), box.state is BoxState.RUNNING
    return _guards(provider, op.spec, box.hardware, box.handle, arms, answers=answers, runs=runs)


def _guards(
    provider: Provider,
    wanted: spec.BoxSpec,
    hardware: str,
    handle: str,
    arms: bool,
    *,
    answers: bool,
    runs: bool,
) -> Guards:
    own = tuple(provider.own_guards(hardware))
    if wanted.command:
        return Guards(own, pauses=False, ceiling=provider.keeps_ceiling)
    if not arms:
        cannot = "this box cannot pause itself: its watchdog only warns"
        unguarded = () if own else ("nothing ends it while this computer is off",)
        lines, fix = (cannot, *own, *unguarded), provider.arm_help(handle)
        return Guards(lines, pauses=False, ceiling=provider.keeps_ceiling, fix=fix)
    verb = "pause" if isinstance(provider, CanPause) else "end"
    when = "when it is idle and at max_uptime" if wanted.idle.enabled else "at max_uptime"
    if runs and not answers:
        armed = f"its watchdog was armed to {verb} it {when}, and does not answer now"
        return Guards((armed, *own), pauses=True, ceiling=provider.keeps_ceiling)
    once = "" if runs else "once it runs, "
    return Guards((f"{once}its watchdog {verb}s it {when}", *own), pauses=True, ceiling=True)


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
