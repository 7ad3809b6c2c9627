"""The processes of one run: started, listened to, counted and ended as one thing."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Dict, List, Optional, Set

from devbox.box import processes

_CHUNK = 1 << 16


class Work:
    """One worker with everything it starts. mark: "NAME=value" in the environment of all."""

    def __init__(self, argv: List[str], env: Dict[str, str], mark: str) -> None:
        reader, writer = os.pipe()
        os.set_blocking(reader, False)
        try:
            child = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=writer,
                stderr=writer,
                env=env,
                start_new_session=True,
            )
        finally:
            os.close(writer)
        self.pid = child.pid
        #: exit code of the worker, minus the signal that killed it; None while it runs
        self.exit: Optional[int] = None
        self._output, self._mark = reader, mark
        self._kill_at: Optional[float] = None
        child.returncode = 0  # `reap` waits for it, together with orphans that came to us

    def read(self, patience: float) -> bytes:
        """What was printed; b"" when nothing came within `patience` seconds."""
        if self._output < 0:
            time.sleep(patience)
            return b""
        ready, _, _ = select.select([self._output], [], [], patience)
        if not ready:
            return b""
        data = os.read(self._output, _CHUNK)
        if not data:
            self.close()
        return data

    def close(self) -> None:
        """Listen no longer."""
        if self._output >= 0:
            os.close(self._output)
            self._output = -1

    def reap(self) -> None:
        """Take in which processes have ended."""
        while True:
            try:
                pid, code = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid == self.pid:
                self.exit = -os.WTERMSIG(code) if os.WIFSIGNALED(code) else os.WEXITSTATUS(code)

    def pids(self) -> Set[int]:
        """Living processes of the run: all below us but our own helpers (they share our group),
        and whatever carries the mark."""
        own_group = os.getpgrp()
        found = {
            process.pid
            for process in processes.descendants(os.getpid(), processes.table())
            if process.state != "Z" and process.group != own_group
        }
        return found | {pid for pid in processes.marked(self._mark) if processes.identity(pid)}

    def end(self, grace: float, *, ask: bool = True) -> None:
        """SIGTERM once to what exists at the first call, SIGKILL to all that is left `grace`
        seconds later. What is born meanwhile may be saving, so it is not asked. Call it until
        `pids` is empty. ask: False where someone else has sent the SIGTERM."""
        if self._kill_at is None:
            self._kill_at = time.monotonic() + grace
            if ask:
                processes.ask_to_end(self.pids())
        elif time.monotonic() >= self._kill_at:
            processes.send(self.pids(), signal.SIGKILL)


def python_command(module: str, *args: str, python: str = "") -> List[str]:
    """argv that runs `devbox.box.<module>.main(args)` from where this code is now, be it a
    zipapp. The real path: the link to the box half may point at a newer one tomorrow. python:
    another interpreter than this one."""
    root = Path(__file__).parents[3]
    boot = (
        "import sys; sys.path[:] = [sys.argv.pop(1), *filter(None, sys.path)]; "
        f"from devbox.box.{module} import main; sys.exit(main(sys.argv[1:]))"
    )
    return [python or sys.executable, "-c", boot, os.path.realpath(root), *args]


def signal_name(number: int) -> str:
    """9 → 'SIGKILL'."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
