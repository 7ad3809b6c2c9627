"""Stages, timeouts and what they cost, with time that only the test moves."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import modal
import pytest
from modal_proto import api_pb2

from tests.emulators.common import Clock
from tests.emulators.modal import ModalEmulator, Stages, prices
from tests.emulators.modal.conftest import INSTANT, LIMIT, Workspace, output, until

Connect = Callable[[ModalEmulator], modal.Client]
T4_BOX = 164.0 + 2 * 39.42 + 4 * 6.67
"""Micro-USD per second of a T4 with 2 cores and 4 GiB."""


def wait_over(emulator: ModalEmulator, sandbox: modal.Sandbox) -> None:
    until(lambda: emulator.sandboxes[sandbox.object_id].result is not None)


@pytest.fixture
def at_ten(connect: Connect) -> Iterator[tuple[ModalEmulator, Workspace]]:
    """A workspace at ten o'clock sharp of the current day."""
    ten = datetime.now(UTC).replace(hour=10, minute=0, second=0, microsecond=0).timestamp()
    with ModalEmulator(clock=Clock.manual(ten), stages=INSTANT) as emulator:
        yield emulator, Workspace(connect(emulator))
    assert emulator.unexpected == []


def test_timeout_ends_a_sandbox_and_its_bill_at_the_second(
    emulator: ModalEmulator, workspace: Workspace
) -> None:
    sandbox = workspace.create(cpu=2.0, memory=4096, timeout=600)
    emulator.advance(599)
    assert sandbox.poll() is None
    emulator.advance(5000)
    with pytest.raises(modal.exception.SandboxTimeoutError):
        sandbox.wait()
    assert sandbox.returncode == 124
    (interval,) = emulator.meter.intervals(sandbox.object_id)
    assert interval.end == pytest.approx(interval.start + 600)
    assert interval.what == "T4"
    assert emulator.meter.total(sandbox.object_id) == round(600 * T4_BOX)


def test_a_life_longer_than_a_day_is_refused(workspace: Workspace) -> None:
    with pytest.raises(modal.exception.InvalidError, match="24 hours"):
        workspace.create(timeout=86_401)


def test_idle_timeout_counts_execs_and_tunnels_but_not_the_main_process(
    emulator: ModalEmulator, workspace: Workspace
) -> None:
    serve = "exec /usr/bin/python3 -m http.server 8000 --bind 127.0.0.1"
    sandbox = workspace.create(
        *("sh", "-c", serve),
        timeout=80_000,
        idle_timeout=60,
        unencrypted_ports=[8000],
        readiness_probe=modal.Probe.with_tcp(8000),
    )
    sandbox.wait_until_ready(timeout=20)
    inside = emulator.sandboxes[sandbox.object_id]
    process = sandbox.exec("cat")
    emulator.advance(300)
    assert inside.result is None
    process.stdin.write_eof()
    process.stdin.drain()
    process.wait()
    emulator.advance(59)
    with socket.create_connection(sandbox.tunnels()[8000].tcp_socket) as connection:
        until(lambda: inside.busy == 1)
        emulator.advance(300)
        assert inside.result is None
        connection.close()
    until(lambda: inside.busy == 0)
    emulator.advance(59)
    assert sandbox.poll() is None
    emulator.advance(2)
    wait_over(emulator, sandbox)
    result: Any = inside.result
    assert result.status == api_pb2.GenericResult.GENERIC_STATUS_IDLE_TIMEOUT


def test_stages_take_their_time_and_cost_nothing_before_the_start(connect: Connect) -> None:
    stages = Stages(image_build=30.0, scheduling=60.0, stopping=20.0, snapshot=10.0)
    with ModalEmulator(clock=Clock.manual(), stages=stages) as emulator:
        workspace = Workspace(connect(emulator))
        with ThreadPoolExecutor() as pool:
            creating = pool.submit(workspace.create, timeout=86_400)
            until(lambda: len(emulator.images) == 1)
            emulator.advance(30)
            until(lambda: len(emulator.sandboxes) == 1)
            (inside,) = emulator.sandboxes.values()
            emulator.advance(59)
            assert inside.state == "pending"
            assert emulator.meter.intervals() == []
            emulator.advance(2)
            sandbox = creating.result(LIMIT)
            snapshot = pool.submit(sandbox.snapshot_filesystem)
            until(lambda: "TaskGetCommandRouterAccess" in emulator.calls.routes)
            while not wait({snapshot}, timeout=0.01).done:
                emulator.advance(1)
        sandbox.terminate()
        assert (inside.state, emulator.meter.billing()) == ("running", [sandbox.object_id])
        emulator.advance(20)
        wait_over(emulator, sandbox)
        assert emulator.meter.billing() == []
        assert sandbox.poll() == 137


