"""The verbs a user types. Each journals its goal under the box's lock and converges to it."""

from __future__ import annotations

import shlex
import uuid
from contextlib import suppress

from devbox import names, process, spec
from devbox.errors import Conflict, DevboxError, NotFound, UsageError
from devbox.images import templates
from devbox.lifecycle import (
    absence,
    asking,
    converge,
    login,
    refusal,
    respec,
    saving,
    watchdog_events,
)
from devbox.lifecycle.merge import is_only_lost
from devbox.lifecycle.observe import observe
from devbox.lifecycle.steps import Journal, amend, box_lock, reload
from devbox.lifecycle.waiting import waiting
from devbox.model import Box, BoxState, Offer
from devbox.money import budget
from devbox.money.fit import best
from devbox.remote import preconditions
from devbox.remote.config import known_hosts, other_homes
from devbox.remote.connection import connect
from devbox.telemetry import arming, rearm
from devbox.telemetry.rearm import ensure_watchdog
from devbox.text import dollars, duration
from devbox.workspace import Workspace


def up(ws: Workspace, name: str | None, *, wait: bool = True) -> Box:
    """Bring the box of devbox.toml up: create it, resume it, or finish what was begun.

    wait=False returns once the provider has accepted; `settle` or `reconcile` does the rest.
    """
    if name and "/" in name:
        return _up_elsewhere(ws, ws.box(name), wait=wait)
    name, wanted = ws.spec.box(name)
    _require_tools(headless=bool(wanted.command))
    known = _there_again(ws, ws.store.boxes.own(name, ws.here))
    box = known if known and not known.state.is_over else _new(ws, name, wanted)
    with box_lock(ws, box.id, box.name):
        box = observe_now(ws, reload(ws, box))
        if box.state.is_over:
            # The provider ended it behind our back; the name is free for a new one.
            ws.narrate(f"{name}: the earlier box is {box.state}; making a new one")
            return up(ws, name, wait=wait)
        if respec.is_unmade(ws, box) and respec.differs(box, wanted):
            ws.narrate(f"{name}: it was never created, so devbox.toml counts as it is now")
            respec.drop(ws, box)
            return up(ws, name, wait=wait)
        return _run_as(ws, box, wanted, wait=wait)


def _up_elsewhere(ws: Workspace, box: Box, *, wait: bool) -> Box:
    """`up` of a box that was named with its project. A new one is made in its folder only."""
    if ws.here.has(box) and box.name in ws.spec.boxes:
        return up(ws, box.name, wait=wait)
    if box.state.is_over:
        raise NotFound(
            f"{box.qualified} is {box.state}",
            means="it costs nothing",
            fix=f"make a new one with: cd {shlex.quote(box.root)} && devbox up {box.name}",
        )
    with box_lock(ws, box.id, box.name):
        box = observe_now(ws, reload(ws, box))
        _refuse_over(box)
        project = ws.project_of(box)
        known = box.name in project.boxes
        wanted = project.box(box.name)[1] if known else spec.decode_box(box.spec)
        return _run_as(ws, box, wanted, wait=wait)


def _run_as(ws: Workspace, box: Box, wanted: spec.BoxSpec, *, wait: bool) -> Box:
    """Run a known box by what devbox.toml says now, as far as it can follow; Conflict names the
    rest, before a paused box is started and after any other is up."""
    changes = respec.compare(ws, box, wanted)
    if box.state in respec.STOPPED:
        respec.refuse_left(box, changes)
    box = _run(ws, respec.take(ws, box, changes), wait=wait)
    respec.refuse_left(box, changes)
    return box


def resume(ws: Workspace, box: Box) -> Box:
    """Bring a paused box back, with the spec it was made from."""
    _require_tools(headless=spec.is_headless(box))
    with box_lock(ws, box.id, box.name):
        box = observe_now(ws, reload(ws, box))
        _refuse_over(box)
        return _run(ws, box, wait=True)


def resume_goal(ws: Workspace, box: Box) -> Box:
    """Finish the open goal of a box, whatever it is; without one, only look."""
    with box_lock(ws, box.id, box.name):
        box = observe_now(ws, reload(ws, box))
        work = ws.store.boxes.open_intents(box.id)
        if not work:
            return box
        return finish(ws, box, work[-1].goal, Journal(ws, work[-1].id))


