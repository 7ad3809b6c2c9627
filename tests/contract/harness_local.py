"""The local provider under the contract suite: its service is this machine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import ClassVar
from unittest import mock

import psutil
from filelock import FileLock

from devbox import paths
from devbox.providers import registry
from devbox.providers.base import Provider
from devbox.providers.local import provider as local
from devbox.providers.local.box_dir import MARK
from devbox.spec import LocalSettings
from tests.contract.harness import Harness


class LocalHarness(Harness):
    name = "local"
    able: ClassVar[frozenset[str]] = frozenset(
        {"pause", "login", "watchdog", "ceiling", "fault:unavailable"}
    )

    def make(self) -> Provider:
        return registry.load("local", LocalSettings(price=1.5))

    def live(self) -> int:
        return len({mark for mark, _ in processes_under(paths.local_boxes())})

    def close(self) -> None:
        provider = self.make()
        for each in provider.find():
            provider.terminate(each.handle)
        assert not processes_under(paths.local_boxes())

    @contextmanager
    def fault(self, kind: str) -> Iterator[None]:
        """Another devbox process is at work on every box."""
        assert kind == "unavailable"
        locks = paths.local_boxes() / ".locks"
        locks.mkdir(exist_ok=True)
        with ExitStack() as stack:
            stack.enter_context(mock.patch.object(local, "_PATIENCE", 0.05))
            for stripe in range(local._STRIPES):
                stack.enter_context(FileLock(locks / str(stripe)))
            yield


def processes_under(root: Path) -> list[tuple[str, psutil.Process]]:
    """Live processes of all boxes under a root: (the box's mark, process)."""
    found = []
    for process in psutil.process_iter():
        try:
            mark = process.environ().get(MARK, "")
            if Path(mark).parent == root and process.status() != psutil.STATUS_ZOMBIE:
                found.append((mark, process))
        except psutil.Error:
            continue  # why: gone meanwhile, or another user's
    return found


HARNESS = LocalHarness
