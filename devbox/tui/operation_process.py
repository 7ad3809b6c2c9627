"""One operation as a process of its own: `python -m devbox.tui.operation_process FOLDER`.

FOLDER holds request.json {"v": 1, "kind", "title", "start", …the kind's own fields} and gets
log.jsonl, one of these a line: {"say": text}, {"progress": [done, total or null], "note": text},
{"step": name}, {"done": text}, {"error": {"what", "means", "fix"}}. It calls the same functions
as the command line, in a session of its own, so it outlives the dashboard that started it.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from devbox.box import processes
from devbox.errors import DevboxError, Interrupted
from devbox.model import RunState
from devbox.text import counted, local_time
from devbox.wire.codec import plain
from devbox.workspace import Workspace

REQUEST, LOG, OWNER = "request.json", "log.jsonl", "process.json"
_EVERY = 0.2  # seconds between progress lines


class Log:
    """Appends lines for whoever watches."""

    def __init__(self, folder: Path) -> None:
        self._file = (folder / LOG).open("a", encoding="utf-8", buffering=1)
        self._next = 0.0

    def write(self, **fields: Any) -> None:
        self._file.write(json.dumps({"t": time.time(), **fields}) + "\n")

    def say(self, text: str) -> None:
        self.write(say=text)

    def progress(self, done: float, total: float | None, note: str) -> None:
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + _EVERY
            self.write(progress=[done, total], note=note)


def main() -> int:
    folder = Path(sys.argv[1])
    (folder / OWNER).write_text(json.dumps(plain(processes.identity(os.getpid()))))
    request = json.loads((folder / REQUEST).read_text())
    log = Log(folder)
    signal.signal(signal.SIGTERM, _interrupted)
    try:
        log.write(done=_run(request, log))
    except DevboxError as error:
        log.write(error={"what": error.what, "means": error.means, "fix": error.fix})
        return error.exit_code
    except BaseException as error:
        what = f"{type(error).__name__}: {error}"
        log.write(error={"what": what, "means": "", "fix": "devbox reconcile"})
        raise
    return 0


def _interrupted(_: int, __: object) -> None:
    raise Interrupted("stopped", means="its state is kept", fix="devbox reconcile finishes it")


def _run(request: dict[str, Any], log: Log) -> str:
    ws = Workspace.open(Path(request["start"]), narrate=log.say)
    ws.on_step = lambda step, phase: log.write(step=step) if phase == "before" else None
    return KINDS[request["kind"]](ws, request, log)


def _up(ws: Workspace, request: dict[str, Any], log: Log) -> str:
    from devbox import lifecycle
    from devbox.sync import before

    if request.get("hardware"):
        name, wanted = ws.spec.box(request["box"])
        wanted = msgspec.structs.replace(wanted, hardware=request["hardware"])
        boxes = {**ws.spec.boxes, name: wanted}
        ws.spec = msgspec.structs.replace(ws.spec, boxes=boxes)
    box = lifecycle.up(ws, request["box"])
    before.send(ws, box)
    return f"{box.name} is {box.state}: ssh {box.alias}"


def _finish(ws: Workspace, request: dict[str, Any], log: Log) -> str:
    from devbox import lifecycle

    box = lifecycle.resume_goal(ws, ws.box(request["box"]))
    return f"{box.name} is {box.state}"


def _pause(ws: Workspace, request: dict[str, Any], log: Log) -> str:
    from devbox import lifecycle

    box = lifecycle.pause(ws, ws.box(request["box"]), save=request["save"])
    return f"{box.name} is {box.state}"


def _rescue(ws: Workspace, request: dict[str, Any], log: Log) -> str:
    from devbox import lifecycle

    box = ws.box(request["box"])
    lifecycle.save_before_watchdog_pause(ws, box)
    return f"fetched from {box.name} before its pause"


def _resume(ws: Workspace, request: dict[str, Any], log: Log) -> str:
    from devbox import lifecycle

    box = lifecycle.resume(ws, ws.box(request["box"]))
    return f"{box.name} is {box.state}"


def _down(ws: Workspace, request: dict[str, Any], log: Log) -> str:
    from devbox import lifecycle

    box = lifecycle.down(ws, ws.box(request["box"]), save=request["save"])
    return f"{box.name} is {box.state}"


def _keep(ws: Workspace, request: dict[str, Any], log: Log) -> str:
    from devbox import lifecycle

    box = ws.box(request["box"])
    until = lifecycle.keep(ws, box, request["seconds"])
    return f"{box.name} is kept awake until {local_time(until, '%H:%M')}"


def _reconcile(ws: Workspace, request: dict[str, Any], log: Log) -> str:
    from devbox import lifecycle

    findings = lifecycle.reconcile(ws)
    for found in findings:
        log.say(f"{found.kind}  {found.provider}  {found.name}: {found.detail}")
    lifecycle.require_answered(findings)
    return f"{len(findings)} differences" if findings else "everything agrees with the providers"


def _sync(ws: Workspace, request: dict[str, Any], log: Log) -> str:
    from devbox.sync import rsync
    from devbox.sync.progress import Progress
    from devbox.text import duration, size

    def told(now: Progress) -> None:
        left = "" if now.eta is None else f", {duration(now.eta)} left"
        log.progress(now.bytes_done, now.bytes_total, f"{size(now.rate)}/s{left}  {now.file}")

    up = request["direction"] == "up"
    options = rsync.Options(on_progress=told, dry_run=request["dry_run"])
    report = (rsync.up if up else rsync.down)(ws, ws.box(request["box"]), options)
    for path in report.moved[:200]:
        log.say(path)
    for kept in report.kept:
        log.say(f"kept: {kept.path} ({kept.why})")
    verb = "would be " if report.dry_run else ""
    verb += "sent" if up else "fetched"
    return f"{counted(len(report.moved), 'file')} {verb} ({size(report.bytes)})" + (
        f", {len(report.kept)} kept as they are" if report.kept else ""
    )


def _submit(ws: Workspace, request: dict[str, Any], log: Log) -> str:
    from devbox.jobs import arguments, catalogue
    from devbox.jobs.submit import submit
    from devbox.sync import before

    extra: list[str] = []
    box = ws.box(request["box"])
    if request["job"] == catalogue.COMMAND:
        job, given = catalogue.ad_hoc_command(request["words"]), arguments.Parsed({}, {})
    else:
        job = catalogue.find(ws.project_of(box), request["job"])
        given = arguments.parse(job, request["words"])
        extra = request["extra"]
    before.send(ws, box)
    run = submit(ws, box, job, given.args, given.inputs, extra=extra)
    return f"run {run.id} {run.state} on {run.box_name}"


def _cancel(ws: Workspace, request: dict[str, Any], log: Log) -> str:
    from devbox.jobs import queries

    run = queries.cancel(ws, queries.find(ws, request["run"]))
    return f"run {run.id} {run.state}"


def _retry(ws: Workspace, request: dict[str, Any], log: Log) -> str:
    from devbox.jobs import queries
    from devbox.jobs.submit import retry
    from devbox.sync import before

    run = queries.refresh(ws, [queries.find(ws, request["run"])])[0]
    box = ws.store.boxes.get(run.box_id)
    if box and run.state not in (RunState.QUEUED, RunState.RUNNING):
        before.send(ws, box)
    run = retry(ws, run)
    return f"run {run.id} {run.state} again on {run.box_name}"


def _fetch(ws: Workspace, request: dict[str, Any], log: Log) -> str:
    from devbox.jobs import fetch, queries

    run = queries.find(ws, request["run"])
    return f"its outputs are in {fetch.fetch(ws, run)}"


KINDS: dict[str, Callable[[Workspace, dict[str, Any], Log], str]] = {
    "up": _up,
    "finish": _finish,
    "pause": _pause,
    "rescue": _rescue,
    "resume": _resume,
    "down": _down,
    "keep": _keep,
    "reconcile": _reconcile,
    "sync": _sync,
    "submit": _submit,
    "cancel": _cancel,
    "retry": _retry,
    "fetch": _fetch,
}

if __name__ == "__main__":
    sys.exit(main())
