"""What counts as use over ssh, at a real OpenSSH server."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from devbox.box.history import History
from devbox.box.probes.system import sshd as sshd_module
from devbox.box.probes.system.sockets import Sockets
from devbox.box.probes.system.ssh import SshTraffic, _Use
from devbox.box.probes.system.streams import Account, Streams
from devbox.model import Box
from devbox.remote import command
from devbox.remote.config import ssh_config
from tests.processes import command_line
from tests.remote.sshd import Sshd, sshd, wait_until

__all__ = ["sshd"]

MB = 1 << 20


class Proc:
    """A /proc in which only this server's processes are, whatever else the machine runs."""

    def __init__(self, folder: Path, server: Sshd) -> None:
        self.path, self._server = folder, server
        folder.mkdir()

    def refresh(self) -> None:
        (listener,) = [
            p for p in psutil.Process().children() if str(self._server.folder) in command_line(p)
        ]
        now = {str(p.pid) for p in [listener, *listener.children(recursive=True)]}
        for name in set(os.listdir(self.path)) - now:
            (self.path / name).unlink()
        for name in now - set(os.listdir(self.path)):
            (self.path / name).symlink_to(f"/proc/{name}")


class Meter:
    """A SshTraffic on its own clock, 10 s a reading, so that each one searches."""

    def __init__(self, root: Path, proc: Proc) -> None:
        root.mkdir()
        self.root, self.proc, self._now = root, proc, 0.0
        self.traffic = SshTraffic(root, proc.path)
        self.read()

    def read(self) -> dict[str, int]:
        self._now += 10
        self.proc.refresh()
        found = self.traffic.read(self._now)
        assert found is not None
        counted = {name: count for name, count in found.items() if count is not None}
        assert counted.keys() == found.keys()
        return counted

    def total(self) -> int:
        found = self.read()
        return found["rx_bytes"] + found["tx_bytes"]


@pytest.fixture
def box(sshd: Sshd) -> Box:
    found = sshd.box()
    ssh_config.publish([found])
    return found


@pytest.fixture
def meter(tmp_path: Path, sshd: Sshd) -> Meter:
    return Meter(tmp_path / "root", Proc(tmp_path / "proc", sshd))


