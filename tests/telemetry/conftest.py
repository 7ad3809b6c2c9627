"""A box whose sampler is played by the test: samples go into its history at a rate of our own."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from devbox import paths
from devbox.box.history import History
from devbox.model import Box
from devbox.remote import agent_bootstrap
from devbox.remote.connection import connect
from tests.boxes import local_box, local_workspace, make_local_box

__all__ = ["local_box", "local_workspace", "make_local_box"]


def box_root(box: Box) -> Path:
    """The box half's folder of a local box."""
    return paths.local_boxes() / box.token / "home" / agent_bootstrap.FOLDER


def sample(seq: int, boot: str = "boot1", t: float | None = None) -> dict[str, Any]:
    """A small sample."""
    at = time.time() if t is None else t
    return {"v": 1, "boot": boot, "seq": seq, "t": at, "cpu": {"util": seq % 100, "count": 2}}


class Writer:
    """Appends samples 1, 2, 3 … to a box's history on a thread. `written`: the last number."""

    def __init__(self, root: Path, boot: str = "boot1", rate: float = 200.0) -> None:
        self.history = History(root / "history", segment_bytes=20_000)
        self.boot, self.written = boot, 0
        self._pause = 1 / rate
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def write(self, count: int = 1) -> None:
        for _ in range(count):
            self.written += 1
            assert self.history.append(sample(self.written, self.boot))

    def _run(self) -> None:
        while not self._stop.wait(self._pause):
            self.write()

    @contextmanager
    def running(self) -> Iterator[Writer]:
        self._thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            self._thread.join()


@pytest.fixture
def watched_box(local_box: Box) -> Box:
    """A running local box with the box half installed."""
    with connect(local_box) as connection:
        agent_bootstrap.install(connection)
    return local_box
