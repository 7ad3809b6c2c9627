"""A command that works on one round of a run: it runs as a child of the worker, with the round's
input and output folder, and its reports are those of the round's items."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path
from typing import Dict

from devbox.box.items import append
from devbox.box.job import Failed, Job
from devbox.box.json_file import number
from devbox.box.kept import Kept
from devbox.box.runs.command_line import fill, variables
from devbox.box.runs.jsonl import Tail
from devbox.box.runs.process_group import signal_name
from devbox.wire.codec import load_or_none
from devbox.wire.jobs import JobRequest

_LOOK = 0.05  # seconds between two looks at the command


def run(request: JobRequest, job: Job, kept: Kept, folder: Path) -> None:
    """Until the command has ended. Failed when it did not end well."""
    reports = folder / "reported.jsonl"
    reports.unlink(missing_ok=True)
    words = [*request.command]
    if request.template:
        known: Dict[str, Path] = {**job.inputs, **job.checkpoints, "out": job.out}
        words = fill(words, request.args, {name: str(path) for name, path in known.items()})
    words += request.extra
    environ = {
        **os.environ,
        **variables(job.inputs),
        "DEVBOX_OUT": str(job.out),
        "DEVBOX_EVENTS": str(reports),
    }
    try:
        child = subprocess.Popen(words, stdin=subprocess.DEVNULL, env=environ)
    except FileNotFoundError:
        raise Failed(f"{words[0]}: command not found on the box") from None
    except OSError as error:
        raise Failed(f"{words[0]}: {error.strerror}") from None
    told = _Reports(reports, job, kept)
    while child.poll() is None:
        told.take()
        time.sleep(_LOOK)
    while told.take():
        continue
    if child.returncode < 0:
        raise Failed(told.error or f"killed by {signal_name(-child.returncode)}")
    if child.returncode:
        raise Failed(told.error or f"ended with exit code {child.returncode}")
    if told.error:
        raise Failed(told.error)


class _Reports:
    """What the command says (see devbox.box.runs.progress), passed on: items as records of the
    run, and its total as a part of the run's. error: why it fails as a whole."""

    def __init__(self, path: Path, job: Job, kept: Kept) -> None:
        self._tail, self._job, self._kept = Tail(path), job, kept
        self.error = ""

    def take(self) -> bool:
        """Whether there was something."""
        lines = self._tail.lines()
        for line in lines:
            report = load_or_none(line)
            if report is None:
                continue
            report.pop("t", None)
            name, state = report.pop("item", None), report.pop("state", None)
            error = report.pop("error", None)
            said = error if isinstance(error, str) else ""
            if isinstance(name, str) and state in ("done", "failed", "skipped"):
                self._job.announced[name] = None
                self._kept.items.settle(
                    name, state, number(report.pop("seconds", None)) or 0.0, said
                )
            elif name is None:
                self.error = said or self.error
            total = number(report.get("total"))
            if total is not None:
                report["total"] = self._kept.others + total
            if report:
                append(self._kept.reports, report)
        return bool(lines)
