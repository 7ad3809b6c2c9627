"""How a box ends, by whatever hand: nothing runs on, the bill says when."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from devbox import paths
from devbox.errors import DevboxError, ProviderError
from devbox.model import Box, BoxState, Price
from devbox.providers.base import Observation
from devbox.providers.local import processes, provider
from devbox.providers.local.box_dir import BoxDir
from devbox.providers.local.provider import Local
from devbox.spec import BoxSpec, LocalSettings, Seconds, Volume
from devbox.workspace import Workspace
from tests.boxes import MakeBox, request_for, wait_for_state
from tests.processes import command_line
from tests.providers.local.conftest import Client, Terminal

DETACHED = (
    "setsid sleep 301 >/dev/null 2>&1 </dev/null & "
    "env -i setsid sleep 302 >/dev/null 2>&1 </dev/null & "
    "setsid sh -c 'trap \"\" TERM HUP; echo on >stubborn; while :; do sleep 0.1; done' "
    ">/dev/null 2>&1 </dev/null & "
    "until [ -f stubborn ]; do sleep 0.02; done"
)


@pytest.fixture
def local(local_workspace: Workspace) -> Local:
    found = local_workspace.provider("local")
    assert isinstance(found, Local)
    return found


def of(client: Client) -> list[psutil.Process]:
    return processes.of_box(client.folder)


def observe(local: Local, client: Client) -> Observation:
    seen = local.observe(client.box.handle)
    assert seen is not None
    return seen


def server_of(client: Client) -> psutil.Process:
    return psutil.Process(json.loads((client.folder.path / "server.json").read_text())["pid"])


@pytest.mark.parametrize("how", ["pause", "terminate"])
def test_no_process_outlives_a_pause_or_the_end(client: Client, local: Local, how: str) -> None:
    client.out(DETACHED)
    names = [command_line(p) for p in of(client)]
    assert {"sleep 301", "sleep 302"} <= set(names), "also the one that cleared its environment"
    left = of(client)
    getattr(local, how)(client.box.handle)
    assert of(client) == []
    assert not any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in left)
    assert client.folder.path.exists() == (how == "pause")


def test_a_helper_born_after_the_signal_saves_before_a_pause(client: Client, local: Local) -> None:
    """Neither a second SIGTERM nor a SIGHUP ends what saves."""
    script = "trap 'python3 -c \"import time; time.sleep(1)\"; echo x >ckpt; exit 0' TERM"
    client.out(
        f"setsid sh -c '{script.replace(chr(39), chr(39) + chr(92) + chr(39) * 2)}; "
        "touch armed; sleep 5000 & wait' >/dev/null 2>&1 </dev/null & "
        "until [ -f armed ]; do sleep 0.02; done"
    )
    home = Path(client.out("pwd").strip())
    local.pause(client.box.handle)
    assert (home / "ckpt").read_text() == "x\n"


def test_a_quiet_box_ends_at_once(client: Client, local: Local) -> None:
    client.out("setsid sleep 301 >/dev/null 2>&1 </dev/null &")
    start = time.monotonic()
    local.pause(client.box.handle)
    assert time.monotonic() - start < processes.GRACE


def test_a_terminal_is_told_why_it_ends(
    terminal: Callable[..., Terminal], local: Local, client: Client
) -> None:
    person = terminal()
    person.expect("devbox box b")
    local.pause(client.box.handle)
    person.expect("b stops now (paused); its files are kept")


def test_a_killed_server_is_cleared_away_by_its_guard(
    client: Client, local: Local, until: Callable[..., None]
) -> None:
    client.out(DETACHED)
    before = time.time()
    server_of(client).kill()
    until(lambda: of(client) == [])
    seen = wait_for_state(local, client.box.handle, BoxState.PAUSED)
    assert not seen.billed
    assert seen.ended_at is not None
    assert before <= seen.ended_at <= time.time()
    assert "killed by SIGKILL" in seen.message


def test_when_server_and_guard_are_killed_the_last_heartbeat_is_the_end(
    client: Client, local: Local, until: Callable[..., None]
) -> None:
    client.out("setsid sleep 301 >/dev/null 2>&1 </dev/null &")
    server = server_of(client)
    guard = server.parent()
    assert guard is not None
    guard.kill()
    server.kill()
    until(lambda: not client.folder.alive())
    beat = time.time() - 60
    os.utime(client.folder.heartbeat, (beat, beat))
    seen = observe(local, client)
    assert seen.state == BoxState.PAUSED
    assert seen.ended_at == pytest.approx(beat, abs=0.01)
    assert of(client) == []


def test_a_box_whose_guard_was_killed_still_ends_cleanly(
    client: Client, local: Local, until: Callable[..., None]
) -> None:
    guard = server_of(client).parent()
    assert guard is not None
    guard.kill()
    client.out("setsid sleep 301 >/dev/null 2>&1 </dev/null &")
    assert observe(local, client).state == BoxState.RUNNING
    client.out(f"touch {client.folder.stop}")
    until(lambda: not client.folder.alive())
    seen = observe(local, client)
    assert (seen.state, seen.billed) == (BoxState.PAUSED, False)
    assert of(client) == []


def test_the_ceiling_comes_without_devbox(
    make_local_box: MakeBox, local: Local, until: Callable[..., None]
) -> None:
    client = Client(make_local_box(max_uptime=Seconds(1.5)))
    child = client.start("setsid sleep 301 & sleep 300")
    until(lambda: not client.folder.alive())
    assert of(client) == []
    seen = observe(local, client)
    assert seen.state == BoxState.PAUSED
    assert seen.message == "max_uptime reached"
    life = client.folder.life(1)
    assert life is not None
    assert life.began is not None
    assert life.ended is not None
    assert 1.5 <= life.ended - life.began < 1.5 + 1.5
    assert child.wait(60) == 255


def test_the_guard_ends_a_server_that_hangs(
    make_local_box: MakeBox, local: Local, until: Callable[..., None]
) -> None:
    client = Client(make_local_box(max_uptime=Seconds(0.5)))
    server_of(client).suspend()
    until(lambda: of(client) == [], 20)
    assert "server hung" in observe(local, client).message


def test_a_resumed_box_has_its_port_its_files_and_a_new_ceiling(
    client: Client, local: Local
) -> None:
    client.out("echo kept >note; sleep 300 >/dev/null 2>&1 &")
    before = observe(local, client)
    local.pause(client.box.handle)
    request = request_for("b", BoxSpec(max_uptime=Seconds(7200)), token=client.box.token)
    local.resume(request._replace(host_key=""), client.box.handle)
    seen = wait_for_state(local, client.box.handle, BoxState.RUNNING)
    assert seen.endpoint == before.endpoint
    assert seen.billed_since is not None
    assert seen.deadline == seen.billed_since + 7200
    assert client.out("cat note") == "kept\n"


def test_a_taken_port_is_not_fought_for(client: Client, local: Local) -> None:
    before = observe(local, client).endpoint
    assert before is not None
    local.pause(client.box.handle)
    with socket.socket() as stranger:
        stranger.bind(("127.0.0.1", before.port))
        stranger.listen()
        local.resume(request_for("b", BoxSpec(), token=client.box.token), client.box.handle)
        after = wait_for_state(local, client.box.handle, BoxState.RUNNING).endpoint
    assert after is not None
    assert after.port != before.port


def test_a_stranger_with_the_servers_pid_is_never_hit(
    client: Client, local: Local, until: Callable[..., None]
) -> None:
    stranger = subprocess.Popen(["sleep", "300"])
    try:
        server_of(client).kill()
        until(lambda: not client.folder.alive())
        record = json.loads((client.folder.path / "server.json").read_text())
        (client.folder.path / "server.json").write_text(json.dumps({**record, "pid": stranger.pid}))
        local.pause(client.box.handle)
        local.terminate(client.box.handle)
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_a_server_that_cannot_start_is_failed_and_says_why(local: Local) -> None:
    request = request_for("b", BoxSpec())
    folder = BoxDir(paths.local_boxes() / request.token)
    local.create(request)
    wait_for_state(local, request.token, BoxState.RUNNING)
    local.pause(request.token)
    folder.host_key.write_text("garbage")
    local.resume(request._replace(host_key=""), request.token)
    seen = wait_for_state(local, request.token, BoxState.FAILED)
    assert "ended with code 1" in seen.message
    assert "KeyImportError" in seen.message
    assert not seen.billed
    local.resume(request, request.token)
    wait_for_state(local, request.token, BoxState.RUNNING)
    local.terminate(request.token)


def test_an_idle_server_costs_no_cpu(client: Client) -> None:
    client.out("true")
    server = server_of(client)
    before, start = server.cpu_times(), time.monotonic()
    with socket.socket() as never:
        never.settimeout(2.0)
        never.bind(("127.0.0.1", 0))
        never.listen()
        with pytest.raises(TimeoutError):
            never.accept()
    used = sum(server.cpu_times()[:2]) - sum(before[:2])
    assert used / (time.monotonic() - start) < 0.02


def test_the_shadow_price(home: Path) -> None:
    free = provider.make(LocalSettings()).offers()[0]
    assert (free.price, free.hardware.name) == (Price(0, "own machine"), "cpu")
    assert free.hardware.cpus >= 1
    assert free.hardware.memory > 2**28
    dear = provider.make(LocalSettings(price=0.75)).offers()[0]
    assert dear.price == Price(750_000, "config")


def test_gpus_are_offered_where_there_are_any(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = home / "bin" / "nvidia-smi"
    tool.parent.mkdir()
    tool.write_text(
        "#!/bin/sh\necho 'NVIDIA H100 80GB HBM3, 81559'\necho 'NVIDIA H100 80GB HBM3, [N/A]'\n"
    )
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tool.parent}:{os.environ['PATH']}")
    _, gpu = [offer.hardware for offer in provider.make(LocalSettings()).offers()]
    assert (gpu.name, gpu.gpu, gpu.gpus) == ("gpu", "NVIDIA H100 80GB HBM3", 2)
    assert gpu.vram == 81559 * 1024**2
    tool.write_text("#!/bin/sh\necho 'NVIDIA GB10, [N/A]'\n")
    machine, gpu = [offer.hardware for offer in provider.make(LocalSettings()).offers()]
    assert gpu.vram == machine.memory, "it shares the machine's memory"
    tool.write_text("#!/bin/sh\nexit 9\n")
    assert [o.hardware.name for o in provider.make(LocalSettings()).offers()] == ["cpu"]


@pytest.mark.parametrize(
    "change",
    [
        {"public_key": "ssh-ed25519 AAAA\nssh-ed25519 BBBB"},
        {"public_key": ""},
        {"host_key": "nonsense"},
        {"host_key": ""},
        {"hardware": "h100"},
        {"secrets": {"A": "x\0y"}},
        {"name": "../x"},
        {"name": "-oX"},
        {"spec": BoxSpec(workdir="/srv")},
        {"spec": BoxSpec(workdir="../up")},
        {"spec": BoxSpec(volumes={"v": Volume(source="../up", mount="v")})},
        {"spec": BoxSpec(volumes={"v": Volume(source="v", mount="/srv")})},
        {"spec": BoxSpec(volumes={"v": Volume(source="v", mount="v", read_only=True)})},
    ],
    ids=str,
)
def test_a_request_that_cannot_work_makes_nothing(local: Local, change: dict[str, Any]) -> None:
    request = request_for("b", BoxSpec())
    with pytest.raises(DevboxError):
        local.create(request._replace(**change))
    assert local.find() == []
    assert [p.name for p in paths.local_boxes().iterdir() if p.name != ".locks"] == []


def test_folders_without_write_permission_go_too(home: Path) -> None:
    target, tree = home / "target", home / "tree"
    (tree / "a/b").mkdir(parents=True)
    (tree / "a/b/c").touch()
    target.mkdir(mode=0o500)
    (tree / "link").symlink_to(target)
    for folder in (tree / "a/b", tree / "a"):
        folder.chmod(0o500)
    child = os.fork()
    if not child:
        if os.geteuid() == 0:  # permissions do not bind root
            for path in (home, *home.rglob("*")):
                os.chown(path, 65534, 65534, follow_symlinks=False)
            os.setuid(65534)
        provider._remove(tree)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert not tree.exists()
    assert target.stat().st_mode & 0o777 == 0o500


def test_a_file_in_place_of_the_counts_does_not_end_the_server(
    client: Client, local: Local, until: Callable[..., None]
) -> None:
    client.out("rm -rf .devbox-box; echo mine >.devbox-box; head -c 5000 /dev/zero")
    until(lambda: "is not written" in client.folder.log_tail())
    assert client.out("cat .devbox-box") == "mine\n"


def test_processes_that_cannot_be_ended_keep_the_box_stopping(
    client: Client, local: Local, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("devbox.providers.local.guard.finish", lambda *_, **__: False)
    with pytest.raises(ProviderError, match="cannot be ended"):
        local.terminate(client.box.handle)
    monkeypatch.undo()
    assert client.folder.path.exists()
    assert observe(local, client).state == BoxState.STOPPING


def test_signals_of_the_starter_are_not_inherited(
    local_workspace: Workspace, make_local_box: MakeBox
) -> None:
    """devbox under nohup, or in the background of a shell, ignores HUP or INT."""
    before = {n: signal.signal(n, signal.SIG_IGN) for n in (signal.SIGHUP, signal.SIGINT)}
    try:
        client = Client(make_local_box())
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    ignored = int(client.out("grep SigIgn /proc/self/status").split()[1], 16)
    ours = sum(1 << (number - 1) for number in before)
    assert ignored & ours == 0


def test_a_box_whose_folder_was_deleted_ends_itself(
    client: Client, local: Local, until: Callable[..., None]
) -> None:
    client.out("setsid sleep 301 >/dev/null 2>&1 </dev/null &")
    client.folder.path.rename(client.folder.path.with_name(".deleted"))
    until(lambda: of(client) == [])
    assert local.observe(client.box.handle) is None


def test_a_volume_outlives_its_box(make_local_box: MakeBox, local: Local) -> None:
    volumes = {"data": Volume(source="set/one", mount="work/data")}
    first = Client(make_local_box("one", volumes=volumes))
    first.out("echo kept >work/data/note")
    local.terminate(first.box.handle)
    second = Client(make_local_box("two", volumes=volumes))
    assert second.out("cat work/data/note") == "kept\n"


def test_a_box_is_found_by_its_record(local_box: Box, local: Local) -> None:
    assert [seen.handle for seen in local.find(local_box.token)] == [local_box.handle]
