"""Another process against the emulator, killed in the middle of a call."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from tests.emulators.hf import HfEmulator

CLIENT = "import huggingface_hub as h, sys; print(h.HfApi().pause_space(sys.argv[1]).stage)"


@pytest.mark.parametrize(("phase", "stage"), [("before", "RUNNING"), ("after", "PAUSED")])
def test_a_client_can_be_killed_at_the_exact_call(
    emulator: HfEmulator, running: str, phase: str, stage: str
) -> None:
    started: list[subprocess.Popen[bytes]] = []

    def hook(route: str, now: str) -> bool:
        if (route, now) == ("pause", phase):
            started[0].kill()
            started[0].wait()
            return False
        return True

    emulator.on_call = hook
    started.append(
        subprocess.Popen(
            [sys.executable, "-c", CLIENT, running],
            env={**os.environ, **emulator.env()},
            stdout=subprocess.PIPE,
        )
    )
    out, _ = started[0].communicate(timeout=60)
    assert (out, started[0].returncode) == (b"", -signal.SIGKILL)
    assert emulator.spaces[running].stage == stage
