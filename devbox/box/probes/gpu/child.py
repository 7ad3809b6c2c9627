"""A child process whose output is read without ever waiting."""

from __future__ import annotations

import os
import subprocess
from contextlib import suppress
from typing import List, Optional, Sequence

_MAX_LINE = 65536
_MAX_READ = 1 << 20  # at one time, so that a program that prints without end cannot hold us


class Child:
    """Starts at once. It writes into our pipe, so one that prints ends when we are gone."""

    def __init__(self, argv: Sequence[str]) -> None:
        self._rest = b""
        self._process: Optional[subprocess.Popen[bytes]] = None
        with suppress(OSError):  # the program vanished: it shows as a child that is not alive
            self._process = subprocess.Popen(
                list(argv),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env={**os.environ, "LC_ALL": "C"},
            )
        if self._process and self._process.stdout:
            os.set_blocking(self._process.stdout.fileno(), False)

    def lines(self) -> List[str]:
        """Complete lines that have arrived; the last, unended one too once the child is gone."""
        if self._process is None or self._process.stdout is None:
            return []
        ended = self._process.poll() is not None
        with suppress(BlockingIOError):
            chunk = b"-"
            while chunk and len(self._rest) < _MAX_READ:
                chunk = os.read(self._process.stdout.fileno(), 65536)
                self._rest += chunk
        *whole, self._rest = self._rest.split(b"\n")
        if ended or len(self._rest) > _MAX_LINE:
            whole.append(self._rest)
            self._rest = b""
        return [line.decode("utf-8", "replace") for line in whole if line.strip()]

    def is_alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def code(self) -> Optional[int]:
        """Exit code; None while it runs or when it never started."""
        return None if self._process is None else self._process.poll()

    def end(self, patience: float = 0.0) -> None:
        """Kill it, and wait at most `patience` seconds for it to be gone."""
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.kill()
        if self._process.stdout:
            self._process.stdout.close()
        if patience:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(patience)
