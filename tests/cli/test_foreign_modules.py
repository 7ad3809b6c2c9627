"""Python files of the current folder never run as modules of devbox's own processes."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import time
from pathlib import Path

import pytest

import devbox
from devbox.tui.operation_manager import Operations
from devbox.tui.web import Door

ROOT = Path(devbox.__file__).parent
#: what a process of devbox imports early: of others, of the standard library, of its own
NAMES = ("click", "msgspec", "textual", "signal", "json", "typing", "devbox", "pip", "torch")
TRAP = "import pathlib; pathlib.Path({!r}).write_text(__name__)\nraise SystemExit(66)\n"


@pytest.fixture
def trapped(project: Path, home: Path) -> Path:
    """A current folder with a module of each name, which leaves a mark when it runs."""
    for name in NAMES:
        (project / f"{name}.py").write_text(TRAP.format(str(home / "mark")))
    return project


def test_the_web_dashboard_s_process(trapped: Path, home: Path) -> None:
    command = shlex.split(Door(1, "secret", readonly=True).command)
    done = subprocess.run(
        [*command, "--help"], cwd=trapped, capture_output=True, check=False, env=dict(os.environ)
    )
    assert not (home / "mark").exists()
    assert (done.returncode, done.stderr) == (0, b"")


def test_an_operation_of_the_dashboard(trapped: Path, home: Path) -> None:
    operations = Operations(trapped)
    operation = operations.start("finish x", "x", "status", "x", "--wait")
    deadline = time.monotonic() + 120
    while operation.state == "running":
        assert time.monotonic() < deadline
        operations.poll()
        time.sleep(0.02)
    assert not (home / "mark").exists()
    assert operation.state == "failed"
    assert "x" in operation.error["what"]


def test_every_python_we_start_with_a_module_leaves_the_current_folder_out() -> None:
    loose = [
        f"{file.relative_to(ROOT)}: {line.strip()}"
        for file in ROOT.rglob("*.py")
        for line in file.read_text().splitlines()
        if re.search(r'sys\.executable, "-m"', line)
    ]
    # The box half runs on Python 3.9, which has no -P: it starts pip in a folder of its own.
    assert [line for line in loose if not line.startswith("box/packages.py")] == []
