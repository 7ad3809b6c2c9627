"""Jobs: run one with a form, cancel, retry, fetch what it made."""

from __future__ import annotations

from typing import TYPE_CHECKING

from devbox.errors import Conflict, NotFound
from devbox.jobs.catalogue import COMMAND
from devbox.model import BoxState, Run
from devbox.spec import JobSpec
from devbox.text import dollars
from devbox.tui import background
from devbox.tui.screens.ask import Choose, Confirm, Item
from devbox.tui.screens.dialog import Answer
from devbox.tui.screens.form import Form

if TYPE_CHECKING:
    from devbox.tui.app import Dashboard

_OWN = JobSpec(name=COMMAND, summary="A command of your own", command=("sh",))


async def run(app: Dashboard) -> None:
    view = app.view
    if view is None or view.box.state is not BoxState.RUNNING:
        raise Conflict("a job needs a running box", fix="u brings one up, w resumes one")
    jobs = await background.call(app.asks.jobs, "jobs")
    items = [Item(name, name, job.summary) for name, job in jobs.items()]
    items.append(Item(COMMAND, "command", "a command of your own"))
    name = await app.push_screen_wait(Choose(f"Run what on {view.box.name}?", items))
    if name is None:
        return
    job = jobs.get(name, _OWN)
    form = Form(job, view.box.name, app.asks.check_words)
    words = await app.push_screen_wait(form)
    if words is None:
        return
    if job is _OWN and not words:
        raise Conflict("no command was given")
    title, ref = f"run {job.name} on {view.box.name}", view.box.ref
    named = [] if job is _OWN else [job.name]
    app.operations.start(title, ref, "run", *named, "--box", ref, "--detach", "--", *words)
    app.open_pane("jobs")


async def cancel(app: Dashboard) -> None:
    run = _chosen(app)
    if run.state.is_over:
        raise Conflict(f"run {run.id} is {run.state} already")
    runs = app.feed.runs(run.box_id)
    cost = next((entry.cost for entry in runs if entry.run.id == run.id), None)
    facts = [f"it cost {dollars(cost)} so far", "what it did is kept; programs get 10 s to save"]
    answers = (Answer("end", "End the run", danger=True),)
    if await app.push_screen_wait(Confirm(f"End run {run.id}?", facts, answers)):
        app.operations.start(f"cancel {run.id}", run.box_name, "cancel", run.id)


async def retry(app: Dashboard) -> None:
    run = _chosen(app)
    if not run.state.is_over:
        raise Conflict(f"run {run.id} is {run.state}", fix="c ends it")
    app.operations.start(f"retry {run.id}", run.box_name, "retry", run.id, "--detach")


async def fetch(app: Dashboard) -> None:
    run = _chosen(app)
    app.operations.start(f"fetch {run.id}", run.box_name, "attach", run.id, "--no-wait")


def _chosen(app: Dashboard) -> Run:
    """The run under the cursor of the Jobs tab, else the box's newest."""
    chosen = app.jobs_pane.run if app.pane == "jobs" else None
    if chosen is None and app.view:
        runs = app.feed.runs(app.view.box.id)
        chosen = runs[0].run if runs else None
    if chosen is None:
        raise NotFound("this box has no run yet", fix="r runs a job")
    return chosen
