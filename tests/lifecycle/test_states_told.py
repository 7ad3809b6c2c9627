"""What is said of a box in each state, and what stops before anything is billed."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from devbox import lifecycle
from devbox.cli.main import cli
from devbox.errors import NameUnknown, ToolMissing
from devbox.lifecycle import Finding
from devbox.model import BoxState, Endpoint
from devbox.remote import agent, wait
from devbox.remote.connection import connect
from devbox.workspace import Workspace
from tests.boxes import rewrite
from tests.command_line import Devbox
from tests.remote.sshd import make_box


@pytest.mark.parametrize("missing", ["ssh", "rsync"])
def test_a_missing_tool_is_told_before_anything_is_journalled(
    ws: Workspace, home: Path, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    tools = home / "bin"
    tools.mkdir()
    for name in ("ssh", "ssh-keygen", "ssh-keyscan", "rsync", "sh"):
        found = shutil.which(name)
        if name != missing and found:
            os.symlink(found, tools / name)
    monkeypatch.setenv("PATH", str(tools))
    with pytest.raises(ToolMissing, match=f"{missing} is not installed"):
        lifecycle.up(ws, "b")
    assert ws.store.boxes.all(over=True) == []


def test_a_login_by_the_ssh_client_imports_no_library_for_it(ws: Workspace) -> None:
    code = (
        "import sys; sys.argv = ['devbox', 'up', '-q']\n"
        "from devbox.cli.main import main\n"
        "try: main()\nexcept SystemExit as end: assert not end.code\n"
        "assert not {'fabric', 'paramiko', 'rich.console', 'asyncio'} & set(sys.modules)\n"
    )
    root, env = ws.spec.root, {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, env=env, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()


def test_a_name_that_does_not_resolve_ends_the_wait_for_a_login() -> None:
    box = make_box("one", Endpoint("no-such-host.invalid"))
    clock = itertools.count()
    slept: list[float] = []
    with pytest.raises(
        NameUnknown, match=r"no-such-host.invalid of one does not resolve"
    ) as caught:
        wait.for_login(
            box,
            log_in=wait.by_library,
            timeout=300.0,
            clock=lambda: float(next(clock) * 3),
            sleep=slept.append,
        )
    assert sum(slept) < 30
    assert "devbox down one" in caught.value.fix


def test_keep_is_carried_over_a_pause(ws: Workspace) -> None:
    box = lifecycle.up(ws, "b")
    until = lifecycle.keep(ws, box, 7200)
    lifecycle.pause(ws, ws.box("b"), save=False)
    said: list[str] = []
    ws.narrate = said.append
    with connect(lifecycle.resume(ws, ws.box("b"))) as connection:
        held = agent.verdict(connection).keep_until
    assert held == pytest.approx(until, abs=5)
    assert any(line.startswith("b: kept awake for 1h59m") or "2h" in line for line in said)


def test_a_paused_box_is_not_said_to_end_its_run_nor_to_be_paused_twice(
    ws: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ws.spec.root)
    box = lifecycle.up(ws, "b")
    reasons = CliRunner().invoke(cli, ["status", "b"]).output
    assert "max_uptime stops it in" in reasons
    lines = [line.strip(" -") for line in reasons.splitlines()]
    assert len(lines) == len(set(lines))
    box = lifecycle.pause(ws, box, save=False)
    rewrite(ws.store, msgspec.structs.replace(box, stage="PAUSED", message="paused"))
    shown = CliRunner().invoke(cli, ["status", "b"]).output
    assert "max_uptime" not in shown
    assert msgspec.structs.replace(box, stage="PAUSED", message="paused").detail == ""
    assert msgspec.structs.replace(box, stage="x", message="x").detail == "x"
    assert box.state is BoxState.PAUSED


def test_reconcile_that_could_not_look_has_its_own_exit_code(
    devbox: Devbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = [Finding("failed", "-", "modal", "no answer"), Finding("changed", "b", "local", "x")]
    monkeypatch.setattr(lifecycle, "reconcile", lambda *_, **__: found)
    for words in ((), ("--json",)):
        done = devbox("reconcile", *words)
        assert done.code == 17
        assert "could not look at or finish 1 of what it compared" in done.err
    assert len(done.out.splitlines()) == 1
    monkeypatch.setattr(lifecycle, "reconcile", lambda *_, **__: found[1:])
    assert devbox("reconcile").code == 0