def pause(ws: Workspace, box: Box, *, save: bool = True, fetch_ignored: bool = False) -> Box:
    """Stop paying and keep what the provider keeps (`pause_keeps`); `save` first fetches what the
    sync rules name, and where the disk is not kept all that is synced, with `fetch_ignored` also
    what ignore files leave out. Ask before with `losses`."""
    with box_lock(ws, box.id, box.name):
        box = observe_now(ws, reload(ws, box))
        _refuse_over(box)
        if box.state is BoxState.PAUSED:
            return box
        if not box.handle:
            raise Conflict(
                f"{box.name} has not been made yet, as far as is known",
                means=refusal.cost_line(ws, box),
                fix=f"devbox up {box.name}, or end it with: devbox down {box.name}",
            )
        converge.require_can_pause(ws, box)
        if save:
            saving.save_or_raise(ws, box, "pause {}", ignored=fetch_ignored)
        intent = ws.store.boxes.begin(box.id, "paused", {}, ws.clock())
        return converge.to_paused(ws, box, Journal(ws, intent))


def down(ws: Workspace, box: Box, *, save: bool = True, fetch_ignored: bool = False) -> Box:
    """End a box permanently; `save` and `fetch_ignored` as in `pause`. Until the provider confirms,
    the box shows as stopping and costs."""
    with box_lock(ws, box.id, box.name):
        box = reload(ws, box)
        if box.state.is_over:
            box = observe_now(ws, box)
        if box.state.is_over:
            return box
        with waiting(ws, box, "being looked at"):
            absence.check_before_end(ws, box)
        if save:
            with suppress(DevboxError):  # that it cannot be asked is for the end itself to find
                box = observe_now(ws, box)
        if save and box.state is BoxState.RUNNING:
            saving.save_or_raise(ws, box, "down {}", ignored=fetch_ignored)
        intent = ws.store.boxes.begin(box.id, "terminated", {}, ws.clock())
        return converge.to_terminated(ws, box, Journal(ws, intent))


def keep(ws: Workspace, box: Box, seconds: float) -> float:
    """Hold off the idle pause for that long; the time it is held until. Never past the box's
    max_uptime, and it says so when that comes first."""
    if box.state is not BoxState.RUNNING:
        raise Conflict(
            f"{box.name} is {box.state}: there is nothing to hold off",
            fix=f"bring it back with: devbox resume {box.name}",
        )
    preconditions.check_running(box)
    now = ws.clock()
    until = now + seconds
    with connect(box) as connection:
        ensure_watchdog(ws, box, connection)  # one that died would hold nothing off
        until = arming.keep(connection, until)
        watchdog_events.import_events(ws, box, connection)  # the box has noted it
    # Kept for the user's sake, not the box's disk: a resume holds it again.
    amend(ws, box, kept_until=until)
    capped = " (its max_uptime, which `keep` does not move)" if until < now + seconds - 1 else ""
    message = f"kept awake for {duration(until - now)}{capped}"
    ws.narrate(f"{box.name}: {message}")
    return until


def finish(ws: Workspace, box: Box, goal: str, journal: Journal) -> Box:
    """Run the steps of a goal; the caller holds the box's lock."""
    if box.state.is_over:
        return converge.finalize(ws, box, journal)
    if goal == "running":
        return converge.to_running(ws, box, journal)
    if goal == "paused":
        return converge.to_paused(ws, box, journal)
    if goal == "terminated":
        return converge.to_terminated(ws, box, journal)
    raise AssertionError(f"unknown goal {goal}")


