"""The stream over real ssh: nothing lost, nothing doubled, nothing left behind."""

from __future__ import annotations

import os
import signal
import socket
import struct
import threading
from contextlib import suppress
from itertools import islice

import msgspec
import psutil
import pytest

from devbox.box import event_log
from devbox.errors import SshError
from devbox.model import Box
from devbox.remote.config import ssh_config
from devbox.telemetry import client
from devbox.wire.messages import BoxEvent
from devbox.workspace import Workspace
from tests.processes import named
from tests.remote.sshd import Sshd, sshd, wait_until
from tests.telemetry.conftest import Writer, box_root

__all__ = ["sshd"]


class Gate:
    """A way to a local port that can be cut."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._open: list[socket.socket] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def cut(self) -> None:
        """Reset every connection."""
        while self._open:
            end = self._open.pop()
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def __enter__(self) -> Gate:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()
        self.cut()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(("127.0.0.1", self._target))
                self._open += [near, far]
                for pair in ((near, far), (far, near)):
                    threading.Thread(target=_pump, args=pair, daemon=True).start()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    for end in (source, sink):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


def ssh_children() -> list[psutil.Process]:
    """The ssh clients this test runs."""
    return [p for p in psutil.Process().children(recursive=True) if named(p) == "ssh"]


def streams_of(box: Box) -> list[int]:
    """Live stream processes on the box."""
    folder = box_root(box) / "streams"
    return [int(p.name) for p in folder.iterdir() if psutil.pid_exists(int(p.name))]


def test_a_stream_cut_again_and_again_loses_and_doubles_nothing(watched_box: Box) -> None:
    cuts = 12
    seen: list[int] = []
    stop = threading.Event()

    def cut() -> None:
        done = 0
        while done < cuts and not stop.is_set():
            goal = len(seen) + 30
            wait_until(lambda goal=goal: len(seen) >= goal or stop.is_set(), "samples flow again")  # type: ignore[misc]
            for process in ssh_children():
                process.send_signal(signal.SIGKILL)
            done += 1

    with Writer(box_root(watched_box)).running() as writer:
        saboteur = threading.Thread(target=cut)
        saboteur.start()
        stream = client.open_stream(watched_box, history=60, sleep=lambda _: None)
        try:
            for sample in stream:
                seen.append(sample.seq)
                if not saboteur.is_alive() and len(seen) > 300:
                    break
        finally:
            stop.set()
            stream.close()
            saboteur.join()
    assert seen == list(range(1, seen[-1] + 1))
    assert writer.written >= seen[-1]


def test_a_network_that_drops_loses_and_doubles_nothing(
    watched_box: Box, local_workspace: Workspace
) -> None:
    """Both ends live, and each finds its connection reset."""
    assert watched_box.endpoint
    seen: list[int] = []
    with Gate(watched_box.endpoint.port) as gate, Writer(box_root(watched_box)).running():
        through = msgspec.structs.replace(watched_box.endpoint, port=gate.port)
        ssh_config.publish([msgspec.structs.replace(watched_box, endpoint=through)])
        stream = client.open_stream(watched_box, history=60, sleep=lambda _: None)
        for _ in range(5):
            seen += [sample.seq for sample in islice(stream, 60)]
            gate.cut()
        seen += [sample.seq for sample in islice(stream, 60)]
        stream.close()
        wait_until(lambda: not streams_of(watched_box), "every process on the box ends")
    assert seen == list(range(1, len(seen) + 1))


def test_a_new_run_of_the_sampler_is_followed(watched_box: Box) -> None:
    root = box_root(watched_box)
    Writer(root, boot="boot1").write(20)
    stream = client.open_stream(watched_box, history=60)
    assert [sample.seq for sample in islice(stream, 20)] == list(range(1, 21))
    Writer(root, boot="boot2").write(5)
    assert [sample.position for sample in islice(stream, 5)] == [("boot2", n) for n in range(1, 6)]
    stream.close()


def test_resuming_from_a_known_sample(watched_box: Box) -> None:
    Writer(box_root(watched_box)).write(30)
    found = client.open_stream(watched_box, after=("boot1", 25), follow=False)
    assert [sample.seq for sample in found] == [26, 27, 28, 29, 30]


def test_events_of_a_cut_come_after_it_each_once(watched_box: Box) -> None:
    root = box_root(watched_box)
    Writer(root).write(1)
    stream = client.messages(watched_box, history=60, sleep=lambda _: None)
    got: list[str] = []

    def note(*names: str) -> None:
        for name in names:
            event_log.append(root, "note", name)

    def read(count: int) -> None:
        while len(got) < count:
            message = next(stream)
            if isinstance(message, BoxEvent):
                got.append(message.message)

    next(stream)
    for number in range(4):
        if number:  # also before any event was seen, it knows from when to ask
            note(f"{number}a")
            read(len(got) + 1)
        for process in ssh_children():
            process.kill()
        note(f"{number}b", f"{number}c")
        read(len(got) + 2)
    stream.close()
    assert got == ["0b", "0c", "1a", "1b", "1c", "2a", "2b", "2c", "3a", "3b", "3c"]


@pytest.mark.parametrize("how", ["close", "kill the client"])
def test_nothing_stays_behind(watched_box: Box, how: str) -> None:
    Writer(box_root(watched_box)).write(1)
    stream = client.open_stream(watched_box, history=60)
    next(stream)
    assert len(streams_of(watched_box)) == 1
    if how == "close":
        stream.close()
    else:
        for process in ssh_children():
            process.kill()
    wait_until(lambda: not streams_of(watched_box), "the process on the box ends")
    stream.close()
    assert not ssh_children()


def test_a_silent_stream_is_cut_and_begun_again(
    watched_box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A frozen process on the box keeps the connection open and says nothing."""
    monkeypatch.setattr(client, "SILENCE", 0.5)
    writer = Writer(box_root(watched_box))
    writer.write(1)
    stream = client.open_stream(watched_box, history=60, sleep=lambda _: None)
    assert next(stream).seq == 1
    (frozen,) = streams_of(watched_box)
    os.kill(frozen, signal.SIGSTOP)
    writer.write(1)
    assert next(stream).seq == 2
    stream.close()
    with suppress(ProcessLookupError):  # the server may have hung up on it by itself
        os.kill(frozen, signal.SIGKILL)


def test_a_box_without_its_half_says_how_to_put_it_back(local_box: Box) -> None:
    with pytest.raises(SshError, match="does not run") as caught:
        next(client.open_stream(local_box))
    assert caught.value.fix == "put it back with: devbox up b"


def test_a_refused_key_is_not_tried_for_ever(sshd: Sshd) -> None:
    box = sshd.box()
    ssh_config.publish([box])
    sshd.authorise()
    with pytest.raises(SshError, match="does not accept the key"):
        next(client.open_stream(box))


def test_an_unreachable_box_is_tried_with_growing_waits(sshd: Sshd) -> None:
    box = sshd.box()
    ssh_config.publish([box])
    sshd.stop()
    waits: list[float] = []
    with pytest.raises(SshError, match="cannot be reached"):
        next(client.open_stream(box, attempts=6, sleep=waits.append))
    assert waits == [0.0, 0.5, 1.0, 2.0, 4.0]
