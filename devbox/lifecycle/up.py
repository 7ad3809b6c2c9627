"""`up` and `resume`: place → create or resume → observe until running → ssh → log in → arm →
include. Every step may run again after a crash."""

from __future__ import annotations

import shlex
import uuid
from contextlib import suppress

from devbox import names, process, spec
from devbox.errors import (
    BudgetError,
    BuildFailed,
    Conflict,
    DevboxError,
    NoCapacity,
    NotFound,
    TimedOut,
    UsageError,
)
from devbox.images import templates
from devbox.lifecycle import asking, login, moving, placing, respec, watchdog
from devbox.lifecycle.down import finalize
from devbox.lifecycle.merge import is_only_lost
from devbox.lifecycle.observe import observe
from devbox.lifecycle.operation import BoxOperation, working_on
from devbox.lifecycle.pause import refuse_over, to_paused, withdraw
from devbox.lifecycle.settling import until_running
from devbox.model import Box, BoxState
from devbox.money import limits, projection
from devbox.money.fit import Candidate
from devbox.providers import registry
from devbox.remote.command import noise_in
from devbox.remote.config import known_hosts, other_homes
from devbox.telemetry import rearm
from devbox.workspace import Workspace


def up(
    ws: Workspace, name: str | None, *, wait: bool = True, for_capacity: float | None = None
) -> Box:
    """Bring the box of devbox.toml up: create it, resume it, or finish what was begun. Of several
    choices the first that has hardware free is taken.

    wait=False returns once the provider has accepted; `resume_goal` or `reconcile` does the rest.
    for_capacity: seconds to go round the choices while none has hardware free; None for one round.
    NoCapacity when none had.
    """
    if name and "/" in name:
        return _up_elsewhere(ws, ws.box(name), wait=wait)
    if not ws.here.inside and (made := _made_without_a_file(ws, name)):
        return _up_elsewhere(ws, made, wait=wait)
    name, wanted = ws.spec.box(name)
    _require_tools(headless=bool(wanted.command))
    search = placing.Search(ws, name, wanted, for_capacity)
    while known := _live(ws, name):
        patience = search.patience(len(spec.choices(wanted)))
        try:
            if found := _continue(ws, known, wanted, wait=wait, patience=patience):
                return found
        except NoCapacity as error:
            search.refused(f"{known.provider} {known.hardware}", error)
            if kept := _live(ws, name):  # it has run before: it waits for its own hardware
                if kept.choices and kept.state is BoxState.PAUSED:
                    error.fix += f"; or on its next hardware: devbox resume {name}"
                search.next_round()
    _tell_gated(ws)
    while True:
        if box := _first_free(ws, name, wanted, search, wait=wait):
            return box
        search.next_round()


def _first_free(
    ws: Workspace, name: str, wanted: spec.BoxSpec, search: placing.Search, *, wait: bool
) -> Box | None:
    """The first choice that has hardware free, up; None for none."""
    found = search.candidates()
    patience = search.patience(len(found))
    for candidate in found:
        try:
            box = _new(ws, name, wanted, candidate, asks=search.is_new(candidate.offer))
            with working_on(ws, box) as op, placing.taken_back(op, patience):
                return _run(op, wait=wait, patience=patience)
        except (NoCapacity, BudgetError) as error:
            search.refused(f"{candidate.offer.provider} {candidate.offer.hardware.name}", error)
    return None


def _tell_gated(ws: Workspace) -> None:
    if any(each.gated for each in ws.spec.checkpoints.values()):
        from devbox.checkpoints import access

        for sentence in access.sentences(ws.spec):
            ws.narrate(sentence)


def _live(ws: Workspace, name: str) -> Box | None:
    known = _there_again(ws, ws.store.boxes.own(name, ws.here))
    return known if known and not known.state.is_over else None


def _continue(
    ws: Workspace, box: Box, wanted: spec.BoxSpec, *, wait: bool, patience: float | None
) -> Box | None:
    """Bring a known box up; None when there is none any more, and a new one can be made."""
    with working_on(ws, box) as op:
        asking.look(op)
        if op.box.state.is_over:
            # The provider ended it behind our back; the name is free for a new one.
            ws.narrate(f"{box.name}: the earlier box is {op.box.state}; making a new one")
            if goal := op.open_goal():
                op.intent = goal.id
                finalize(op)
            return None
        if placing.finish_taking_back(op):
            return None
        if respec.is_unmade(op) and respec.differs(op, wanted):
            ws.narrate(f"{box.name}: it was never created, so devbox.toml counts as it is now")
            respec.drop(op)
            return None
        with placing.taken_back(op, patience):
            return _run_as(op, wanted, wait=wait, patience=patience)


