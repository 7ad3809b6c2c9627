"""The run that does a setup: the lines that are not done yet, then the dotfiles. Each line is done
once on this disk; a run that is cut off or fails leaves the place from which the next continues."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from pathlib import Path

from devbox.box.job import Failed, Job
from devbox.box.runs.process_group import signal_name
from devbox.box.setup import dotfiles, record
from devbox.wire.codec import convert
from devbox.wire.setup import SetupPlan

_TERMINATED = ("was killed by SIGTERM", "ended with exit code 143")  # bash says 143 of a child
_PATIENCE = 1.0  # seconds


def run(job: Job) -> None:
    """args: plan, a `SetupPlan` as JSON. Runs in the workdir."""
    plan = convert(json.loads(job.args["plan"]), SetupPlan)
    try:
        waiting = "waiting for another setup of this box"
        with record.alone(lambda: job.log(waiting), lambda: job.cancelled):
            _lines(job, plan)
            _dotfiles(job, plan)
    except InterruptedError:
        return  # why: cancelled while it waited; nothing was begun


def _lines(job: Job, plan: SetupPlan) -> None:
    workdir, count = Path.cwd(), len(plan.lines)
    known = record.read(workdir)
    done = record.common(known.done, plan.lines)
    known = record.Record(plan.lines[:done], plan.lines, job.id)
    record.write(workdir, known)
    for at in range(done, count):
        line = plan.lines[at]
        job.progress(at, count, "lines")
        job.log(f"[{at + 1}/{count}] $ {line}")
        ended = _ended(line)
        if ended in _TERMINATED:
            _wait_for_cancel(job)
        if job.cancelled:
            raise Failed("cancelled")
        if ended:
            record.write(workdir, known._replace(failed=ended))
            raise Failed(f"line {at + 1} of {count} {ended}: {line}")
        known = known._replace(done=plan.lines[: at + 1])
        record.write(workdir, known)
    job.progress(count, count, "lines")


def _wait_for_cancel(job: Job) -> None:
    """Who ends a run signals each of its processes; this one may be the last to hear of it."""
    until = time.monotonic() + _PATIENCE
    while not job.cancelled and time.monotonic() < until:
        time.sleep(0.02)


def _ended(line: str) -> str:
    """Run a line by the box's shell; '' when it ended well, else how. What it leaves running ends
    with the run."""
    shell = shutil.which("bash") or "/bin/sh"
    code = subprocess.call([shell, "-c", line], stdin=subprocess.DEVNULL)
    if code < 0:
        return f"was killed by {signal_name(-code)}"
    return f"ended with exit code {code}" if code else ""


def _dotfiles(job: Job, plan: SetupPlan) -> None:
    known, home = record.login(), Path(os.path.expanduser("~"))
    if plan.dotfiles in ("", known.dotfiles):
        return
    job.log(f"dotfiles from {plan.dotfiles}")
    try:
        dotfiles.fetch(plan.dotfiles, home, job.log, ours=bool(known.tried))
        record.write_login(known._replace(tried=plan.dotfiles))
        dotfiles.install(home, job.log)
    except dotfiles.NotInstalled as error:
        if job.cancelled:
            raise Failed("cancelled") from None
        raise Failed(f"dotfiles: {error}") from None
    record.write_login(record.Login(plan.dotfiles, plan.dotfiles))