@contextmanager
def shell(box: Box, *remote: str) -> Iterator[subprocess.Popen[bytes]]:
    """A command over a connection of its own."""
    options = ("-o", "ControlPath=none")
    process = subprocess.Popen(
        command.argv(box, remote, options=options), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def cat(process: subprocess.Popen[bytes], size: int) -> None:
    """Send `size` bytes through a remote cat and get them back."""
    assert process.stdin
    assert process.stdout
    for _ in range(size // 65536):
        process.stdin.write(b"x" * 65536)
        process.stdin.flush()
        assert len(process.stdout.read(65536)) == 65536


def test_traffic_counts_and_open_but_quiet_sessions_do_not(meter: Meter, box: Box) -> None:
    assert meter.read()["sessions"] == 0
    with shell(box, "cat") as process:
        cat(process, 65536)
        assert meter.read()["sessions"] == 1
        before = meter.total()
        assert meter.total() - before == 0
        cat(process, MB)
        moved = meter.total() - before
        # in and out each pass the server twice, read and written: 4 MB plus ssh's own share
        assert 4 * MB <= moved <= 4.2 * MB
    wait_until(lambda: meter.read()["sessions"] == 0, "the session ends")
    assert meter.total() - before >= moved  # what a session moved stays counted after its end


def test_logging_in_is_not_use(meter: Meter, box: Box) -> None:
    before = meter.total()
    for _ in range(3):
        with shell(box, "cat") as process:
            cat(process, 65536)
            # 64 KB four times, and nothing for three handshakes
            meter.read()
        wait_until(lambda: meter.read()["sessions"] == 0, "the session ends")
    assert meter.total() - before < 3 * 4 * 65536


def test_devboxs_own_streams_are_not_use(meter: Meter, box: Box, tmp_path: Path) -> None:
    root = tmp_path / "root"
    history = History(root / "history")
    stream = f"DEVBOX_BOX_ROOT={root} exec {sys.executable} -m devbox.box stream --follow"
    with shell(box, "sh", "-c", f"cd {Path.cwd()} && {stream} --history 60") as process:
        assert process.stdout
        sent = 0

        def say(count: int) -> None:
            nonlocal sent
            for _ in range(count):
                sent += 1
                history.append(
                    {"v": 1, "boot": "b", "seq": sent, "t": time.time(), "pad": "x" * 500}
                )

        def heard() -> None:
            assert process.stdout
            while f'"seq":{sent},'.encode() not in process.stdout.readline():
                pass

        say(1)
        heard()
        before = meter.total()
        for _ in range(20):
            say(50)
            heard()
        moved = meter.total() - before
        assert moved < 0.02 * 2 * 1000 * 560  # of the 1.1 MB it would be


def test_a_server_that_counts_for_us_is_believed(tmp_path: Path) -> None:
    traffic = SshTraffic(tmp_path, tmp_path)
    assert traffic.read(1.0) is None
    (tmp_path / "ssh.json").write_text('{"sessions": 2, "rx_bytes": 10, "tx_bytes": 20}')
    assert traffic.read(2.0) == {"sessions": 2, "rx_bytes": 10, "tx_bytes": 20}
    for damage in ('{"sessions": "x", "rx_bytes": 1, "tx_bytes": 1}', "[]", "{", ""):
        (tmp_path / "ssh.json").write_text(damage)
        assert traffic.read(3.0) is None


def test_socket_counters_see_both_directions(sshd: Sshd, box: Box) -> None:
    sockets = Sockets(port=sshd.port)
    assert sockets.moved() == (0, 0)
    with shell(box, "cat") as process:
        cat(process, MB)
        wait_until(lambda: min(sockets.moved() or (0, 0)) >= MB, "the kernel counted")
        moved = sockets.moved()
        assert moved is not None
        assert max(moved) < 1.1 * MB
        highest = moved
    for _ in range(50):  # ended or not, the sum never goes down
        after = sockets.moved()
        assert after is not None
        assert min(after[0] - highest[0], after[1] - highest[1]) >= 0
        highest = after


def test_unreadable_counters_leave_the_sockets(
    meter: Meter, box: Box, sshd: Sshd, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As for an agent without rights over a root server's processes."""
    meter.traffic = SshTraffic(meter.root, meter.proc.path, port=sshd.port)
    monkeypatch.setattr(sshd_module._Counter, "step", lambda _: False)
    with shell(box, "cat") as process:
        cat(process, 65536)
        assert meter.read() == {"sessions": 1, "rx_bytes": 0, "tx_bytes": 0}
        cat(process, MB)
        wait_until(lambda: min(meter.read()["rx_bytes"], meter.read()["tx_bytes"]) >= MB, "counted")
        assert meter.total() < 2.2 * MB


def test_an_overestimate_of_our_own_bytes_hides_no_person() -> None:
    use = _Use()
    moved = own = 0
    for _ in range(10_000):  # a stream of 1000 bytes a second of which we subtract 12 too many
        moved, own = moved + 1000, own + 1012
        assert use.step(moved, own) == 0
    for _ in range(5):
        moved, own = moved + 1000 + 400, own + 1012
    assert 5 * (400 - 4 * 12) <= use.step(moved, own) <= 5 * 400


def test_bytes_noted_before_they_move_are_not_counted_when_they_do() -> None:
    use = _Use()
    assert use.step(0, 100_000) == 0
    assert use.step(40_000, 100_000) == 0
    assert use.step(100_000, 100_000) == 0
    assert use.step(100_700, 100_000) == 700


def test_ended_streams_stay_counted_and_their_files_go(tmp_path: Path) -> None:
    proc = tmp_path / "proc"
    (proc / "11").mkdir(parents=True)
    (proc / "12").mkdir()
    Account(tmp_path, 11).add(1000)
    streams = Streams(tmp_path, proc)
    streams.search()
    assert streams.sent() == (0, 0)  # sent before us
    second = Account(tmp_path, 12)
    second.add(500)
    streams.search()
    assert streams.sent() == (500, 548)
    second.add(100_000)
    (proc / "12").rmdir()
    streams.search()
    assert streams.sent() == (100_500, 100_500 + 48 * 5)
    assert os.listdir(tmp_path / "streams") == ["11"]
    (tmp_path / "streams" / "77").write_text("garbage")
    streams.search()
    assert streams.sent()[0] == 100_500
    assert os.listdir(tmp_path / "streams") == ["11"]
