"""A box half driven as a subprocess, the way ssh would, under this Python and the oldest one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.processes import send

REPOSITORY = Path(__file__).parents[2]
PYTHONS = ["this", "oldest"]


def until(condition: Callable[[], Any], seconds: float = 120.0) -> Any:
    """Poll until the condition is true; its value."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.02)
    raise AssertionError(f"{condition} was not met within {seconds} s")


def oldest_python() -> str:
    """The oldest Python from 3.9 on of this machine, at worst this one."""
    roots = [Path(os.environ.get("PYENV_ROOT", "/nonexistent")) / "versions"]
    for minor in range(9, sys.version_info.minor):
        found = [path for root in roots for path in root.glob(f"3.{minor}.*/bin/python3.{minor}")]
        found += [Path(folder) / f"python3.{minor}" for folder in os.get_exec_path()]
        for path in found:
            if path.is_file() and "shims" not in path.parts:
                return str(path)
    return sys.executable


class BoxHalf:
    """`devbox-box job …` on a box that is a folder."""

    def __init__(self, home: Path, python: str) -> None:
        self.home, self.python = home, python
        self.root = home / ".devbox-box"
        self.workdir = home / "work"
        self.workdir.mkdir(exist_ok=True)

    def popen(self, *words: str, **more: Any) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [self.python, "-m", "devbox.box", "job", *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=REPOSITORY,
            **more,
        )

    def job(self, *words: str, input: Any = None) -> dict[str, Any]:
        """The answer; of one run, its status."""
        data = json.dumps(input).encode() if input is not None else b""
        out, _ = self.popen(*words).communicate(data, timeout=120)
        answer = json.loads(out)
        assert isinstance(answer, dict)
        status = answer.get("status", answer)
        assert isinstance(status, dict)
        return status

    def start(self, run_id: str = "r1", **fields: Any) -> dict[str, Any]:
        return self.job("start", input={"v": 1, "id": run_id, "job": "test", **fields})

    def status(self, run_id: str = "r1") -> dict[str, Any]:
        return self.job("status", run_id)

    def file(self, run_id: str = "r1") -> dict[str, Any]:
        """status.json as it is, without settling it."""
        value = json.loads((self.root / "runs" / run_id / "status.json").read_text())
        assert isinstance(value, dict)
        return value

    def end(self, run_id: str = "r1", seconds: float = 120.0) -> dict[str, Any]:
        """Wait for the end; the final status."""
        until(lambda: self.file(run_id)["state"] != "running", seconds)
        return self.status(run_id)

    def out(self, path: str, run_id: str = "r1") -> Path:
        return self.root / "runs" / run_id / "out" / path

    def log(self, run_id: str = "r1") -> str:
        return (self.root / "runs" / run_id / "log.txt").read_text()

    def follow(self, run_id: str = "r1", *options: str) -> list[dict[str, Any]]:
        """All messages, to the end of the run."""
        process = self.popen("follow", run_id, *options)
        assert process.stdin
        assert process.stdout
        lines = [json.loads(line) for line in process.stdout]
        process.stdin.close()
        assert process.wait(60) == 0
        return lines

    def module(self, code: str) -> str:
        """A job module in the workdir; its name."""
        (self.workdir / "probe_job.py").write_text(code)
        return "probe_job"

    def processes(self, run_id: str | None = None) -> list[psutil.Process]:
        """Living processes of this box, or of one run."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.pid == os.getpid() or process.status() == psutil.STATUS_ZOMBIE:
                    continue
                env = process.environ()
            except psutil.Error:
                continue  # ended meanwhile, or another user's
            if env.get("DEVBOX_BOX_ROOT") != str(self.root):
                continue
            if run_id is None or env.get("DEVBOX_RUN_ID") == run_id:
                found.append(process)
        return found

    def clear(self) -> None:
        """Kill all of it, again until none is left: one that is just being born is not listed."""
        deadline = time.monotonic() + 120
        while left := self.processes():
            assert time.monotonic() < deadline, left
            for process in left:
                send(process, signal.SIGKILL)
            time.sleep(0.005)


@pytest.fixture(params=PYTHONS)
def box(request: pytest.FixtureRequest, home: Path) -> Iterator[BoxHalf]:
    half = BoxHalf(home, sys.executable if request.param == "this" else oldest_python())
    yield half
    half.clear()


@pytest.fixture
def one_box(home: Path) -> Iterator[BoxHalf]:
    """Under this Python only, for what does not depend on it."""
    half = BoxHalf(home, sys.executable)
    yield half
    half.clear()
