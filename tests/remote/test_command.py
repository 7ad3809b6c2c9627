"""The ssh command line: whatever a user types reaches the box as it is, or is refused."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devbox import paths
from devbox.errors import Conflict, NotFound, UsageError
from devbox.model import BoxState, Endpoint
from devbox.remote import command, keys
from devbox.remote.preconditions import check_running
from tests.remote.sshd import make_box


def test_the_parts_of_a_command_line() -> None:
    box, config = make_box("one"), str(paths.ssh_config())
    assert command.argv(box) == ["ssh", "-F", config, "--", "devbox-one"]
    assert command.argv(box, tty=True) == ["ssh", "-F", config, "-t", "--", "devbox-one"]
    assert command.argv(box, ["ls", "a b"], options=["-v"]) == [
        "ssh", "-F", config, "-T", "-v", "--", "devbox-one", "ls 'a b'",
    ]  # fmt: skip


@given(st.lists(st.text(max_size=50), min_size=1, max_size=4))
@settings(max_examples=250)
def test_a_shell_reads_back_what_was_quoted(words: list[str]) -> None:
    try:
        line = command.quote(["printf", "%s\\0", *words])
    except UsageError:
        assert any("\0" in word or not word.isprintable() for word in words)
        return
    done = subprocess.run(["sh", "-c", line.encode()], capture_output=True, check=True)
    assert done.stdout.decode().split("\0")[:-1] == words


@pytest.mark.parametrize("word", ["\0", "a\0b", "\ud800", "x\udfff\ud800"])
def test_what_no_program_can_be_given_is_refused(word: str) -> None:
    with pytest.raises(UsageError):
        command.argv(make_box(), ["echo", word])


@pytest.mark.parametrize("folder", ["plain", "with space", "it's"])
def test_rsync_reads_the_remote_shell(
    home: Path, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    monkeypatch.setenv("DEVBOX_HOME", str(home / folder))
    told = home / "told"
    fake = home / "bin" / "ssh"
    fake.parent.mkdir()
    fake.write_text(f'#!/bin/sh\nprintf "%s\\n" "$1" "$2" > "{told}"\n')
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{fake.parent}:/usr/bin:/bin")
    subprocess.run(
        ["rsync", "-e", command.rsh(), "devbox-one:x", str(home)], capture_output=True, check=False
    )
    assert told.read_text() == f"-F\n{paths.ssh_config()}\n"


@pytest.mark.parametrize("state", list(BoxState))
def test_every_state_is_ready_or_says_what_to_type(state: BoxState) -> None:
    box = make_box("one", Endpoint("127.0.0.1"), state=state)
    if state is BoxState.RUNNING:
        keys.ensure_identity()
        check_running(box)
        return
    with pytest.raises((Conflict, NotFound), match=f"box one is {state}") as caught:
        check_running(box)
    assert "devbox " in caught.value.fix


def test_a_running_box_without_an_address_yet() -> None:
    with pytest.raises(Conflict, match="has no ssh address yet"):
        check_running(make_box())
