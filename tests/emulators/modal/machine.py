"""A machine: a root file system, a process tree and a network of its own."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.emulators.modal import netns, stage
from tests.emulators.modal.process import OnData, Process
from tests.emulators.modal.store import Store

NAMESPACES = ("--mount", "--pid", "--net", "--uts", "--ipc")
START_LIMIT = 20.0
IN_DIRECTORY = 'cd -- "$0" || exit 126; exec "$@"'


@dataclass(frozen=True)
class Bind:
    """A directory of the host that appears inside the machine."""

    source: Path
    target: str
    read_only: bool = False


class Machine:
    """``layers`` (uppermost first) make its root; what it writes stays in its own place."""

    def __init__(
        self, store: Store, layers: Sequence[str], hostname: str, binds: Sequence[Bind] = ()
    ) -> None:
        self._store = store
        self.layers = tuple(layers)
        self._hostname = hostname
        self._binds = binds
        self._place = store.new_machine()
        self._keeper: subprocess.Popen[bytes] | None = None
        self._init = 0
        self._network: ThreadPoolExecutor | None = None
        self._processes: list[Process] = []

    @property
    def root(self) -> Path:
        """The machine's ``/`` as seen from the host while it runs."""
        return Path(f"/proc/{self._init}/root")

    @property
    def running(self) -> bool:
        return self._keeper is not None and self._keeper.poll() is None

    async def start(self) -> None:
        """Boot it.

        Raises:
            RuntimeError: the namespaces or the mounts could not be made.
        """
        await asyncio.to_thread(self._boot)

    def spawn(
        self,
        argv: Sequence[str],
        env: Mapping[str, str],
        directory: str = "/",
        on_stdout: OnData | None = None,
        on_stderr: OnData | None = None,
    ) -> Process:
        """Run a command inside. A missing program exits 127, a missing directory 126."""
        enter = ["nsenter", "--target", str(self._init), "-m", "-p", "-n", "-u", "-i", "-r", "-w"]
        command = [*enter, "--", "/bin/sh", "-c", IN_DIRECTORY, directory, *argv]
        process = Process(command, env, on_stdout, on_stderr)
        self._processes.append(process)
        return process

    async def connect(self, port: int) -> socket.socket:
        """A connection to the machine's own ``127.0.0.1:port``.

        Raises:
            OSError: nothing listens there, or the machine is gone.
        """
        if self._network is None:
            self._network = netns.worker(self._init)
        work = self._network.submit(netns.connect, port)
        return await asyncio.wrap_future(work)

    async def listen(self, port: int) -> socket.socket:
        """A listening socket on the machine's own ``127.0.0.1:port``."""
        if self._network is None:
            self._network = netns.worker(self._init)
        return await asyncio.wrap_future(self._network.submit(netns.listen, port))

    def processes(self) -> list[psutil.Process]:
        """Every live process of the machine, as the host sees it."""
        own = os.readlink(f"/proc/{self._init}/ns/pid") if self.running else ""
        found = []
        for process in psutil.process_iter():
            try:
                if own and os.readlink(f"/proc/{process.pid}/ns/pid") == own:
                    found.append(process)
            except OSError:
                continue
        return found

    async def snapshot(self) -> str:
        """Copy what it changed into a new layer, whose name is returned."""
        return await asyncio.to_thread(self._store.copy_upper, self._place)

    async def stop(self) -> None:
        """Kill every process of it and delete its place. Safe to call again."""
        keeper, self._keeper = self._keeper, None
        if keeper is None:
            return
        await asyncio.to_thread(self._kill, keeper)
        for process in self._processes:
            process.close()
        if self._network is not None:
            self._network.shutdown(wait=False)
        await asyncio.to_thread(self._store.drop, self._place)

    def _boot(self) -> None:
        directory = str(self._store.directory)
        spec = {
            "directory": directory,
            "lower": [*self.layers, *self._store.base],
            "upper": f"{self._place}/upper",
            "work": f"{self._place}/work",
            "root": f"{directory}/{self._place}/root",
            "hostname": self._hostname,
            "binds": [[str(bind.source), bind.target, bind.read_only] for bind in self._binds],
        }
        program = [sys.executable, "-I", "-S", stage.__file__, json.dumps(spec)]
        keeper = subprocess.Popen(
            ["unshare", *NAMESPACES, "--fork", "--propagation", "private", "--", *program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={"PATH": os.defpath},
            start_new_session=True,
        )
        assert keeper.stdout
        if keeper.stdout.readline() != b"ready\n":
            _, said = keeper.communicate(timeout=START_LIMIT)
            raise RuntimeError(f"a machine did not start: {said.decode(errors='replace').strip()}")
        (child,) = psutil.Process(keeper.pid).children()
        self._keeper, self._init = keeper, child.pid

    def _kill(self, keeper: subprocess.Popen[bytes]) -> None:
        with suppress(ProcessLookupError):  # it may have fallen meanwhile
            os.kill(self._init, signal.SIGKILL)
        keeper.wait(START_LIMIT)
        for stream in (keeper.stdin, keeper.stdout, keeper.stderr):
            if stream is not None:
                stream.close()