def resume(ws: Workspace, box: Box) -> Box:
    """Bring a paused box back, with the spec it was made from; where its hardware is not free, on
    its next choice, when the user agrees."""
    _require_tools(headless=spec.is_headless(box))
    with working_on(ws, box) as op:
        asking.look(op)
        refuse_over(op.box)
        return moving.resumed(op, lambda patience: _run(op, wait=True, patience=patience))


def to_running(op: BoxOperation, *, wait: bool = True, patience: float | None = None) -> Box:
    """Create or resume, wait until it runs, make it reachable, arm its watchdog. patience: seconds
    that it may wait for hardware; None for as long as for anything else."""
    try:
        return _to_running(op, wait=wait, patience=patience)
    except BuildFailed as error:
        op.note("build-failed", error.what)
        raise


def _to_running(op: BoxOperation, *, wait: bool, patience: float | None) -> Box:
    fresh = asking.create(op)
    if asking.resume(op):
        fresh = False
    if not wait:
        op.step("accepted", lambda: None)  # its create is over: nobody calls it once more
        op.narrate(f"accepted; finish with: devbox status {op.box.name} --wait")
        op.narrate(op.cost_line())
        return op.box
    op.step("observe", lambda: _until_running(op, fresh=fresh, patience=patience))
    if op.spec.command:
        _price_now(op)
        return finalize(op) if op.box.state.is_over else op.finish("running")
    unwritten = op.step("ssh", lambda: login.publish(op))
    with op.step("login", lambda: login.log_in(op, config=unwritten is None)) as connection:
        watchdog.tell_guards(op)
        op.step("arm", lambda: rearm.arm(op.ws, op.box, connection))
        if noise := noise_in(connection.noise):
            op.narrate(noise)
        watchdog.keep_again(op, connection)
        watchdog.tell_restored(op, connection)
    # Guarded from here on; what follows is for the comfort of this computer.
    op.step("include", lambda: login.extend_user_config(op))
    _price_now(op)
    if unwritten:
        raise unwritten
    return op.finish("running")


def _price_now(op: BoxOperation) -> None:
    """The bill may have begun at a price that was known from earlier; by now nobody waits for the
    answer to that."""
    with suppress(DevboxError):  # why: the box is up, and each look at it asks again
        if op.provider.renew_prices():
            observe(op)


def _until_running(op: BoxOperation, *, fresh: bool, patience: float | None) -> None:
    """When nobody waits any more, a box that waits for its machine is taken back: one that has not
    run, where there is more to try, by `placing.taken_back`."""
    try:
        until_running(op, fresh=fresh, patience=patience)
    except (KeyboardInterrupt, NoCapacity):
        if patience is None or not placing.is_first_try(op):
            withdraw(op)
        raise
    except TimedOut as error:
        if withdraw(op):
            means = "it was taken back from the queue, so that it cannot start by itself; "
            error.means = means + op.cost_line()
        raise


def _made_without_a_file(ws: Workspace, name: str | None) -> Box | None:
    """The box of a folder without devbox.toml that options of `up` made there before; None when
    a file names it now, or it is over."""
    if name in ws.spec.boxes or (name is None and len(ws.spec.boxes) == 1):
        return None
    asked = spec.project_name(ws.spec.root) if name is None else names.name(name)
    found = ws.store.boxes.own(asked, ws.here)
    return None if found is None or found.state.is_over else found


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
    with working_on(ws, box) as op:
        asking.look(op)
        refuse_over(op.box)
        project = ws.project_of(op.box)
        known = op.box.name in project.boxes
        wanted = project.box(op.box.name)[1] if known else op.spec
        return _run_as(op, wanted, wait=wait)


def _run_as(
    op: BoxOperation, wanted: spec.BoxSpec, *, wait: bool, patience: float | None = None
) -> Box:
    """Run a known box by what devbox.toml says now, as far as it can follow; Conflict names the
    rest, before a paused box is started and after any other is up."""
    changes = respec.compare(op, wanted)
    if op.box.state in respec.STOPPED:
        respec.refuse_left(op.box, changes)
    respec.take(op, changes)
    _run(op, wait=wait, patience=patience)
    respec.refuse_left(op.box, changes)
    return op.box


