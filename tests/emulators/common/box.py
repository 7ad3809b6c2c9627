"""A box that is a directory and real local processes, all of which can be found again."""

from __future__ import annotations

import shutil
import sys
import time
import uuid
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import psutil

BOX_MARK = "EMULATED_BOX"
"""Environment variable that every process of a box inherits; it survives setsid and nohup."""

PATH = f"{Path(sys.executable).parent}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Box:
    """A directory that plays a machine: ``HOME`` is ``root``, processes carry ``mark``.

    Nothing is isolated: commands run as the user who runs the tests. ``hollow``: no process runs
    in it, so none is looked for.
    """

    def __init__(self, root: Path, *, hollow: bool = False) -> None:
        self.root, self._hollow = root, hollow
        self.mark = uuid.uuid4().hex
        root.mkdir(parents=True, exist_ok=True)

    def environment(self, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        """A fresh login environment: nothing of the test process but PATH leaks in."""
        return {
            "HOME": str(self.root),
            "USER": "user",
            "LOGNAME": "user",
            "SHELL": "/bin/bash",
            "LANG": "C.UTF-8",
            "PATH": PATH,
            "TMPDIR": "/tmp",
            **(extra or {}),
            BOX_MARK: self.mark,
        }

    def processes(self) -> list[psutil.Process]:
        """Every live process of the box, whatever session or parent it has."""
        found: list[psutil.Process] = []
        if self._hollow:
            return found
        for process in psutil.process_iter():
            try:
                if (
                    process.environ().get(BOX_MARK) == self.mark
                    and process.status() != psutil.STATUS_ZOMBIE
                ):
                    found.append(process)
            except psutil.Error:
                continue  # gone meanwhile, or another user's: not ours
        return found

    def kill(self) -> int:
        """SIGKILL every process of the box, again until none is left; returns how many died.

        Does not wait on children: whoever started them reaps them.
        """
        killed: set[int] = set()
        deadline = time.monotonic() + 60
        while processes := self.processes():
            if time.monotonic() > deadline:
                raise TimeoutError(f"processes of {self.root} outlived SIGKILL: {processes}")
            for process in processes:
                try:
                    process.kill()
                except psutil.NoSuchProcess:
                    continue
                killed.add(process.pid)
            time.sleep(0.002)
        return len(killed)

    def wipe(self) -> None:
        """Empty the directory: an ephemeral disk that came back fresh."""
        shutil.rmtree(self.root, ignore_errors=True)
        self.root.mkdir(parents=True, exist_ok=True)

    def remove(self) -> None:
        """Kill everything and delete the directory, and the box's marks in /tmp, which it shares
        with this machine here: those that name the directory."""
        self.kill()
        shutil.rmtree(self.root, ignore_errors=True)
        for mark in Path("/tmp").glob(".devbox-*"):
            with suppress(OSError):  # another box's, gone meanwhile
                if f"{self.root}/" in mark.read_text():
                    mark.unlink()
