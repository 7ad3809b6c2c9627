"""What a box says of itself, and how this computer reaches it, up to where a real box would
answer."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from devbox import lifecycle, paths
from devbox.errors import NoAnswer, SshError
from devbox.lifecycle import login, saving, watchdog
from devbox.model import Box, BoxState, Endpoint
from devbox.process import Completed
from devbox.remote import keys
from devbox.telemetry import client
from devbox.telemetry.reader import Message
from devbox.wire.codec import encode
from devbox.wire.messages import BoxEvent, EventLine, Heartbeat
from devbox.workspace import Workspace
from tests.boxes import rewrite
from tests.lifecycle.cloud import MINUTE, REACHED, Pausing, a_project, operation, told


class Line:
    """To a box whose every answer is that. asked: how often it was."""

    is_new = False

    def __init__(self, box: Box, out: str) -> None:
        self.box, self.out, self.asked = box, out, 0

    def run(self, argv: Sequence[str], **_: Any) -> Completed:
        self.asked += 1
        return Completed(0, self.out, "")


@pytest.fixture
def ws(home: Path, cloud: Pausing) -> Workspace:
    return a_project(home, cloud, toml=REACHED)


@pytest.mark.parametrize("ends", [True, False])
def test_what_is_noted_is_told_until_the_block_ends(
    ws: Workspace, box: Box, monkeypatch: pytest.MonkeyPatch, ends: bool
) -> None:
    """Each once; or until the stream ends."""
    events: list[Message] = [
        BoxEvent(1, 5.0, "armed", "it watches"),
        Heartbeat(6.0),
        BoxEvent(1, 5.0, "armed", "it watches"),
        BoxEvent(2, 7.0, "warning", "it pauses in 5m"),
    ]
    lines, saved = told(ws), list[str]()
    monkeypatch.setattr(
        saving, "save_before_watchdog_pause", lambda ws, box: saved.append(lines[-1])
    )
    heard, over, closed = threading.Event(), threading.Event(), threading.Event()

    def messages(box: Box, *, history: float) -> Iterator[Message]:
        try:
            yield from events
            heard.set()
            if not ends:
                assert over.wait(60)
                yield BoxEvent(3, 8.0, "paused", "it pauses now")
        finally:
            closed.set()

    monkeypatch.setattr(client, "messages", messages)
    with lifecycle.save_on_warning(ws, box):
        assert heard.wait(60)
    over.set()
    assert closed.wait(60)
    assert lines == ["b: it watches", "b: it pauses in 5m"]
    assert saved == ["b: it pauses in 5m"]
    assert [(e.kind, e.at) for e in ws.store.events.of_box(box.id) if e.kind != "state"] == [
        ("armed", 5.0),
        ("warning", 7.0),
    ]


def test_what_was_copied_before_a_pause_is_told_after_it(
    ws: Workspace, box: Box, cloud: Pausing
) -> None:
    events = [BoxEvent(1, 5.0, "restored", "2 files are in /data"), BoxEvent(2, 6.0, "armed", "x")]
    out = b"".join(encode(EventLine(each)) for each in events).decode()
    line = Line(box, out)
    lines = told(ws)
    watchdog.tell_restored(operation(ws), line)
    assert line.asked == 0, "it has not paused yet"
    lifecycle.pause(ws, box)
    cloud.show(box.handle, state=BoxState.RUNNING)
    lifecycle.refresh(ws, [ws.box("b")])
    lines.clear()
    watchdog.tell_restored(operation(ws), line)
    assert lines == ["b: 2 files are in /data"]


def test_a_key_that_was_replaced_is_told_and_a_login_that_never_comes_says_what_costs(
    ws: Workspace, box: Box
) -> None:
    login.login_file(box).write_text("ssh-ed25519 another")
    lines = told(ws)
    began = ws.clock()
    with pytest.raises(NoAnswer) as caught:
        login.log_in(operation(ws))
    assert lines == ["b: this computer's ssh key was lost or replaced, and is new to the box"]
    assert caught.value.means.startswith("it runs as far as its provider says; ")
    assert "$3.60/h" in caught.value.means
    assert "devbox down b" in caught.value.fix
    assert 4 * MINUTE < ws.clock() - began <= 5 * MINUTE


def test_a_host_key_that_cannot_be_pinned_stops_the_login(ws: Workspace, box: Box) -> None:
    """Nothing could be armed safely; a config that cannot be written is only told."""
    public = keys.new_host_key()[1]
    placed = msgspec.structs.replace(box, endpoint=Endpoint("box.test", host_keys=(public,)))
    rewrite(ws.store, placed)
    lock = paths.ssh_dir() / "config.lock"
    lock.mkdir(parents=True)
    with pytest.raises(OSError, match="directory"):
        login.publish(operation(ws))
    lock.rmdir()
    assert login.publish(operation(ws)) is None
    paths.ssh_config().unlink()
    paths.ssh_config().mkdir()
    told_of = login.publish(operation(ws))
    assert isinstance(told_of, SshError)
    assert told_of.fix == "devbox up b tries again"


def test_the_users_ssh_config_is_left_alone_where_they_say_so(
    ws: Workspace, box: Box, home: Path
) -> None:
    ws.integrate = False
    login.extend_user_config(operation(ws))
    assert not (home / ".ssh").exists()
