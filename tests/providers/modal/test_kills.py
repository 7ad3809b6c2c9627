"""kill -9 of devbox at the calls that change something at Modal, then reconcile: right state, no
orphan that bills, a ledger that agrees with Modal's meter, no lost file."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from devbox import lifecycle
from devbox.model import BoxState
from devbox.remote import command
from devbox.workspace import Workspace
from tests import warm
from tests.emulators.modal import ModalEmulator

Open = Callable[..., Workspace]
GOAL = {
    "up": BoxState.RUNNING,
    "pause": BoxState.PAUSED,
    "resume": BoxState.RUNNING,
    "down": BoxState.TERMINATED,
}
TRIALS = [
    *(("up", rpc) for rpc in ("ImageGetOrCreate", "SecretGetOrCreate", "SandboxCreate")),
    *(("pause", rpc) for rpc in ("TaskSnapshotFilesystem", "SandboxTagsSet", "SandboxTerminate")),
    *(("resume", rpc) for rpc in ("SecretGetOrCreate", "SandboxCreate")),
    *(("down", rpc) for rpc in ("SandboxTagsSet", "SandboxTerminate")),
]


def killed(emulator: ModalEmulator, verb: str, rpc: str, phase: str) -> None:
    """Run a verb in a process of its own that dies at that call, before or after its effect."""
    started: list[subprocess.Popen[bytes]] = []

    def hook(name: str, now: str) -> bool:
        if (name, now) == (rpc, phase) and started[0].poll() is None:
            started[0].kill()
            started[0].wait()
            return False
        return True

    emulator.on_call = hook
    argv = [sys.executable, "-m", "tests.lifecycle.driver", verb, "-", "-"]
    started.append(warm.Popen(argv, stderr=subprocess.PIPE))
    _, errors = started[0].communicate(timeout=120)
    emulator.on_call = None
    assert started[0].returncode == -signal.SIGKILL, errors.decode()


@pytest.mark.parametrize("phase", ["before", "after"])
@pytest.mark.parametrize(("verb", "rpc"), TRIALS)
def test_a_kill_is_finished_by_reconcile(
    project: Open, emulator: ModalEmulator, verb: str, rpc: str, phase: str
) -> None:
    ws = project()
    if verb != "up":
        box = lifecycle.up(ws, "b")
        keep = command.argv(box, ["sh", "-c", "echo precious >work/kept.txt"])
        subprocess.run(keep, check=True, timeout=60)
    if verb == "resume":
        lifecycle.pause(ws, ws.box("b"))

    killed(emulator, verb, rpc, phase)
    ws.clock = lambda: time.time() + 120  # past what a create may take and a listing may lag
    findings = lifecycle.reconcile(ws)
    ws.clock = time.time

    box = ws.box("b")
    made = verb != "up" or (rpc, phase) == ("SandboxCreate", "after")
    assert [f.kind for f in findings] == ["finished" if made else "given-up"]
    assert box.state is (GOAL[verb] if made else BoxState.TERMINATED)
    assert ws.store.boxes.open_intents() == []
    assert len(emulator.meter.billing()) == (box.state is BoxState.RUNNING)
    assert len(ws.provider("modal").find()) == (not box.state.is_over)
    assert lifecycle.reconcile(ws) == []
    if box.state is BoxState.PAUSED:
        box = lifecycle.resume(ws, box)
    if verb in ("pause", "resume"):
        recall = command.argv(box, ["cat", "work/kept.txt"])
        done = subprocess.run(recall, check=True, capture_output=True, text=True, timeout=60)
        assert done.stdout == "precious\n"
    if not box.state.is_over:
        skipped: list[float] = []  # waits for what a create may still make are not waited here
        ws.clock = lambda: time.time() + sum(skipped)
        ws.sleep = lambda s: skipped.append(s) if s > 2.0 else time.sleep(s)
        lifecycle.down(ws, box)
    ours = sum(
        ((i.end or 0) - i.start) * (i.price.micro_per_hour or 0) / 3600
        for i in ws.store.ledger.of_box(box.id)
    )
    assert ours == pytest.approx(emulator.meter.grand_total(), rel=0.001, abs=1)
