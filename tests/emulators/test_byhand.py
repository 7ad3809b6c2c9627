"""The emulators as a user runs them, with the clients of what they stand for."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys

import pytest

HUB = ["-c", "import huggingface_hub as h; print(h.HfApi().whoami()['name'])"]
MODAL = ["-m", "modal", "billing", "rates", "--json"]


@pytest.mark.parametrize(
    ("words", "variables", "client", "said", "noted"),
    [
        (["hf", "--build", "0.1", "--start", "0.1"], 5, HUB, "me\n", "ssh_gateway = "),
        (
            ["modal", "--build", "0", "--schedule", "0"],
            *(4, MODAL, '"gpu_hour_cost_t4": "0.5904"', "server_url = "),
        ),
    ],
)
def test_by_hand_prints_the_environment_that_the_client_needs(
    words: list[str], variables: int, client: list[str], said: str, noted: str
) -> None:
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.emulators", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert server.stdout is not None
        env = dict(os.environ)
        for _ in range(variables):
            key, _, value = server.stdout.readline().removeprefix("export ").partition("=")
            (env[key],) = shlex.split(value)
        argv = [sys.executable, *client]
        done = subprocess.run(argv, env=env, capture_output=True, text=True, check=True)
        assert said in done.stdout
        server.send_signal(signal.SIGTERM)
        _, notes = server.communicate(timeout=30)
        assert server.returncode == 0
        assert noted in notes
    finally:
        server.kill()
        server.wait()
