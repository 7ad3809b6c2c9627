"""Jobs and services: run one with a form, cancel, retry, fetch what it made, look at it closely."""

from __future__ import annotations

from typing import TYPE_CHECKING

from devbox.errors import Conflict, NotFound
from devbox.jobs import queries
from devbox.jobs.catalogue import COMMAND
from devbox.model import BoxState, Run
from devbox.spec import JobSpec
from devbox.text import dollars
from devbox.tui import background
from devbox.tui.queries import Runnable
from devbox.tui.screens.ask import Choose, Confirm, Item
from devbox.tui.screens.dialog import Answer
from devbox.tui.screens.form import Form
from devbox.tui.screens.run_detail import RunDetail

if TYPE_CHECKING:
    from devbox.tui.app import Dashboard

_OWN = JobSpec(name=COMMAND, summary="A command of your own", command=("sh",))


async def run(app: Dashboard) -> None:
    view = app.view
    if view is None or view.box.state is not BoxState.RUNNING:
        raise Conflict("a job needs a running box", fix="u brings one up, w resumes one")
    known = await background.call(app.asks.jobs, "jobs")
    items = [
        Item(str(place), each.job.name, _about(each.job.summary, each))
        for place, each in enumerate(known)
    ]
    items.append(Item(COMMAND, "command", "a command of your own"))
    chosen = await app.push_screen_wait(Choose(f"Run what on {view.box.name}?", items))
    if chosen is None:
        return
    each = Runnable(_OWN, False, True) if chosen == COMMAND else known[int(chosen)]
    job, ref = each.job, view.box.ref
    form = Form(job, view.box.name, app.asks.check_words, app.asks.start, ends=not each.is_service)
    filled = await app.push_screen_wait(form)
    if filled is None:
        return
    if job is _OWN and not filled.words:
        raise Conflict("no command was given")
    verb = "serve" if each.is_service else "run"
    named = [] if job is _OWN else [job.name]
    title = f"{verb} {job.name} on {view.box.name}"
    options = ["--box", ref, *(["--then", filled.then] if filled.then else []), "--detach"]
    app.operations.start(title, ref, verb, *named, *options, "--", *filled.words)
    app.open_pane("services" if each.is_service else "jobs")


def _about(summary: str, each: Runnable) -> str:
    kind = "service" if each.is_service else ""
    return "  ".join(filter(None, (summary, kind, "" if each.own else "(bundled)")))


async def detail(app: Dashboard) -> None:
    """What the chosen run was asked to do, how it went, and the end of its log."""
    view = app.panes[app.pane].run_view
    if view is None:
        raise NotFound("this box has no run yet", fix="r runs a job")
    run = view.run
    app.push_screen(RunDetail(view, app.now, lambda: app.asks.log_tail(run)))


async def cancel(app: Dashboard) -> None:
    run = _chosen(app)
    if run.state.is_over:
        raise Conflict(f"run {run.id} is {run.state} already")
    if queries.is_service(run):
        await _stop_service(app, run)
        return
    runs = app.feed.runs(run.box_id)
    cost = next((entry.cost for entry in runs if entry.run.id == run.id), None)
    facts = [f"it cost {dollars(cost)} so far", "what it did is kept; programs get 10 s to save"]
    answers = (Answer("end", "End the run", danger=True),)
    if await app.push_screen_wait(Confirm(f"End run {run.id}?", facts, answers)):
        app.operations.start(f"cancel {run.id}", run.box_name, "cancel", run.id)


async def _stop_service(app: Dashboard, run: Run) -> None:
    facts = ["requests in flight are finished, within 30 s, and no other is taken"]
    answers = (Answer("end", "Stop the service", danger=True),)
    if await app.push_screen_wait(Confirm(f"Stop service {run.job}?", facts, answers)):
        box = _box_of(app, run)
        title = f"stop {run.job} on {run.box_name}"
        app.operations.start(title, box, "services", "stop", run.job, "--box", box)


async def retry(app: Dashboard) -> None:
    run = _chosen(app)
    if not run.state.is_over:
        raise Conflict(f"run {run.id} is {run.state}", fix="c ends it")
    app.operations.start(f"retry {run.id}", run.box_name, "retry", run.id, "--detach")


async def fetch(app: Dashboard) -> None:
    run = _chosen(app)
    app.operations.start(f"fetch {run.id}", run.box_name, "attach", run.id, "--no-wait")


def _chosen(app: Dashboard) -> Run:
    """The run under the cursor of the Jobs or Services tab, else the box's newest job."""
    view = app.panes[app.pane].run_view
    if view is None and app.view and app.pane != "services":
        runs = app.feed.runs(app.view.box.id)
        view = next((each for each in runs if not queries.is_service(each.run)), None)
    if view is None:
        raise NotFound("this box has no run yet", fix="r runs a job")
    return view.run


def _box_of(app: Dashboard, run: Run) -> str:
    views = app.feed.views
    return next((v.box.ref for v in views if v.box.id == run.box_id), run.box_name)
