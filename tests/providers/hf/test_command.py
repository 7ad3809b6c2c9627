"""A box that is a command: a detached Job without ssh, tracked and billed as any box."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from devbox import lifecycle
from devbox.errors import BuildFailed, Conflict, Unavailable, UsageError
from devbox.model import Box, BoxState
from devbox.providers.hf.job import HfJob
from devbox.remote import preconditions
from devbox.spec import HfSettings, load
from devbox.workspace import Workspace
from tests.emulators.common import Fault
from tests.emulators.hf import HfEmulator
from tests.providers.hf.conftest import Devbox
from tests.providers.hf.test_job import ask

Project = Callable[..., Path]
ENV = '\nenv = { GREETING = "hi there" }\nsecrets = { S = "env:SECRET_OF_TEST" }'


def command(script: str) -> str:
    return f"command = {json.dumps(['sh', '-c', script])}"


def opened(folder: Path) -> Workspace:
    return Workspace(load(folder / "devbox.toml"))


def until_over(hub: HfEmulator) -> None:
    deadline = time.monotonic() + 60
    while not all(job.over for job in hub.jobs.values()):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def over(ws: Workspace) -> Box:
    """The box, once its provider says that it is over."""
    (box,) = lifecycle.refresh(ws, ws.store.boxes.all(over=True))
    assert box.state.is_over
    return box


def test_it_ends_by_itself_and_is_billed_to_the_end(
    hub: HfEmulator, devbox: Devbox, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_OF_TEST", "hidden")
    script = 'echo "$GREETING"; test "$S" = hidden'
    folder = project("hf-job", box=command(script) + ENV)
    devbox(folder, "up")
    (made,) = hub.jobs.values()
    assert made.spec["timeoutSeconds"] == 8 * 3600
    assert not made.ssh_enabled
    until_over(hub)
    ws = opened(folder)
    box = over(ws)
    assert box.state is BoxState.TERMINATED
    (ours,), (theirs,) = ws.store.ledger.of_box(box.id), hub.meter.intervals()
    assert ours.start == pytest.approx(theirs.start, abs=0.002)
    assert ours.end == pytest.approx(theirs.end, abs=0.002)
    ws.store.close()
    assert "hi there" in devbox(folder, "logs", "--box", "train").stdout.splitlines()
    assert "everything agrees" in devbox(folder, "reconcile").stdout


def test_one_that_goes_on_is_left_alone_until_it_is_ended(
    hub: HfEmulator, devbox: Devbox, project: Project
) -> None:
    folder = project("hf-job", box=command("echo begun; sleep 600"))
    told = devbox(folder, "up")
    assert "devbox logs --box train -f" in told.stdout
    assert "ssh" not in told.stdout
    (made,) = hub.jobs.values()
    assert made.stage == "RUNNING"
    devbox(folder, "up")
    assert len(hub.jobs) == 1
    status: dict[str, Any] = json.loads(devbox(folder, "status", "--json").stdout)
    assert (status["state"], status["endpoint"]) == ("running", None)
    for words in (
        ("exec", "train", "ls"),
        ("sync", "up"),
        ("run", "--", "ls"),
        ("keep", "train", "1h"),
    ):
        refused = devbox(folder, *words, code=5)
        assert "box train is a command, and has no ssh" in refused.stderr, words
    ended = devbox(folder, "down", "--yes")
    assert "its command is cut off" in ended.stderr
    assert made.stage == "CANCELED"
    assert hub.meter.billing() == []


def test_one_that_fails_says_why_and_does_not_run_again_by_itself(
    hub: HfEmulator, project: Project
) -> None:
    folder = project("hf-job", box=command("echo no such file >&2; sleep 0.5; exit 3"))
    ws = opened(folder)
    lifecycle.up(ws, "train", wait=False)
    until_over(hub)
    with pytest.raises(BuildFailed, match="its command failed") as caught:
        lifecycle.up(ws, "train")
    assert "no such file" in caught.value.what
    assert "devbox down train; fix the cause" in caught.value.fix
    with pytest.raises(BuildFailed):
        lifecycle.up(ws, "train")
    assert len(hub.jobs) == 1
    assert hub.meter.billing() == []
    lifecycle.down(ws, ws.box("train"))
    ws.store.close()


def test_a_lost_reply_does_not_run_it_twice(hub: HfEmulator, config: HfSettings) -> None:
    """Even when it is over by the time that the listing would show it."""
    now = [hub.clock.now()]
    job = HfJob(config, clock=lambda: now[0])
    request = ask(command=("true",))
    hub.knobs.set("run_job", Fault.reply_lost())
    with pytest.raises(Unavailable):
        job.create(request)
    (made,) = hub.jobs.values()
    until_over(hub)
    now[0] += job.find_lag
    assert job.create(request) == f"me/{made.id}"
    assert len(hub.jobs) == 1


def test_other_providers_refuse_before_anything_is_begun(home: Path) -> None:
    (home / "devbox.toml").write_text(f"[boxes.b]\n{command('true')}\n")
    ws = opened(home)
    with pytest.raises(UsageError, match="b cannot be a command") as caught:
        lifecycle.up(ws, "b")
    assert "hf-job" in caught.value.fix
    assert ws.store.boxes.all(over=True) == []
    ws.store.close()


def test_no_login_is_tried(home: Path, project: Project) -> None:
    ws = opened(project("hf-job", box=command("sleep 600")))
    box = lifecycle.up(ws, "train")
    with pytest.raises(Conflict, match="box train is a command"):
        preconditions.check_running(box)
    assert lifecycle.idle_status(ws, box) is None
    assert not (home / ".devbox" / "ssh" / "config").exists()
    lifecycle.down(ws, box)
    ws.store.close()
