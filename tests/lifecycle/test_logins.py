"""How often `up` logs in, and over which connection."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from devbox import lifecycle, paths
from devbox.remote.config import parsed, ssh_config
from devbox.remote.exec import Exec
from devbox.workspace import Workspace
from tests import warm
from tests.remote import openssh_box


def test_up_and_what_runs_next_log_in_once(
    ws: Workspace, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    openssh_box.prepare(home)
    monkeypatch.setenv(warm.BOX_PROGRAM, "tests.remote.openssh_box")
    box = lifecycle.up(ws, "b")
    assert Exec(box).run(["echo", "on"]).out == "on\n"
    assert openssh_box.logins(home) == 1


def test_up_again_uses_no_connection_of_an_earlier_life(ws: Workspace) -> None:
    box = lifecycle.up(ws, "b")
    ssh_config.forget(box)
    socket_path = parsed.settings(paths.ssh_config(), box.alias)["controlpath"]
    with socket.socket(socket.AF_UNIX) as earlier:
        earlier.bind(socket_path)
        earlier.listen()  # and answers nobody, as one whose network is gone
        paths.known_hosts().unlink()
        assert lifecycle.up(ws, "b").id == box.id
        assert Exec(box).run(["echo", "on"], timeout=20).out == "on\n"