def test_rates_and_report_agree_with_the_meter(
    at_ten: tuple[ModalEmulator, Workspace],
) -> None:
    emulator, workspace = at_ten
    start = datetime.fromtimestamp(emulator.clock.now(), UTC)
    billing = modal.Workspace.from_context(client=workspace.client).billing
    assert billing.rates()["gpu_hour_cost_h100"] == Decimal("0.001097") * 3600
    for tag, gpu in (("a", "T4"), ("b", "H100:2")):
        workspace.create(gpu=gpu, cpu=2.0, memory=4096, tags={"devbox": tag}, timeout=5400)
    emulator.advance(5 * 3600)
    until(lambda: all(each.result is not None for each in emulator.sandboxes.values()))
    end = start + timedelta(hours=4)
    report = billing.report(start=start, end=end, resolution="h", tag_names=["devbox"])
    first = [item for item in report if item.interval_start == start]
    assert {item.tags["devbox"] for item in first} == {"a", "b"}
    cost = {
        tag: sum(item.cost for item in report if item.tags["devbox"] == tag) for tag in ("a", "b")
    }
    assert float(cost["a"]) == pytest.approx(5400 * T4_BOX / 1e6, rel=1e-4)
    assert sum(cost.values()) == pytest.approx(
        Decimal(emulator.meter.grand_total()) / 10**6, rel=Decimal("1e-4")
    )
    assert first[0].cost_by_resource.keys() >= {"CPU", "Memory"}
    assert billing.summary().metered_cost == pytest.approx(sum(cost.values()), rel=Decimal("1e-4"))


def test_an_unfinished_hour_is_not_in_the_report(
    at_ten: tuple[ModalEmulator, Workspace],
) -> None:
    emulator, workspace = at_ten
    start = datetime.fromtimestamp(emulator.clock.now(), UTC)
    workspace.create()
    emulator.advance(1800)
    billing = modal.Workspace.from_context(client=workspace.client).billing
    assert billing.report(start=start, end=start + timedelta(minutes=59), resolution="h") == []


def test_every_gpu_of_the_price_list_can_be_had(workspace: Workspace) -> None:
    with pytest.raises(modal.exception.InvalidError, match="Invalid GPU type"):
        workspace.create(gpu="V100")
    assert prices.ALIASES.keys().isdisjoint(prices.GPU)
    sandbox = workspace.create(gpu="a100-80gb")
    assert output(sandbox, "echo", "ok") == "ok\n"


def test_a_dying_emulator_takes_its_sandboxes_along(connect: Connect) -> None:
    script = (
        "import signal\n"
        "from tests.emulators.modal import ModalEmulator, Stages\n"
        "with ModalEmulator(stages=Stages(0, 0, 0, 0)) as emulator:\n"
        "    print(emulator.url, flush=True)\n"
        "    signal.pause()\n"
    )
    server = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    url = server.stdout.readline().strip()
    mark = f"8{time.time_ns() % 10**8:08d}"
    env = {**os.environ, "MODAL_SERVER_URL": url, "MODAL_TOKEN_ID": "a", "MODAL_TOKEN_SECRET": "b"}
    client = (
        "import modal\n"
        "app = modal.App.lookup('boxes', create_if_missing=True)\n"
        f"sandbox = modal.Sandbox.create('setsid', 'sleep', '{mark}', app=app, gpu='T4')\n"
        "sandbox.exec('true').wait()\n"
    )
    subprocess.run([sys.executable, "-c", client], env=env, check=True)
    look = ["pgrep", "-f", f"^sleep {mark}$"]
    until(lambda: subprocess.run(look, capture_output=True, check=False).returncode == 0)
    server.kill()
    server.wait()
    server.stdout.close()
    until(lambda: subprocess.run(look, capture_output=True, check=False).returncode == 1)