def _run(op: BoxOperation, *, wait: bool, patience: float | None = None) -> Box:
    goal = op.open_goal()
    if goal and goal.goal == "paused" and op.box.state is BoxState.PAUSING:
        # Its provider is at the pause already; running again begins from there.
        op.narrate("finishing the pause that was begun")
        op.intent = goal.id
        to_paused(op)
        goal = None
    begun = goal if goal and goal.goal == "running" else None
    if op.box.state is BoxState.RUNNING and not begun and _can_log_in(op.box):
        op.ws.narrate(f"{op.box.name} is up already")
        rearm.look(op.ws, op.box)
        return op.box
    if op.box.state is BoxState.STOPPING:
        raise Conflict(
            f"{op.box.name} is being ended",
            means="it costs until its provider confirms",
            fix=f"finish that with: devbox down {op.box.name}",
        )
    if op.box.state is BoxState.PAUSED:
        limits.check(op.ws, op.box, op.spec, op.box.price)
        table = op.ws.project_of(op.box).budget
        what = f"{op.box.name}: {op.box.provider} {op.box.hardware}"
        projection.agree(op.ws, what, table, op.box.price, op.spec.max_uptime)
    with limits.checking():
        if op.box.state is BoxState.PAUSED:
            limits.check(op.ws, op.box, op.spec, op.box.price)
        if begun:
            op.intent = begun.id
        else:
            op.begin("running")
        op.ws.store.budgets.set_armed(op.box.id, None)  # what it is armed with begins again
    op.plan(*stages(op, "resume" if op.box.state is BoxState.PAUSED else "create", wait=wait))
    return to_running(op, wait=wait, patience=patience)


def stages(op: BoxOperation, first: str, *, wait: bool = True) -> tuple[str, ...]:
    """What `to_running` goes through, after a first stage."""
    if not wait:
        return (first,)
    return (first, "start", *(() if op.spec.command else ("connect", "guard", "ssh config")))


def _new(ws: Workspace, name: str, asked: spec.BoxSpec, candidate: Candidate, *, asks: bool) -> Box:
    """The row of a box that is made as that candidate. asked: the spec with all its choices. asks:
    the user is asked where they want that."""
    names.name(name)
    wanted, offer = candidate
    provider = ws.provider(wanted.provider)
    if wanted.command and not provider.runs_commands:
        raise UsageError(
            f"{name} cannot be a command: boxes of provider {wanted.provider} are for logging in",
            means="nothing was started",
            fix="; or ".join(
                [
                    *(f'provider = "{each}"' for each in registry.which(lambda p: p.runs_commands)),
                    f"leave command out and: devbox run --box {name} -- …",
                ]
            ),
        )
    now = ws.clock()
    limits.check(ws, None, wanted, offer.price, name=name)
    where = f"{wanted.provider} {offer.hardware.name}"
    if asks:
        projection.agree(ws, f"{name}: {where}", ws.spec.budget, offer.price, wanted.max_uptime)
    else:
        ws.narrate(f"{name}: {where} again")
    if image := asking.with_image(provider, wanted, offer.hardware.name).image:
        what = f" ({templates.get(image).summary})" if templates.known(image) else ""
        how = "" if wanted.image else ", for its hardware; another one: image in devbox.toml"
        ws.narrate(f"{name}: image {image}{what}{how}")
    token = f"{name}-{uuid.uuid4().hex[:8]}"
    box = Box(
        id=uuid.uuid4().hex[:12],
        name=name,
        provider=wanted.provider,
        token=token,
        state=BoxState.PROVISIONING,
        hardware=offer.hardware.name,
        price=offer.price,
        created=now,
        updated=now,
        seen=now,
        workdir=wanted.workdir or provider.workdir,
        project=ws.spec.project,
        root=ws.here.root,
        spec=spec.encode_box(wanted),
        connection=ws.connection(wanted.provider),
        choices=b"" if asked == wanted else spec.encode_box(asked),
    )
    goal = placing.first_goal(token)
    with limits.checking():
        limits.check(ws, None, wanted, offer.price, name=name)
        ws.store.boxes.insert(box, "running", goal, now, alias=other_homes.free_alias)
    return box


def _there_again(ws: Workspace, box: Box | None) -> Box | None:
    """The latest box of a name; one that was lost is looked for before another takes its place."""
    if box is None or not is_only_lost(box):
        return box
    try:
        return asking.observe_now(ws, box)
    except DevboxError as error:
        ws.narrate(
            f"{box.name}: the earlier box, which was lost, cannot be asked for: {error.what}"
        )
        return box


def _require_tools(*, headless: bool) -> None:
    """ToolMissing before anything is journalled or billed, not once the box runs."""
    for program in () if headless else ("ssh", "ssh-keygen", "rsync"):
        process.require(program)


def _can_log_in(box: Box) -> bool:
    """Whether ssh knows the box's host key and the box ours; the user may have removed a file."""
    if box.endpoint is None:
        return True
    return bool(known_hosts.pinned(known_hosts.alias(box))) and login.knows_our_key(box)
