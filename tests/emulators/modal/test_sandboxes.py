"""What a user does with a sandbox, through the real client."""

from __future__ import annotations

import http.server
import subprocess
import threading
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import modal
import pytest

from tests.emulators.common import Clock
from tests.emulators.modal import ModalEmulator
from tests.emulators.modal.conftest import INSTANT, LIMIT, SSHD, Ssh, Workspace, output, until
from tests.processes import arguments

Connect = Callable[[ModalEmulator], modal.Client]


def test_a_gpu_sandbox_can_be_logged_into_with_ssh(
    emulator: ModalEmulator, workspace: Workspace, ssh: Ssh
) -> None:
    volume = modal.Volume.from_name("data", create_if_missing=True, client=workspace.client)
    sandbox = workspace.create(
        *("sh", "-c", SSHD),
        image=workspace.image.apt_install("openssh-server").run_commands("mkdir -p /root/.ssh"),
        cpu=4.0,
        memory=8192,
        secrets=[ssh.secret],
        volumes={"/data": volume},
        unencrypted_ports=[22],
        timeout=3600,
        idle_timeout=600,
        name="box",
        tags={"devbox": "box"},
    )
    address = sandbox.tunnels()[22].tcp_socket
    assert ssh.run(address, "whoami; pwd; echo kept >/data/file") == "root\n/root\n"
    assert (emulator.volumes["data"] / "file").read_text() == "kept\n"
    inside = emulator.sandboxes[sandbox.object_id]
    assert (inside.root / "run/sshd").is_dir()
    assert emulator.meter.billing() == [sandbox.object_id]
    sandbox.terminate()
    sandbox.wait(raise_on_termination=False)
    assert sandbox.returncode == 137
    assert emulator.meter.billing() == []


def test_exec_has_input_output_status_and_variables(workspace: Workspace) -> None:
    secret = modal.Secret.from_dict({"FROM_BOX": "one"})
    sandbox = workspace.create(secrets=[secret])
    process = sandbox.exec(
        *("sh", "-c", 'cat; echo "$FROM_BOX $FROM_EXEC $PWD" >&2; exit 3'),
        env={"FROM_EXEC": "two"},
        workdir="/usr",
    )
    process.stdin.write("typed\n")
    process.stdin.write_eof()
    process.stdin.drain()
    assert (process.stdout.read(), process.stderr.read()) == ("typed\n", "one two /usr\n")
    assert process.wait() == 3
    killed = sandbox.exec("sh", "-c", "kill -9 $$")
    assert killed.wait() == 137
    large = output(sandbox, "sh", "-c", "head -c 3000000 /dev/zero | tr '\\0' x")
    assert len(large) == 3_000_000


def test_exec_returns_while_a_background_child_keeps_the_output_open(workspace: Workspace) -> None:
    sandbox = workspace.create()
    assert output(sandbox, "sh", "-c", "sleep 1000 & echo started") == "started\n"


def test_exec_that_takes_too_long_is_minus_one(
    emulator: ModalEmulator, workspace: Workspace
) -> None:
    sandbox = workspace.create()
    process = sandbox.exec("sleep", "1000", timeout=1)
    emulator.advance(1)
    assert process.wait() == -1


def test_files_go_through_the_filesystem_interface(workspace: Workspace) -> None:
    sandbox = workspace.create()
    data = bytes(range(256)) * 4096
    sandbox.filesystem.write_bytes(data, "/srv/deep/file")
    assert sandbox.filesystem.read_bytes("/srv/deep/file") == data
    (entry,) = sandbox.filesystem.list_files("/srv/deep")
    assert (entry.name, entry.size) == ("file", len(data))
    with pytest.raises(modal.exception.SandboxFilesystemNotFoundError):
        sandbox.filesystem.read_text("/srv/absent")


@pytest.mark.parametrize("gpu", ["T4", None])
def test_main_process_output_and_status(workspace: Workspace, gpu: str | None) -> None:
    sandbox = workspace.create("sh", "-c", "echo out; echo err >&2; cat; exit 4", gpu=gpu)
    sandbox.stdin.write("typed")
    sandbox.stdin.write_eof()
    sandbox.stdin.drain()
    sandbox.wait()
    assert sandbox.returncode == 4
    assert (sandbox.stdout.read(), sandbox.stderr.read()) == ("out\ntyped", "err\n")


def test_logs_can_be_looked_up_after_the_end(workspace: Workspace) -> None:
    sandbox = workspace.create("sh", "-c", "echo one; echo two >&2")
    sandbox.wait()
    assert {entry.message for entry in sandbox.logs.tail(10)} == {"one\n", "two\n"}
    assert [entry.message for entry in sandbox.logs.tail(10, source="stderr")] == ["two\n"]


