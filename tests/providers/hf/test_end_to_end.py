"""The whole loop through the real command line, on an emulated Space and an emulated Job."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from devbox import paths
from devbox.model import BoxState, Interval
from devbox.spec import load
from devbox.workspace import Workspace
from tests.emulators.common import Fault
from tests.emulators.common import Interval as Metered
from tests.emulators.hf import HfEmulator, Times
from tests.providers.hf.conftest import PAUSE_TOKEN, Devbox

Project = Callable[..., Path]


def status(devbox: Devbox, folder: Path) -> dict[str, Any]:
    boxes: list[dict[str, Any]] = json.loads(devbox(folder, "ls", "--json").stdout)["boxes"]
    return boxes[0]


def test_a_space_from_up_to_down(hub: HfEmulator, devbox: Devbox, project: Project) -> None:
    hub.account.add_token(PAUSE_TOKEN, repos=["me/devbox-train"])
    folder = project("hf-space", hf='pause_token = "env:PAUSE_TOKEN_OF_TEST"')
    hub.hub.times = Times(build=2.0, start=0.1, schedule=0.1)
    told = devbox(folder, "up").stderr
    assert "train | --> FROM " in told
    assert "cannot pause itself" not in told
    assert hub.spaces["me/devbox-train"].current == "t4-small"
    assert hub.spaces["me/devbox-train"].sleep_time == 8 * 3600
    assert devbox(folder, "exec", "train", "cat", "app/main.py").stdout == "print('hello')\n"
    assert devbox(folder, "exec", "train", "printenv", "DEVBOX_PAUSE_TOKEN").stdout
    devbox(folder, "sync", "up")
    assert devbox(folder, "exec", "train", "cat", "app/main.py").stdout == "print('hello')\n"
    devbox(folder, "exec", "train", "sh", "-c", "echo 1 > app/result.txt")
    told = devbox(folder, "pause", "--yes").stderr
    assert "result.txt" in told
    assert (folder / "result.txt").read_text() == "1\n"
    assert hub.meter.billing() == []
    devbox(folder, "resume")
    assert devbox(folder, "exec", "train", "ls").stdout.split() == ["app"]  # the disk is new
    devbox(folder, "down", "--yes")
    assert hub.spaces == {}
    assert hub.meter.billing() == []


def test_a_job_from_up_to_down(hub: HfEmulator, devbox: Devbox, project: Project) -> None:
    folder = project("hf-job")
    devbox(folder, "up")
    (made,) = hub.jobs.values()
    assert made.spec["timeoutSeconds"] == 8 * 3600
    devbox(folder, "sync", "up")
    assert devbox(folder, "exec", "train", "cat", "work/main.py").stdout == "print('hello')\n"
    refused = devbox(folder, "pause", code=6)
    assert "cannot pause" in refused.stderr
    assert "not on this computer" not in refused.stderr  # nothing was done for it
    assert "everything agrees" in devbox(folder, "reconcile").stdout
    assert made.stage == "RUNNING"
    devbox(folder, "down", "--yes")
    assert made.stage == "CANCELED"


def run_seconds(stretch: Interval | Metered) -> float:
    assert stretch.end is not None
    return stretch.end - stretch.start


@pytest.mark.parametrize("provider", ["hf-space", "hf-job"])
def test_the_ledger_agrees_with_the_bill(
    hub: HfEmulator, devbox: Devbox, project: Project, provider: str
) -> None:
    folder = project(provider)
    devbox(folder, "up")
    if provider == "hf-space":
        devbox(folder, "pause", "--yes")
        devbox(folder, "resume")
    hub.advance(600)
    devbox(folder, "down", "--yes", "--no-save")
    # Before it asks for hardware, a Space may be up on the Hub's free one for a moment.
    intervals = [each for each in hub.meter.intervals() if each.rate and each.end != each.start]
    ws = Workspace(load(folder / "devbox.toml"))
    box = ws.store.boxes.all(over=True)[0]
    ours = ws.store.ledger.of_box(box.id)
    ws.store.close()
    assert len(ours) == len(intervals)
    for mine, theirs in zip(ours, intervals, strict=True):
        assert mine.end is not None
        assert theirs.end is not None
        assert mine.price.micro_per_hour == pytest.approx(theirs.rate * 3600, rel=1e-6)
    if provider == "hf-job":
        # Its start was told before the Hub's clock jumped beside ours, by a jump that is known to
        # the second (its Date header).
        for mine, theirs in zip(ours, intervals, strict=True):
            assert run_seconds(mine) == pytest.approx(run_seconds(theirs), abs=1.5)
    else:
        # So is the start of a Space that was built.
        assert ours[0].start == pytest.approx(intervals[0].start, abs=0.002)
        # A pause and a resume are not told: they count from our own calls, never too little.
        assert ours[0].end >= intervals[0].end - 0.002  # type: ignore[operator]
        assert ours[0].end < intervals[1].start  # type: ignore[operator]
        assert ours[0].end < ours[1].start <= intervals[1].start + 0.002  # type: ignore[operator]


def test_a_build_that_fails_ends_up_with_the_log(
    hub: HfEmulator, devbox: Devbox, project: Project
) -> None:
    folder = project("hf-space")
    (folder / "Dockerfile").write_text("FROM python:3.12\nRUN false\nCMD sleep infinity\n")
    told = devbox(folder, "up", code=14).stderr
    assert "BUILD_ERROR" in told
    assert 'ERROR: process "/bin/sh -c false" did not complete' in told
    assert "fix: fix the cause and run: devbox up train" in told
    assert "/spaces/me/devbox-train" in told
    assert hub.meter.billing() == []
    (folder / "Dockerfile").write_text("FROM python:3.12\nCMD sleep infinity\n")
    devbox(folder, "up")
    assert hub.meter.billing() == ["me/devbox-train"]


def test_a_change_that_cannot_save_first_says_how_to_go_on_without(
    hub: HfEmulator, devbox: Devbox, project: Project
) -> None:
    folder = project("hf-space", box='sync.down = ["results"]')
    devbox(folder, "up")
    paths.known_hosts().unlink()
    sockets = paths.control_dir()
    assert sockets is not None
    for shared in sockets.iterdir():  # a connection that is open needs no host key
        shared.unlink()
    for words in (["restart", "train"], ["restart", "train", "--factory"]):
        assert (
            f"devbox {' '.join(words)} --no-save" in devbox(folder, *words, "--yes", code=1).stderr
        )
    told = devbox(folder, "resize", "train", "l4x1", "--yes", code=1).stderr
    assert "devbox resize train l4x1 --no-save" in told
    assert hub.spaces["me/devbox-train"].current == "t4-small"
    assert "trusting" in devbox(folder, "up").stderr
    told = devbox(folder, "resize", "train", "l4x1", "--yes").stderr
    assert "trusting" not in told
    assert hub.spaces["me/devbox-train"].current == "l4x1"


def test_a_refused_key_says_which_and_where(
    hub: HfEmulator, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    from devbox import lifecycle
    from devbox.errors import KeyRefused
    from devbox.remote import keys

    assert hub.account.ssh_keys is not None
    hub.account.ssh_keys.clear()
    folder = project("hf-space")
    now = [0.0]

    def tick() -> float:
        now[0] += 1.0
        return now[0]

    ws = Workspace.open(folder)
    monkeypatch.setattr("devbox.remote.wait.REFUSED_FOR", 2.0)
    with pytest.raises(KeyRefused) as caught:
        lifecycle.up(ws, "train")
    assert keys.ensure_identity() in caught.value.fix
    assert f"{hub.endpoint}/settings/keys" in caught.value.fix
    assert "still costing" in caught.value.means
    box = ws.box("train")
    lifecycle.down(ws, box, save=False)
    ws.store.close()


def test_two_computers_get_one_space(
    hub: HfEmulator, devbox: Devbox, project: Project, monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    folder = project("hf-space")
    devbox(folder, "up")
    monkeypatch.setenv("DEVBOX_HOME", str(home / "second"))
    from devbox.remote import keys

    project("hf-space")  # and trusts it there
    assert hub.account.ssh_keys is not None
    hub.account.ssh_keys.append(keys.ensure_identity())
    assert "joined the box" in devbox(folder, "up").stderr
    assert list(hub.spaces) == ["me/devbox-train"]
    assert status(devbox, folder)["state"] == BoxState.RUNNING


def test_missing_rights_are_told_before_anything_costs(
    hub: HfEmulator, devbox: Devbox, project: Project
) -> None:
    folder = project("hf-space")
    hub.knobs.set("dev_mode", Fault.error(403, "Dev Mode requires a PRO subscription"), times=None)
    assert "Dev Mode needs PRO (https://huggingface.co/pro)" in devbox(folder, "up", code=7).stderr
    hub.knobs.clear()
    hub.account.can_pay = False
    told = devbox(folder, "up", code=7).stderr
    assert "settings/billing" in told
    assert status(devbox, folder)["state"] == BoxState.FAILED
    assert "HTTP 402" in status(devbox, folder)["message"]
    assert hub.meter.billing() == []
    hub.account.revoke_token(hub.token)
    told = devbox(folder, "up", code=7).stderr
    assert "devbox login hf-space --again" in told
    hub.account.add_token(hub.token)
    devbox(folder, "down", "--yes")
    assert hub.spaces == {}
