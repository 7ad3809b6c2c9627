"""A login shell on the box that prints lines of its own before every program."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from devbox import doctor, lifecycle
from devbox.errors import SshError, SyncError
from devbox.ignore.rules import Rules
from devbox.jobs import catalogue, queries
from devbox.jobs.follow import followed
from devbox.jobs.submit import submit
from devbox.model import Box, RunState
from devbox.remote import agent, command, editor, forward
from devbox.remote.connection import connect
from devbox.sync import remote, rsync
from devbox.workspace import Workspace
from tests.remote.sshd import free_port

GREETINGS = {
    "a line": "echo 'Welcome to the lab'",
    "no newline": "printf 'Welcome'",
    "many lines": 'for i in 1 2 3 4 5; do echo "line $i"; done',
    "what looks like an answer": 'echo \'{"error": {"kind": "conflict"}}\'',
    "colour": "printf '\\033[31mhi\\033[0m\\n'",
}


@pytest.fixture(params=GREETINGS.values(), ids=list(GREETINGS))
def noisy(ws: Workspace, home: Path, request: pytest.FixtureRequest) -> Box:
    greeting = home / "greeting.sh"
    greeting.write_text(f"{request.param}\n")
    (home / "torch.py").write_text("raise ImportError('no second of this test is for it')\n")
    said: list[str] = []
    ws.narrate = said.append
    folder = home / "project"
    # With an SHLVL of 1 a bash that sshd started would read ~/.bashrc in its place.
    (folder / "devbox.toml").write_text(
        f'[boxes.b]\nenv = {{BASH_ENV = "{greeting}", SHLVL = "2", PYTHONPATH = "{home}"}}\n'
    )
    again = Workspace.open(folder)
    ws.spec = again.spec
    box = lifecycle.up(ws, "b")
    plain = subprocess.run(command.argv(box, ["echo", "x"]), capture_output=True, check=True)
    assert plain.stdout != b"x\n"
    assert [line for line in said if "~/.bashrc" in line and "\x1b" not in line]
    return box


def test_every_answer_of_the_box_is_read_past_it(ws: Workspace, noisy: Box) -> None:
    with connect(noisy) as connection:
        assert connection.run(["echo", "x"]).out == "x\n"
    assert lifecycle.idle_status(ws, noisy) is not None
    assert lifecycle.keep(ws, noisy, 600.0) > ws.clock()
    assert not [check for check in doctor.box(ws, noisy) if "no report" in check.what]
    assert editor.workdir(noisy).startswith("/")
    assert remote.list_files(noisy, editor.workdir(noisy), Rules([])).files == {}
    run = submit(ws, noisy, catalogue.ad_hoc_command(["true"]), {}, {})
    assert followed(ws, run).run.state is RunState.SUCCEEDED
    assert queries.refresh(ws, [run])[0].state is RunState.SUCCEEDED


def test_a_forward_opens_behind_it(ws: Workspace, noisy: Box) -> None:
    del ws
    with forward.opened(noisy, forward.Ports(free_port(), 22)):
        pass


def test_a_sync_names_it(ws: Workspace, noisy: Box) -> None:
    with pytest.raises(SyncError, match=r"~/\.bashrc"):
        rsync.up(ws, noisy)


def test_a_start_whose_answer_cannot_be_read_may_have_happened(
    ws: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    box = lifecycle.up(ws, "b")
    real = agent.job

    def garbled(*words: Any, **more: Any) -> dict[str, Any]:
        """The box starts the run; what it says of it is cut."""
        real(*words, **more)
        raise SshError("the job runner answered nonsense")

    with monkeypatch.context() as patch:
        patch.setattr(agent, "job", garbled)
        with pytest.raises(SshError) as caught:
            submit(ws, box, catalogue.ad_hoc_command(["sleep", "60"]), {}, {})
    assert "may have been started" in caught.value.means
    (run,) = queries.refresh(ws, ws.store.runs.latest())
    assert run.state is RunState.RUNNING
    assert run.id in caught.value.fix
    queries.cancel(ws, run)
