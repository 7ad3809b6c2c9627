"""A test's child processes can be interrupted, whatever the parent of the tests had ignored."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

_CHILD = "import signal; print(signal.getsignal(signal.{name}) is not signal.SIG_IGN)"
_TESTS = (
    "import subprocess, sys, tests.conftest\n"
    "subprocess.run([sys.executable, '-c', sys.argv[1]], check=True)\n"
)


@pytest.mark.parametrize("name", ["SIGINT", "SIGQUIT", "SIGHUP", "SIGTERM"])
def test_a_child_of_tests_that_run_in_the_background_starts_with_defaults(name: str) -> None:
    number = signal.Signals[name]
    done = subprocess.run(
        [sys.executable, "-c", _TESTS, _CHILD.format(name=name)],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        preexec_fn=lambda: signal.signal(number, signal.SIG_IGN),
    )
    assert done.stdout == "True\n"
