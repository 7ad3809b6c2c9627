"""Verbs that show boxes: ls, status, events."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click
import msgspec

from devbox.cli.common import (
    box_argument,
    costing,
    echo,
    echo_all,
    json_option,
    print_json,
    typed,
    workspace,
)
from devbox.model import Box, BoxState
from devbox.spec import is_headless
from devbox.text import clean, dollars, duration, local_time
from devbox.text_layout import table
from devbox.workspace import Workspace

if TYPE_CHECKING:
    from devbox.cli.screen import Style
    from devbox.lifecycle.watchdog import Guards
    from devbox.wire.messages import Verdict

_ALIVE = (BoxState.PROVISIONING, BoxState.BUILDING, BoxState.STARTING, BoxState.RUNNING)
_COLOURS = {
    BoxState.RUNNING: "green",
    BoxState.PAUSED: "blue",
    BoxState.FAILED: "red",
    BoxState.LOST: "red",
}


def box_fields(ws: Workspace, box: Box) -> dict[str, object]:
    """A box in its JSON form: times are unix seconds, money is micro-dollars."""
    from devbox.money import exposure
    from devbox.state.costs import run_cost

    now = ws.clock()
    found = exposure.of(ws, box)
    fields = msgspec.to_builtins(box)
    fields.pop("spec")
    fields.pop("slug")
    fields.pop("host_alias")
    return {
        **fields,
        "alias": box.alias,
        "costing_micro_per_hour": found.now.micro_per_hour if found.now else 0,
        "may_cost_micro_per_hour": found.may.micro_per_hour if found.may else 0,
        "may_cost_because": found.why,
        "spent_micro": run_cost(ws.store.ledger.of_box(box.id), 0, now),
    }


@click.command("ls")
@click.option(
    "--all", "everyone", is_flag=True, help="Also boxes that are over, or another computer's."
)
@click.option("--refresh", is_flag=True, help="Ask the providers first.")
@json_option
def ls_command(everyone: bool, refresh: bool, as_json: bool) -> None:
    """List boxes, from what devbox remembers; AGE is how old that knowledge is."""
    ws = workspace()
    if refresh:
        from devbox import lifecycle

        lifecycle.find_lost(ws)
        for told in lifecycle.account_unanswered(ws):
            echo(f"{told.box.name}: {told.line}", err=True)
    boxes, damaged = ws.store.boxes.everything()
    if not everyone:
        # A box its provider no longer knows stays in sight until its name is used again.
        latest = {box.place: box.id for box in boxes}
        boxes = [
            box
            for box in boxes
            if not box.state.is_over or (box.state is BoxState.LOST and latest[box.place] == box.id)
        ]
    if refresh:
        live = [box for box in boxes if not box.state.is_over]
        fresh = {box.id: box for box in lifecycle.refresh(ws, live)}
        boxes = [fresh.get(box.id, box) for box in boxes]
        for box in boxes:
            if box.unreachable:
                echo(f"{box.name}: unreachable: {box.unreachable}; shown as last seen", err=True)
    others = _others(ws) if everyone else []
    for lost in damaged:
        echo(
            f"{clean(lost.name, 60)}: its record cannot be read ({lost.why}); it may run and cost: "
            "devbox doctor --fix",
            err=True,
        )
    if as_json:
        print_json(
            "boxes",
            boxes=[box_fields(ws, box) for box in boxes],
            **({"unreadable": [each._asdict() for each in damaged]} if damaged else {}),
            **({"untracked": others} if everyone else {}),
        )
        return
    for other in others:
        echo(
            f"not tracked here: {other['provider']} {other['name']} {other['state']} "
            f"({other['handle']}); take it on with: devbox reconcile --adopt",
            err=True,
        )
    if not boxes:
        if not damaged:
            how = "devbox up" if ws.spec.boxes else "devbox init && devbox up"
            echo(f"no boxes; make one with: {how}", err=True)
        return
    from devbox.money import exposure
    from devbox.state.spending import spent_by_box

    now = time.time()
    several = len({box.project for box in boxes}) > 1 or len({b.name for b in boxes}) < len(boxes)
    rows = [("NAME", "STATE", "PROVIDER", "HARDWARE", "UPTIME", "$/H", "SPENT", "AGE")]
    spent = spent_by_box(ws.store.database, 0, now, now)
    exposed = exposure.of_all(ws, boxes)
    rows += [
        (
            box.qualified if several else box.name,
            str(box.state),
            box.provider,
            clean(box.hardware, 24),
            duration(now - box.started) if exposed[box.id].now and box.started else "–",
            exposed[box.id].rate,
            dollars(spent.get(box.id, 0)),
            duration(now - box.seen),
        )
        for box in boxes
    ]
    styles: list[Style] = [{"bold": True}]
    styles += [{"fg": _COLOURS.get(box.state)} for box in boxes]
    echo_all(zip(table(rows), styles, strict=True))
    tell_budgets(ws)


def tell_budgets(ws: Workspace) -> None:
    """Name the budgets of which half or more is spent."""
    if not ws.spec.has_budgets:
        return
    from devbox.money import limits

    for found in limits.standings(ws):
        if found.part >= limits.TOLD:
            echo(f"{found.limit.name}: {limits.sentence(found)}", err=True)


@click.command("status")
@box_argument()
@click.option("--wait", is_flag=True, help="Finish an unfinished up, pause or down first.")
@json_option
def status_command(box_name: str | None, wait: bool, as_json: bool) -> None:
    """One BOX: state, cost, when it will pause and why, and which runs wait on it."""
    from devbox import lifecycle
    from devbox.jobs import queue, status
    from devbox.wire.codec import plain

    ws = workspace(quiet=as_json)
    box = ws.box(box_name)
    box = lifecycle.resume_goal(ws, box) if wait else lifecycle.refresh(ws, [box])[0]
    verdict = lifecycle.idle_status(ws, box, unsynced=True)
    guards = None
    if box.state in _ALIVE:
        guards = lifecycle.guards(ws, box, answers=verdict is not None)
    lost = lifecycle.lost_by_pause(ws, box)
    queued = [(run, status.of(run)) for run in queue.waiting(ws, box)]
    if as_json:
        idle = verdict._asdict() if verdict else None
        told = msgspec.to_builtins(guards)
        line = [{"id": run.id, **plain(seen.queue)} for run, seen in queued if seen.queue]
        print_json("status", **box_fields(ws, box), idle=idle, lost=lost, guards=told, queue=line)
        return
    for label, value in _lines(ws, box, verdict, guards):
        echo(f"{label:9} {value}")
    if lost:
        echo(f"{'files':9} {lost}")
    for number, (run, seen) in enumerate(queued):
        echo(f"{'queue' if not number else '':9} {run.id} {queue.told(seen)}")


@click.command("events")
@box_argument()
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True)
@json_option
def events_command(box_name: str | None, limit: int, as_json: bool) -> None:
    """What happened to BOX, oldest first."""
    ws = workspace()
    box = ws.box(box_name)
    if box.state is BoxState.RUNNING:
        from devbox import lifecycle

        lifecycle.idle_status(ws, box)  # records what the watchdog on the box noted
    events = ws.store.events.of_box(box.id, limit=limit)
    if as_json:
        print_json("events", box=box.name, events=[msgspec.to_builtins(e) for e in events])
        return
    for event in events:
        echo(f"{local_time(event.at)}  {event.kind:6}  {event.message}")


def _others(ws: Workspace) -> list[dict[str, object]]:
    """What carries our tag at the providers this project or the store knows, and is not ours."""
    from devbox import lifecycle
    from devbox.errors import DevboxError

    found: list[dict[str, object]] = []
    for provider in lifecycle.providers_in_use(ws):
        try:
            seen = lifecycle.untracked(ws, provider)
        except DevboxError as error:
            echo(f"{provider}: cannot be listed: {error.what}", err=True)
            continue
        found += [
            {
                "provider": provider,
                "name": clean(each.name, 60),
                "handle": clean(each.handle, 100),
                "state": str(each.state),
                "hardware": clean(each.hardware, 60),
            }
            for each in seen
        ]
    return found


def _lines(
    ws: Workspace, box: Box, verdict: Verdict | None, guards: Guards | None
) -> list[tuple[str, str]]:
    from devbox.money import exposure
    from devbox.state.costs import run_cost

    now, name = ws.clock(), typed(ws, box)
    interval = ws.store.ledger.current(box.id)
    lines = [
        ("box", box.name),
        ("state", f"{box.state}" + (f" ({box.detail})" if box.detail else "")),
    ]
    lines.append(("where", f"{box.provider} {box.hardware}"))
    if box.root:
        lines.append(("project", f"{clean(box.project, 60)} in {clean(box.root, 200)}"))
    if is_headless(box):
        lines.append(("log", f"devbox logs --box {name}"))
    elif box.state is BoxState.RUNNING:
        lines.append(("ssh", f"ssh {box.alias}"))
    since = f" for {duration(max(0.0, now - interval.start))}" if interval else ""
    lines.append(("costing", costing(exposure.of(ws, box)) + since))
    lines.append(("spent", dollars(run_cost(ws.store.ledger.of_box(box.id), 0, now))))
    if ws.spec.has_budgets and box.state in _ALIVE:
        from devbox.money import limits

        found = limits.of_box(ws, box)
        lines += [("budget", f"{each.limit.name}: {limits.sentence(each)}") for each in found]
    if verdict is not None and verdict.unsynced:
        lines.append(("files", f"{verdict.unsynced} in {box.workdir}, by the box's own count"))
    if verdict is not None:
        from devbox.telemetry import arming

        lines.append(("idle", arming.sentence(verdict, now)))
        lines += [("", f"- {reason}") for reason in verdict.reasons[arming.SAID :]]
    if box.deadline and box.state in _ALIVE:
        left = duration(max(0.0, box.deadline - now))
        kept = guards is None or guards.ceiling
        told = f"stops it in {left}"
        if not kept:
            told = f"is reached in {left}, but nothing stops it then"
        lines.append(("ceiling", f"max_uptime {told}"))
    if guards:
        lines += [("guards" if not i else "", line) for i, line in enumerate(guards.lines)]
        if guards.fix:
            lines.append(("", f"to have it pause itself: {guards.fix}"))
    for work in ws.store.boxes.open_intents(box.id):
        lines.append(("open", f"{work.goal}, at step {work.step}: devbox status {name} --wait"))
    return lines
