"""The gateway, driven by the real ssh, scp, sftp and rsync."""

from __future__ import annotations

import filecmp
import os
import shlex
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.emulators.common import Box, LoopThread
from tests.emulators.gateway import Gateway, Login, Refused


class Bench:
    """A gateway with two boxes, and the ssh client configured to reach it."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.boxes = {name: Box(home / "boxes" / name) for name in ("me-one", "me-two")}
        self.asleep: set[str] = set()
        self.key = home / "id"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.key], check=True)
        self.keys = [self.key.with_suffix(".pub").read_text()]
        self.thread = LoopThread("gateway")
        self.gateway = Gateway(self.lookup, lambda user: self.keys)
        self.thread.run(self.gateway.start())
        self.port = self.gateway.port
        known = home / "known_hosts"
        known.write_text(f"[127.0.0.1]:{self.port} {self.gateway.host_key_line}\n")
        self.options = [
            *("-F", "none", "-i", str(self.key)),
            *("-o", f"UserKnownHostsFile={known}", "-o", "StrictHostKeyChecking=yes"),
            *("-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes"),
        ]

    def lookup(self, user: str) -> Login | Refused:
        if user not in self.boxes:
            return Refused(f"No box {user}")
        if user in self.asleep:
            return Refused(f"{user} is not running")
        return Login(self.boxes[user], {"SPACE_ID": user}, lambda: user not in self.asleep)

    def ssh(self, user: str, *command: str, flags: tuple[str, ...] = ()) -> list[str]:
        return ["ssh", *self.options, *flags, "-p", str(self.port), f"{user}@127.0.0.1", *command]

    def run(
        self, user: str, command: str, flags: tuple[str, ...] = (), data: bytes | None = None
    ) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            self.ssh(user, command, flags=flags),
            input=data,
            capture_output=True,
            timeout=60,
            check=False,
        )

    def close(self) -> None:
        self.thread.run(self.gateway.close())
        for box in self.boxes.values():
            box.remove()
        self.thread.stop()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    bench.close()


def until(condition: Callable[[], object], seconds: float = 120.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "condition did not come true in time"
        time.sleep(0.02)


def test_the_user_name_picks_the_box(bench: Bench) -> None:
    for user in bench.boxes:
        done = bench.run(user, 'echo "$HOME $SPACE_ID"; pwd')
        root = bench.boxes[user].root
        assert done.stdout.decode() == f"{root} {user}\n{root}\n"


def test_exit_status_error_output_and_input_pass_through(bench: Bench) -> None:
    done = bench.run("me-one", "tr a-z A-Z; echo oops >&2; exit 7", data=b"hello\n")
    assert (done.returncode, done.stdout, done.stderr) == (7, b"HELLO\n", b"oops\n")


def test_nothing_of_the_test_process_leaks_into_the_box(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_OF_THE_LAPTOP", "1")
    assert b"SECRET_OF_THE_LAPTOP" not in bench.run("me-one", "env").stdout


def test_large_output_arrives_whole(bench: Bench) -> None:
    done = bench.run(
        "me-one", "head -c 100000000 /dev/zero | sha256sum; head -c 100000000 /dev/zero"
    )
    digest, _, data = done.stdout.partition(b"\n")
    assert len(data) == 100_000_000
    assert (
        digest.split()[0]
        == subprocess.run(
            ["sha256sum"], input=data, capture_output=True, check=True
        ).stdout.split()[0]
    )


def test_a_terminal_has_the_clients_type_and_runs_a_login_shell(bench: Bench) -> None:
    done = bench.run("me-one", "tty; echo $TERM; stty size", flags=("-tt",))
    assert done.returncode == 0
    lines = done.stdout.decode().split()
    assert lines[0].startswith("/dev/")
    shell = subprocess.run(
        bench.ssh("me-one", flags=("-tt",)),
        input=b"echo $((6*7))\nexit 5\n",
        capture_output=True,
        check=False,
    )
    assert b"42" in shell.stdout
    assert shell.returncode == 5


def test_a_terminal_session_is_hung_up_when_its_client_dies(bench: Bench) -> None:
    client = subprocess.Popen(
        bench.ssh("me-one", "sleep 300", flags=("-tt",)),
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    until(bench.boxes["me-one"].processes)
    client.kill()
    client.wait()
    until(lambda: not bench.boxes["me-one"].processes())


def test_a_detached_process_outlives_its_session(bench: Bench) -> None:
    bench.run("me-one", "setsid nohup sleep 300 >/dev/null 2>&1 </dev/null &")
    deadline = time.monotonic() + 120
    # nohup becomes sleep by exec, a moment after the session has ended
    while [p.name() for p in bench.boxes["me-one"].processes()] != ["sleep"]:
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("legacy", [True, False], ids=["scp", "sftp"])
def test_scp_both_ways(bench: Bench, tmp_path: Path, legacy: bool) -> None:
    sent = tmp_path / "sent.bin"
    sent.write_bytes(os.urandom(1_000_000))
    flags = [*bench.options, *(["-O"] if legacy else ["-s"]), "-P", str(bench.port)]
    there = "me-one@127.0.0.1:got.bin"
    subprocess.run(["scp", "-q", *flags, sent, there], check=True, timeout=60)
    subprocess.run(["scp", "-q", *flags, there, tmp_path / "back.bin"], check=True, timeout=60)
    assert filecmp.cmp(sent, bench.boxes["me-one"].root / "got.bin", shallow=False)
    assert filecmp.cmp(sent, tmp_path / "back.bin", shallow=False)


def test_rsync_push_and_pull(bench: Bench, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    for index in range(200):
        path = tree / f"d{index % 7}" / f"f{index}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(1000))
    shell = shlex.join(["ssh", *bench.options, "-p", str(bench.port)])
    for source, target in (
        (f"{tree}/", "me-one@127.0.0.1:app/"),
        ("me-one@127.0.0.1:app/", f"{tmp_path}/back/"),
    ):
        subprocess.run(["rsync", "-a", "-e", shell, source, target], check=True, timeout=60)
    subprocess.run(["diff", "-r", tree, tmp_path / "back"], check=True)


def test_local_port_forward(bench: Bench) -> None:
    service = socket.create_server(("127.0.0.1", 0))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    spec = f"127.0.0.1:{port}:127.0.0.1:{service.getsockname()[1]}"
    client = subprocess.Popen(
        bench.ssh("me-one", flags=("-N", "-L", spec, "-o", "ExitOnForwardFailure=yes"))
    )
    try:
        until(lambda: _connects(port))
        service.settimeout(10)
        service.accept()[0].close()  # the probe
        with socket.create_connection(("127.0.0.1", port), timeout=10) as here:
            there, _ = service.accept()
            here.sendall(b"ping")
            assert there.recv(4) == b"ping"
            there.sendall(b"pong")
            assert here.recv(4) == b"pong"
            there.close()
    finally:
        client.kill()
        client.wait()
        service.close()


def _connects(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def test_an_unregistered_key_is_refused(bench: Bench) -> None:
    bench.keys.clear()
    done = bench.run("me-one", "true")
    assert done.returncode == 255
    assert b"Permission denied (publickey)" in done.stderr
    assert bench.gateway.refusals == [("me-one", "key not registered")]


def test_a_box_that_is_not_running_refuses_with_its_reason(bench: Bench) -> None:
    bench.asleep.add("me-one")
    done = bench.run("me-one", "true")
    assert done.returncode == 255
    assert b"me-one is not running" in done.stderr
    assert bench.run("me-two", "true").returncode == 0


def test_disconnect_cuts_the_sessions_of_one_box_only(bench: Bench) -> None:
    clients = {
        user: subprocess.Popen(
            bench.ssh(user, "echo up; cat"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        for user in bench.boxes
    }
    for client in clients.values():
        assert client.stdout is not None
        assert client.stdout.readline() == b"up\n"
    bench.thread.loop.call_soon_threadsafe(bench.gateway.disconnect, "me-one")
    assert clients["me-one"].wait(15) == 255
    assert clients["me-two"].poll() is None
    assert bench.gateway.connections("me-two") == 1
    out, _ = clients["me-two"].communicate(b"still here", timeout=60)
    assert out == b"still here"


def test_one_connection_carries_many_commands(bench: Bench, tmp_path: Path) -> None:
    control = (
        "-o",
        "ControlMaster=auto",
        "-o",
        "ControlPersist=30",
        "-o",
        f"ControlPath={tmp_path}/cm",
    )
    for index in range(10):
        assert bench.run("me-one", f"echo {index}", flags=control).stdout == b"%d\n" % index
    assert bench.gateway.connections("me-one") == 1
    subprocess.run(
        bench.ssh("me-one", flags=(*control, "-O", "exit")), capture_output=True, check=True
    )
