"""Every knob, as the real client sees it; the hooks; what is not implemented."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable

import modal
import pytest
from grpclib.exceptions import StreamTerminatedError

from tests.emulators.common import Clock, Fault
from tests.emulators.modal import ModalEmulator
from tests.emulators.modal.conftest import INSTANT, Workspace, output

Connect = Callable[[ModalEmulator], modal.Client]
CREATE = (
    "import modal\n"
    "app = modal.App.lookup('boxes', create_if_missing=True)\n"
    "image = modal.Image.debian_slim()\n"
    "modal.Sandbox.create('sleep', '3600', app=app, image=image, gpu='T4', name='box')\n"
)


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault.error(429, "Too many requests"), modal.exception.ResourceExhaustedError),
        (Fault.server_error(), modal.exception.ServiceError),
        (Fault.server_error(500), modal.exception.InternalError),
        (Fault.unauthorized(), modal.exception.AuthError),
        (Fault.payment_required(), modal.exception.PermissionDeniedError),
        (Fault.forbidden(), modal.exception.PermissionDeniedError),
        (Fault.reset(), StreamTerminatedError),
    ],
)
def test_a_lasting_failure_has_no_effect(
    emulator: ModalEmulator, workspace: Workspace, fault: Fault, error: type[Exception]
) -> None:
    workspace.create()
    emulator.knobs.set("SandboxCreate", fault, times=None)
    with pytest.raises(error):
        workspace.create()
    assert len(emulator.sandboxes) == 1
    emulator.knobs.clear()
    workspace.create()


@pytest.mark.parametrize(
    "fault", [Fault.server_error(), Fault.rate_limited(0.1), Fault.reset(), Fault.latency(0.2)]
)
def test_the_client_gets_over_a_passing_failure(
    emulator: ModalEmulator, workspace: Workspace, fault: Fault
) -> None:
    emulator.knobs.set("SandboxCreate", fault, times=2)
    sandbox = workspace.create()
    assert list(emulator.sandboxes) == [sandbox.object_id]


def test_a_retry_after_a_lost_reply_joins_the_first_call(
    emulator: ModalEmulator, workspace: Workspace
) -> None:
    emulator.knobs.set("SandboxCreate", Fault.reply_lost(), times=2)
    sandbox = workspace.create()
    assert list(emulator.sandboxes) == [sandbox.object_id]
    outcomes = [call.outcome for call in emulator.calls.records if call.route == "SandboxCreate"]
    assert outcomes == ["lost", "lost", "OK"]


def test_without_deduplication_a_lost_reply_leaves_an_orphan(connect: Connect) -> None:
    clock = Clock.manual()
    with ModalEmulator(clock=clock, stages=INSTANT, dedupe_retries=False) as emulator:
        workspace = Workspace(connect(emulator))
        workspace.create()
        emulator.knobs.set("SandboxCreate", Fault.reply_lost())
        workspace.create()
        assert len(emulator.meter.billing()) == 3
        emulator.knobs.set("SandboxCreate", Fault.reply_lost())
        with pytest.raises(modal.exception.AlreadyExistsError):
            workspace.create(name="box")
        assert [each.name for each in emulator.sandboxes.values()].count("box") == 1


def test_a_fresh_sandbox_is_missing_from_a_lagging_list(
    emulator: ModalEmulator, workspace: Workspace
) -> None:
    first = workspace.create(timeout=3600)
    emulator.advance(60)
    second = workspace.create()
    emulator.knobs.set("SandboxListV2", Fault.list_lag(30), times=None)
    assert workspace.list() == [first.object_id]
    emulator.advance(31)
    assert workspace.list() == [second.object_id, first.object_id]


def test_an_ignored_stop_goes_on_costing(emulator: ModalEmulator, workspace: Workspace) -> None:
    sandbox = workspace.create()
    emulator.knobs.set("SandboxTerminate", Fault.stop_ignored())
    sandbox.terminate()
    emulator.advance(10)
    assert sandbox.poll() is None
    assert emulator.meter.billing() == [sandbox.object_id]
    sandbox.terminate()
    sandbox.wait(raise_on_termination=False)
    assert emulator.meter.billing() == []


def test_router_calls_fail_and_recover_too(emulator: ModalEmulator, workspace: Workspace) -> None:
    sandbox = workspace.create()
    for fault in (Fault.server_error(), Fault.reset(), Fault.reply_lost(), Fault.unauthorized()):
        emulator.knobs.set("TaskExecStart", fault)
        assert output(sandbox, "echo", "once") == "once\n"
    emulator.knobs.set("TaskExecStdioRead", Fault.reset())
    assert output(sandbox, "echo", "read again") == "read again\n"
    emulator.knobs.set("TaskSnapshotFilesystem", Fault.reply_lost())
    image = sandbox.snapshot_filesystem()
    assert image.object_id in emulator.images


@pytest.mark.parametrize(("phase", "left"), [("before", 0), ("after", 1)])
def test_a_client_can_be_killed_at_the_exact_call(
    emulator: ModalEmulator, phase: str, left: int
) -> None:
    started: list[subprocess.Popen[bytes]] = []

    def hook(rpc: str, now: str) -> bool:
        if (rpc, now) == ("SandboxCreate", phase):
            started[0].kill()
            started[0].wait()
            return False
        return True

    emulator.on_call = hook
    env = {**os.environ, **emulator.env()}
    started.append(subprocess.Popen([sys.executable, "-c", CREATE], env=env))
    assert started[0].wait(60) == -signal.SIGKILL
    assert len(emulator.sandboxes) == left
    assert len(emulator.meter.billing()) == left


def test_a_missing_token_is_unauthenticated(emulator: ModalEmulator) -> None:
    env = {**os.environ, **emulator.env(), "MODAL_TOKEN_ID": "", "MODAL_TOKEN_SECRET": ""}
    done = subprocess.run(
        [sys.executable, "-c", CREATE], env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert emulator.sandboxes == {}


def test_what_is_not_implemented_fails_loudly(connect: Connect) -> None:
    with ModalEmulator(clock=Clock.manual(time.time()), stages=INSTANT) as emulator:
        workspace = Workspace(connect(emulator))
        with pytest.raises(modal.exception.UnimplementedError):
            modal.Queue.from_name(
                "queue", create_if_missing=True, client=workspace.client
            ).hydrate()
        with pytest.raises(modal.exception.UnimplementedError):
            workspace.create(pty=True)
        assert emulator.unexpected == ["QueueGetOrCreate"]
