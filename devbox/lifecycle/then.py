"""`devbox run --then`: what a box does with itself once a run has ended. The box does it, with this
computer off; one that still waits for the run fetches what it made and does it at once.

No end loses work. What a provider's box cannot do by itself is refused, or told, before the run
starts.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import NamedTuple

from devbox import spec
from devbox.errors import Conflict, DevboxError, NotFound, UsageError
from devbox.jobs import status
from devbox.jobs.submit import Ordered
from devbox.lifecycle.down import down
from devbox.lifecycle.pause import pause
from devbox.lifecycle.saving import ends_disk, unsaved_data
from devbox.lifecycle.watchdog import guards, guards_for
from devbox.model import Box, BoxState, Run
from devbox.money import exposure
from devbox.providers.abilities import CanPause
from devbox.remote import agent
from devbox.remote.exec import Exec
from devbox.remote.preconditions import check_running
from devbox.telemetry import rearm
from devbox.text import clean
from devbox.wire.jobs import JobList, ThenAnswer
from devbox.wire.messages import End, Then
from devbox.workspace import Workspace

_PATIENCE = 15  # looks, a second apart, until the box has seen the end of its run


class Order(NamedTuple):
    """lines: what it comes to, told before the run."""

    then: Ordered
    lines: tuple[str, ...]


def order(ws: Workspace, wanted: End, box: Box | spec.BoxSpec, name: str, *, stays: bool) -> Order:
    """What `wanted` comes to on a box, or on one that is still to be made by that spec. stays: this
    computer waits for the run. UsageError where the box cannot do it or would lose the results."""
    known = box if isinstance(box, Box) else None
    table = spec.decode_box(box.spec) if isinstance(box, Box) else box
    provider = ws.provider_of(known) if known else ws.provider(table.provider)
    can_pause = isinstance(provider, CanPause)
    found = guards(ws, known) if known else guards_for(ws, table)
    if wanted == "pause" and not can_pause:
        raise UsageError(
            f"boxes of provider {provider.name} cannot pause",
            means="nothing was started",
            fix="end it after the run instead, with: --then down",
        )
    if not found.pauses:
        raise UsageError(
            f"{name} cannot {'pause' if can_pause else 'end'} itself, so that it would run on and "
            "cost when this computer is off",
            means="nothing was started",
            fix="; or ".join(filter(None, (found.fix, "leave out --then"))),
        )
    kept, volumes = (
        provider.pause_keeps(table),
        any(not v.read_only for v in table.volumes.values()),
    )
    does: End = "pause" if can_pause else "down"
    verb = "pauses" if can_pause else "ends"
    lines = [f"{verb} by itself when the run has ended, also with this computer off"]
    if not kept.disk and volumes:
        lines.append(f"what is only on it is copied to its volumes before it {verb}")
    elif not kept.disk and not stays:
        raise UsageError(
            f"{name} keeps {kept.words} when it {verb}, and with --detach nobody fetches what the "
            "run made",
            means="nothing was started",
            fix=f"leave out --detach, or give it a volume: [boxes.{name}.volumes]",
        )
    elif not kept.disk:
        lines.append(
            f"it keeps {kept.words} when it {verb}: this terminal fetches what the run made first; "
            "where that is closed, it stays up until its idle pause"
        )
    if wanted != does:
        here = "this terminal ends it once the results are here; where that is closed, "
        lines.append(f"{here if stays else ''}it can only pause itself, and devbox down ends it")
    return Order(Ordered(wanted, does), tuple(f"{name}: {line}" for line in lines))


def change(ws: Workspace, box: Box, wanted: End | None) -> str:
    """Order it for the run that is under way on the box, the latest of several, or with None take
    back what was ordered; the run's id, '' where nothing was ordered. NotFound when no run is under
    way."""
    check_running(box)
    line = Exec(box)
    if wanted is None:
        was = agent.job(line, ThenAnswer, "then", "none")
        _journal(ws, was.run, None)
        return was.run
    found = order(ws, wanted, box, box.name, stays=False)
    runs = [each for each in agent.job(line, JobList, "list").runs if not each.is_over]
    runs = [each for each in runs if each.service is None]
    if not runs:
        raise NotFound(
            f"no run is under way on {box.name}",
            means=exposure.of(ws, box).sentence,
            fix=f"stop it now with: devbox {wanted} {box.name}",
        )
    rearm.arm(ws, box, line)
    done = agent.job(line, ThenAnswer, "then", found.then.does, runs[-1].id)
    _journal(ws, done.run, wanted)
    for told in found.lines:
        ws.narrate(told)
    return done.run


@contextmanager
def fetching(ws: Workspace, run: Run) -> Iterator[None]:
    """In the block, the results of a run with an order are fetched: its box waits for that."""
    box = ws.store.boxes.get(run.box_id)
    with ExitStack() as held:
        if status.then(run) and box and box.state is BoxState.RUNNING:
            try:
                held.enter_context(agent.syncing(Exec(box)))
            except DevboxError as error:
                ws.narrate(f"{box.name}: it was not asked to wait: {error.what}")
        try:
            yield
        finally:
            with suppress(DevboxError):  # why: it waits for a login at most
                held.close()


def carry_out(ws: Workspace, run: Run) -> Box | None:
    """Do now what was ordered with a run that has ended and was fetched, unless its box waits for
    more than that; the box, None where nothing was done. Conflict: files would be lost, and the box
    stays up for them."""
    wanted, box = status.then(run), ws.store.boxes.get(run.box_id)
    if not wanted or box is None or box.state is not BoxState.RUNNING:
        return None
    try:
        found = _standing(ws, box, run)
    except DevboxError as error:
        ws.narrate(f"{box.name}: it could not be asked, and stops by itself: {error.what}")
        return None
    if found is None:
        ws.narrate(f"{box.name}: nothing is ordered with run {run.id} any more")
        return None
    if found.waits not in ("", "files", "fetch"):
        ws.narrate(f"{box.name}: {clean(found.text)}")
        return None
    verb, line = _without_loss(ws, box, wanted), Exec(box)
    # Else it would hold for a box that is resumed at once.
    agent.job(line, ThenAnswer, "then", "none")
    try:
        return down(ws, box) if verb == "down" else pause(ws, box)
    except DevboxError:
        with suppress(DevboxError):  # why: what went wrong with the stop is to be told
            agent.job(line, ThenAnswer, "then", found.do, run.id)
        raise


def _standing(ws: Workspace, box: Box, run: Run) -> Then | None:
    """What the box says of the order, once it has seen that the run is over."""
    line, found = Exec(box), None
    for _ in range(_PATIENCE):
        found = agent.verdict(line).then
        if found is None or found.run != run.id:
            return None
        if found.waits != "run":
            return found
        ws.sleep(1.0)
    return found


def _without_loss(ws: Workspace, box: Box, wanted: End) -> End:
    """The verb that loses nothing beyond what is fetched first. Conflict for none."""
    if not ends_disk(ws, box, wanted):
        return wanted
    found = unsaved_data(ws, box, wanted)
    if found is None or not (found.left or found.unknown):
        return wanted
    for told in found.lines():
        ws.narrate(told)
    if wanted == "down" and guards(ws, box).pauses and not ends_disk(ws, box, "pause"):
        ws.narrate(f"{box.name}: it is paused and not ended, so that none of these is lost")
        return "pause"
    raise Conflict(
        f"{box.name} stays up, since files are only on it",
        means=exposure.of(ws, box).sentence,
        fix=f"stop it all the same with: devbox {wanted} {box.name}",
    )


def _journal(ws: Workspace, run_id: str, wanted: End | None) -> None:
    run = ws.store.runs.get(run_id) if run_id else None
    if run:
        ws.store.runs.put(status.with_then(run, wanted))
