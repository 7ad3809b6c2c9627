"""The emulator as a user runs it, with Modal's own command line."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys


def test_by_hand_prints_the_environment_that_the_client_needs() -> None:
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.emulators", "modal", "--build", "0", "--schedule", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert server.stdout is not None
        env = dict(os.environ)
        for _ in range(4):
            key, _, value = server.stdout.readline().removeprefix("export ").partition("=")
            (env[key],) = shlex.split(value)
        rates = [sys.executable, "-m", "modal", "billing", "rates", "--json"]
        done = subprocess.run(rates, env=env, capture_output=True, text=True, check=True)
        assert '"gpu_hour_cost_t4": "0.5904"' in done.stdout
        server.send_signal(signal.SIGTERM)
        _, notes = server.communicate(timeout=30)
        assert server.returncode == 0
        assert "server_url = " in notes
    finally:
        server.kill()
        server.wait()