def _new(ws: Workspace, name: str, wanted: spec.BoxSpec) -> Box:
    names.name(name)
    provider = ws.provider(wanted.provider)
    if wanted.command and not provider.runs_commands:
        raise UsageError(
            f"{name} cannot be a command: boxes of provider {wanted.provider} are for logging in",
            means="nothing was started",
            fix=f'provider = "hf-job", or leave command out and: devbox run --box {name} -- …',
        )
    offer: Offer = best(provider, wanted)
    now = ws.clock()
    budget.check(ws.spec.budget, ws.store.database, offer.price, wanted.max_uptime, now)
    ws.narrate(
        f"{name}: {wanted.provider} {offer.hardware.name} at "
        f"{dollars(offer.price.micro_per_hour, per_hour=True)} ({offer.price.source}), "
        f"max_uptime {duration(wanted.max_uptime)}"
    )
    if image := converge.with_image(provider, wanted, offer.hardware.name).image:
        what = f" ({templates.get(image).summary})" if templates.known(image) else ""
        how = "" if wanted.image else ", for its hardware; another one: image in devbox.toml"
        ws.narrate(f"{name}: image {image}{what}{how}")
    box = Box(
        id=uuid.uuid4().hex[:12],
        name=name,
        provider=wanted.provider,
        token=f"{name}-{uuid.uuid4().hex[:8]}",
        state=BoxState.PROVISIONING,
        hardware=offer.hardware.name,
        price=offer.price,
        created=now,
        updated=now,
        seen=now,
        workdir=wanted.workdir,
        project=ws.spec.project,
        root=ws.here.root,
        spec=spec.encode_box(wanted),
        connection=ws.connection(wanted.provider),
    )
    ws.store.boxes.insert(box, "running", {}, now, alias=other_homes.free_alias)
    return reload(ws, box)


def _there_again(ws: Workspace, box: Box | None) -> Box | None:
    """The latest box of a name; one that was lost is looked for before another takes its place."""
    if box is None or not is_only_lost(box):
        return box
    try:
        return observe_now(ws, box)
    except DevboxError as error:
        ws.narrate(
            f"{box.name}: the earlier box, which was lost, cannot be asked for: {error.what}"
        )
        return box


def _run(ws: Workspace, box: Box, *, wait: bool) -> Box:
    begun = ws.store.boxes.open_intents(box.id)
    if begun and begun[-1].goal == "paused" and box.state is BoxState.PAUSING:
        # Its provider is at the pause already; running again begins from there.
        ws.narrate(f"{box.name}: finishing the pause that was begun")
        box = finish(ws, box, "paused", Journal(ws, begun[-1].id))
    work = [i for i in ws.store.boxes.open_intents(box.id) if i.goal == "running"]
    if box.state is BoxState.RUNNING and not work and _can_log_in(box):
        ws.narrate(f"{box.name} is up already")
        rearm.look(ws, box)
        return box
    if box.state is BoxState.STOPPING:
        raise Conflict(
            f"{box.name} is being ended",
            means="it costs until its provider confirms",
            fix=f"finish that with: devbox down {box.name}",
        )
    if box.state is BoxState.PAUSED:
        _check_budget_again(ws, box)
    intent = work[-1].id if work else ws.store.boxes.begin(box.id, "running", {}, ws.clock())
    return converge.to_running(ws, box, Journal(ws, intent), wait_for=wait)


def _require_tools(*, headless: bool) -> None:
    """ToolMissing before anything is journalled or billed, not once the box runs."""
    for program in () if headless else ("ssh", "ssh-keygen", "rsync"):
        process.require(program)


def _can_log_in(box: Box) -> bool:
    """Whether ssh knows the box's host key and the box ours; the user may have removed a file."""
    if box.endpoint is None:
        return True
    return bool(known_hosts.pinned(known_hosts.alias(box))) and login.knows_our_key(box)


def _check_budget_again(ws: Workspace, box: Box) -> None:
    wanted = spec.decode_box(box.spec)
    limits = ws.project_of(box).budget
    budget.check(limits, ws.store.database, box.price, wanted.max_uptime, ws.clock())


def observe_now(ws: Workspace, box: Box) -> Box:
    """The box with its provider's present answer, so that no verb acts on an old state. One that
    was lost may be there again."""
    if box.state.is_over and not is_only_lost(box):
        return box
    if not box.handle:
        return asking.find_handle(ws, box)
    with waiting(ws, box, "being looked at"):
        return observe(ws, box)


def _refuse_over(box: Box) -> None:
    if box.state.is_over:
        raise NotFound(
            f"{box.name} is {box.state}",
            means="it costs nothing",
            fix=f"make a new one with: devbox up {box.name}",
        )
