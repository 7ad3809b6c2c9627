"""The setup of a box: the `setup` lines of its table, the user's dotfiles and git identity.

The work is a run on the box, like a job's: it continues when this computer is gone, has a log, and
counts as use. What is done is kept on the box's own disk, so a new disk is set up again.
"""

from __future__ import annotations

import json
import os
import re
import shlex
from collections import deque
from contextlib import closing
from pathlib import Path

from devbox import process, spec
from devbox.errors import Conflict, DevboxError, JobFailed, SpecError
from devbox.ignore import tree
from devbox.jobs import queries, setup_offer, status
from devbox.jobs.follow import Ended, Line, Note, follow
from devbox.jobs.submit import submit
from devbox.jobs.transfer import transfer
from devbox.model import Box, BoxState, Run, RunState
from devbox.money import exposure
from devbox.remote import agent
from devbox.remote.agent_bootstrap import FOLDER
from devbox.remote.exec import Exec
from devbox.spec import BoxSpec, JobSpec, Sync
from devbox.sync import rsync_process
from devbox.text import clean, counted
from devbox.wire.codec import plain
from devbox.wire.setup import SetupPlan, SetupState
from devbox.workspace import Workspace

JOB = "setup"
_JOB = JobSpec(name=JOB, module="devbox.box.setup.work")
_DOTFILES = f"{FOLDER}/dotfiles"
_TAIL = 8  # lines of the log in an error
_LONGEST = 200  # characters of one of them


def bring(ws: Workspace, box: Box) -> None:
    """Do what is left of the box's setup, following its log; from the line that failed last, where
    one did. Ctrl-C ends it on the box too: what is done stays done.

    JobFailed names the line that failed; the box runs. Raises as `submit` and `follow`.
    """
    if not _is_due(box):
        return
    plan, local = _plan(ws, box)
    if plan == SetupPlan(plan.workdir) and not _may_run(ws, box):
        return  # there is nothing to do, nor to end
    seen = _look(box, plan)
    if seen.run and not seen.same:
        ws.narrate(f"{box.name}: its setup has changed; ending the one that runs")
        queries.cancel(ws, _known(ws, box, seen))
        seen = _look(box, plan)
    if seen.done == len(plan.lines) and seen.dotfiles and not seen.run:
        return
    run = _known(ws, box, seen) if seen.run else _begin(ws, box, plan, seen, local)
    _finish(ws, box, run)


def require(ws: Workspace, box: Box) -> None:
    """Before something runs on the box: wait for its setup lines, or do what was never tried.
    JobFailed when the latest try failed; dotfiles that are missing keep nothing from running."""
    if not _is_due(box) or not _table(ws, box).setup:
        return
    plan = _plan(ws, box)[0]
    seen = _look(box, plan)
    if seen.done == len(plan.lines):
        return
    if seen.failed:
        line = plan.lines[seen.done]
        raise JobFailed(
            f"the setup of {box.name} has failed: `{clean(line, _LONGEST)}` {seen.failed}",
            means="nothing was started",
            fix=f"devbox up {_typed(ws, box)} tries that line again; its log: "
            f"devbox logs {seen.failed_in}; without it: --no-setup",
        )
    if seen.run and seen.same:
        ws.narrate(f"{box.name}: waiting for its setup")
        _finish(ws, box, _known(ws, box, seen), ours=False)
        return
    bring(ws, box)


def offer(ws: Workspace, box: Box) -> None:
    """Tell once what a setup line could install, where the box has none."""
    if _is_due(box):
        setup_offer.tell_once(ws, box, _table(ws, box))


def is_left(ws: Workspace, box: Box) -> bool:
    """Whether some of the box's setup lines are not done yet. Asks the box, if there are any."""
    if not _is_due(box) or not _table(ws, box).setup:
        return False
    plan = _plan(ws, box)[0]
    return _look(box, plan).done < len(plan.lines)


def _may_run(ws: Workspace, box: Box) -> bool:
    """Whether a setup of the box was begun from here of which no end is known."""
    runs = ws.store.runs.latest(box_id=box.id)
    return any(run.job == JOB and not run.state.is_over for run in runs)


def _is_due(box: Box) -> bool:
    return box.state is BoxState.RUNNING and not spec.is_headless(box)


def _table(ws: Workspace, box: Box) -> BoxSpec:
    """Of the box's project as it is now, else as the box was made."""
    project = ws.project_of(box) if box.root or ws.here.has(box) else None
    if project is not None and box.name in project.boxes:
        return project.box(box.name)[1]
    return spec.decode_box(box.spec)


def _plan(ws: Workspace, box: Box) -> tuple[SetupPlan, Path | None]:
    """What the box is to have, and the folder here that the dotfiles come from."""
    table = _table(ws, box)
    source, local = table.dotfiles, None
    if source.startswith((".", "/", "~")):
        local = Path(box.root or ws.spec.root, os.path.expanduser(source))
        source = _DOTFILES
        if not local.is_dir():
            raise SpecError(
                f"dotfiles: there is no folder {clean(str(local), 200)}",
                means=f"{box.name} runs; {exposure.of(ws, box).sentence}",
                fix="correct dotfiles in your config.toml (devbox config show)",
            )
    name, email = _identity(box.root or str(ws.spec.root)) if table.git_identity else ("", "")
    return SetupPlan(box.workdir, table.setup, source, name, email), local


