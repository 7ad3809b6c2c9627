"""Another process against the emulator: by hand, and killed in the middle of a call."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from tests.emulators.hf import HfEmulator

CLIENT = "import huggingface_hub as h, sys; print(h.HfApi().pause_space(sys.argv[1]).stage)"


def test_by_hand_prints_the_environment_that_the_client_needs() -> None:
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.emulators", "hf", "--build", "0.1", "--start", "0.1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert server.stdout is not None
        env = dict(os.environ)
        for _ in range(5):
            key, _, value = server.stdout.readline().removeprefix("export ").partition("=")
            env[key] = value.strip()
        script = "import huggingface_hub as h; print(h.HfApi().whoami()['name'])"
        done = subprocess.run(
            [sys.executable, "-c", script], env=env, capture_output=True, text=True, check=True
        )
        assert done.stdout == "me\n"
        server.send_signal(signal.SIGTERM)
        _, notes = server.communicate(timeout=30)
        assert server.returncode == 0
        assert "ssh_gateway = " in notes
    finally:
        server.kill()
        server.wait()


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
