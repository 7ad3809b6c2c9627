"""A box with a stub of its GPUs' driver, on which runs wait."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.box.test_nvml_abi import Driver
from tests.jobs.conftest import BoxHalf, until

GB = 1 << 30
GO = [
    "sh",
    "-c",
    "echo $CUDA_VISIBLE_DEVICES; while [ ! -e go-$DEVBOX_RUN_ID ]; do sleep 0.05; done",
]


class Queue:
    """A box with two GPUs, both unused."""

    def __init__(self, half: BoxHalf, driver: Driver) -> None:
        self.half, self.driver = half, driver
        for index in range(2):
            driver.set(index, mem_used=0)

    def start(self, run: str, gpus: int = 1, **fields: Any) -> dict[str, Any]:
        wants = {k: fields.pop(k) for k in ("after", "priority", "max_runs") if k in fields}
        command = fields.pop("command", GO)
        return self.half.start(run, command=command, queue={"gpus": gpus, **wants}, **fields)

    def go(self, run: str) -> None:
        (self.half.workdir / f"go-{run}").touch()

    def end(self, run: str) -> dict[str, Any]:
        self.go(run)
        return self.over(run)

    def over(self, run: str) -> dict[str, Any]:
        until(lambda: self.half.file(run)["ended"])
        return self.half.status(run)

    def state(self, run: str) -> str:
        return str(self.half.file(run)["state"])

    def why(self, run: str) -> str:
        queue = self.half.file(run)["queue"]
        return str(queue["why"]) if queue else ""

    def kill(self, run: str) -> None:
        os.kill(self.half.file(run)["supervisor"]["pid"], signal.SIGKILL)


@pytest.fixture
def queue(one_box: BoxHalf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Queue]:
    driver = Driver(tmp_path)
    monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path))
    monkeypatch.setenv("NVML_STUB", str(tmp_path))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    yield Queue(one_box, driver)
    driver.close()


def read(path: Path) -> str:
    return path.read_text().strip() if path.exists() else ""


def entries(queue: Queue, run: str) -> list[Path]:
    both = (queue.half.root / where / run for where in ("queued", "holding"))
    return [path for path in both if path.exists()]