def _identity(folder: str) -> tuple[str, str]:
    """Name and email that git uses in the project here; '' for what it has not."""
    said = []
    for key in ("user.name", "user.email"):
        try:
            done = process.finished(["git", "-C", folder, "config", "--get", key])
        except (DevboxError, OSError):
            return "", ""  # why: no git here, so no identity
        said.append(done.stdout.decode(errors="replace").strip() if done.returncode == 0 else "")
    usable = all(text and text.isprintable() and len(text) < 200 for text in said)
    return (said[0], said[1]) if usable else ("", "")


def _look(box: Box, plan: SetupPlan) -> SetupState:
    return agent.ask(Exec(box), SetupState, "setup", "look", request=plan, present=True)


def _known(ws: Workspace, box: Box, seen: SetupState) -> Run:
    """The row of the run that works on it, made where another computer started it."""
    known = ws.store.runs.get(seen.run)
    if known is not None:
        return known
    if not re.fullmatch(r"[a-z0-9-]{1,80}", seen.run):
        raise Conflict(f"{box.name}: its setup runs as {clean(seen.run, 80)!r}, which is no run")
    now = ws.clock()
    run = Run(seen.run, box.id, box.name, JOB, RunState.RUNNING, now, started=now)
    ws.store.runs.put(run)
    return run


def _begin(ws: Workspace, box: Box, plan: SetupPlan, seen: SetupState, local: Path | None) -> Run:
    if local and not seen.dotfiles:
        _send_dotfiles(ws, box, local)
    left = len(plan.lines) - seen.done
    what = [f"{counted(left, 'line')} of {len(plan.lines)}"] if left else []
    what += [] if seen.dotfiles else ["dotfiles"]
    again = f", again from line {seen.done + 1}" if seen.failed else ""
    ws.narrate(f"{box.name}: setting up ({' and '.join(what)}{again})")
    return submit(ws, box, _JOB, {"plan": json.dumps(plain(plan))}, {})


def _send_dotfiles(ws: Workspace, box: Box, folder: Path) -> None:
    """The files of a folder here, without those that git ignores or that look like secrets."""
    found = tree.read(folder, Sync(), files=True)
    for path in sorted(found.secrets):
        ws.narrate(f"dotfiles: not sent, as it looks like a secret: {os.fsdecode(path)}")
    job = rsync_process.Job(box, folder, _DOTFILES, True, files=sorted(found.files))
    transfer(ws, job, total=None)


def _finish(ws: Workspace, box: Box, run: Run, *, ours: bool = True) -> None:
    """Follow it to its end. ours: Ctrl-C ends it on the box."""
    ws.narrate(f"{box.name}: its log: devbox logs {run.id}")
    tail: deque[str] = deque(maxlen=_TAIL)
    ended: Ended | None = None
    try:
        with closing(follow(ws, run)) as messages:
            for message in messages:
                if isinstance(message, Line) and message.end != "\r" and message.text.strip():
                    tail.append(clean(message.text, _LONGEST))
                    ws.narrate(f"  {message.text}")
                elif isinstance(message, Note):
                    ws.narrate(f"{box.name}: {message.text}")
                elif isinstance(message, Ended):
                    ended = message
    except KeyboardInterrupt:
        if ours:
            queries.cancel(ws, run)
            ws.narrate(
                f"{box.name}: its setup was ended; devbox up {_typed(ws, box)} continues with the "
                "line it was at"
            )
        raise
    assert ended is not None  # `follow` raises when it cannot continue to the end
    if ended.run.state is not RunState.SUCCEEDED:
        raise _failed(ws, box, ended, tail)
    took = status.seconds(ended.status, ws.clock()) or 0.0
    ws.narrate(f"{box.name}: set up in {took:.0f} s")


def _failed(ws: Workspace, box: Box, ended: Ended, tail: deque[str]) -> JobFailed:
    said = ended.status.message or f"it is {ended.run.state}"
    lines = [f"  {line}" for line in tail if line != said]
    means = [f"{box.name} is up: {exposure.of(ws, box).sentence}"]
    means += ["its last lines:", *lines] if lines else []
    return JobFailed(
        f"the setup of {box.name} {ended.run.state}: {said}",
        means="\n".join(means),
        fix=f"correct it, then: devbox up {_typed(ws, box)} (from that line on); its log: "
        f"devbox logs {ended.run.id}; without it: devbox up {_typed(ws, box)} --no-setup",
    )


def _typed(ws: Workspace, box: Box) -> str:
    """What names the box in a command that is typed in this folder."""
    return shlex.quote(box.name if ws.here.has(box) else box.ref)