def test_names_tags_and_lists(emulator: ModalEmulator, workspace: Workspace) -> None:
    first = workspace.create(name="first", tags={"devbox": "a", "owner": "me"})
    second = workspace.create(name="second", tags={"devbox": "b"}, gpu=None)
    assert workspace.list() == [second.object_id, first.object_id]
    assert workspace.list(tags={"devbox": "a"}) == [first.object_id]
    second.set_tags({"devbox": "a"})
    assert second.get_tags() == {"devbox": "a"}
    assert set(workspace.list(tags={"devbox": "a"})) == {first.object_id, second.object_id}
    with pytest.raises(modal.exception.AlreadyExistsError):
        workspace.create(name="first")
    for name, sandbox in (("first", first), ("second", second)):
        found = modal.Sandbox.from_name("boxes", name, client=workspace.client)
        assert found.object_id == sandbox.object_id
    first.terminate()
    until(lambda: workspace.list() == [second.object_id])
    with pytest.raises(modal.exception.NotFoundError):
        modal.Sandbox.from_name("boxes", "first", client=workspace.client)
    again = workspace.create(name="first")
    assert again.object_id != first.object_id
    assert modal.Sandbox.from_id(first.object_id, client=workspace.client).poll() == 137


@pytest.mark.parametrize("gpu", ["T4", None])
def test_after_termination_commands_are_not_found(
    emulator: ModalEmulator, workspace: Workspace, gpu: str | None
) -> None:
    sandbox = workspace.create(gpu=gpu)
    mark = f"7{uuid.uuid4().int % 10**6:06d}"
    assert output(sandbox, "sh", "-c", f"setsid sleep {mark} >/dev/null 2>&1 & echo") == "\n"
    machine = emulator.sandboxes[sandbox.object_id].machine
    until(lambda: any(arguments(p) == ["sleep", mark] for p in machine.processes()))
    running = sandbox.exec("sleep", "1000")
    asked = threading.Event()
    emulator.on_call = lambda rpc, phase: asked.set() if rpc == "TaskExecWait" else None
    with ThreadPoolExecutor() as pool:
        status = pool.submit(running.wait)
        assert asked.wait(LIMIT)
        sandbox.terminate()
        assert status.result(LIMIT) == 137
    sandbox.wait(raise_on_termination=False)
    assert subprocess.run(["pgrep", "-f", f"^sleep {mark}$"], check=False).returncode == 1
    for handle in (sandbox, modal.Sandbox.from_id(sandbox.object_id, client=workspace.client)):
        with pytest.raises(modal.exception.NotFoundError):
            handle.exec("true")


def test_a_snapshot_starts_a_successor_with_the_files(
    emulator: ModalEmulator, workspace: Workspace
) -> None:
    sandbox = workspace.create(image=workspace.image.env({"LEVEL": "image"}))
    output(sandbox, "sh", "-c", "mkdir /srv/kept && echo data >/srv/kept/file && rm /etc/motd")
    snapshot = sandbox.snapshot_filesystem()
    output(sandbox, "sh", "-c", "echo later >/srv/kept/file")
    sandbox.terminate()
    sandbox.wait(raise_on_termination=False)
    for gpu in ("T4", None):
        successor = workspace.create(image=snapshot, gpu=gpu)
        script = "cat /srv/kept/file; test -e /etc/motd || echo $LEVEL"
        assert output(successor, "sh", "-c", script) == "data\nimage\n"
    by_id = modal.Image.from_id(snapshot.object_id, client=workspace.client)
    workspace.create(image=by_id)
    emulator.advance(30 * 24 * 3600)
    with pytest.raises(modal.exception.NotFoundError):
        workspace.create(image=modal.Image.from_id(snapshot.object_id, client=workspace.client))


def test_a_sandbox_sees_nothing_of_the_person(workspace: Workspace) -> None:
    sandbox = workspace.create()
    script = "ls -A /root /home /tmp /work 2>/dev/null; ls /etc/ssh/ssh_host_* 2>/dev/null; env"
    shown = output(sandbox, "sh", "-c", script + "; ip route 2>/dev/null")
    assert "as-test" not in shown
    assert "ssh_host" not in shown
    assert "default" not in shown
    assert output(sandbox, "sh", "-c", "ls -A /root /home /tmp") == "/home:\n\n/root:\n\n/tmp:\n"


def test_a_readiness_probe_waits_for_the_port(workspace: Workspace) -> None:
    sandbox = workspace.create(
        *("sh", "-c", "sleep 0.2; exec /usr/bin/python3 -m http.server 8000 --bind 127.0.0.1"),
        readiness_probe=modal.Probe.with_tcp(8000, interval_ms=20),
    )
    sandbox.wait_until_ready(timeout=20)
    script = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:8000').status)"
    assert output(sandbox, "/usr/bin/python3", "-c", script) == "200\n"


def test_a_sandbox_reaches_only_the_ports_it_may(connect: Connect) -> None:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    port = server.server_address[1]
    script = "import socket, sys; socket.create_connection(('127.0.0.1', int(sys.argv[1])), 5)"
    try:
        for reach, status in (([port], 0), ([], 1)):
            with ModalEmulator(clock=Clock.manual(), stages=INSTANT, reach=reach) as emulator:
                sandbox = Workspace(connect(emulator)).create()
                process = sandbox.exec("/usr/bin/python3", "-c", script, str(port))
                assert process.wait() == status
    finally:
        server.shutdown()
        server.server_close()
