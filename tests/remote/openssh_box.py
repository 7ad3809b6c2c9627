"""A local box whose ssh server is OpenSSH's: `python -m tests.remote.openssh_box FOLDER`, as
devbox.providers.local.server, which runs the rest: the guard, the meter, the ceiling, the stop.

sshd asks the system who may log in and where that user's home is. Here it is preloaded with an
answer of the tests: every user is the one who runs them, at home in the box (openssh_user.c).
"""

from __future__ import annotations

import asyncio
import functools
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import psutil

from devbox.providers.local import server, sshd
from devbox.providers.local.box_dir import BoxDir, Start

SSHD = "/usr/sbin/sshd"
SOURCE = Path(__file__).with_name("openssh_user.c")
LIBRARY, LOG = "openssh_user.so", "openssh.log"  # in the HOME of a test


def prepare(home: Path) -> None:
    """Local boxes of this HOME can have an sshd."""
    (home / LIBRARY).write_bytes(_library())


def logins(home: Path) -> int:
    """How often an sshd of a box of this HOME let a client in."""
    return (home / LOG).read_text().count("Accepted publickey")


@functools.cache
def _library() -> bytes:
    compiler = shutil.which("gcc") or shutil.which("cc")
    assert compiler, "the tests need a C compiler"
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / LIBRARY
        argv = [compiler, "-shared", "-fPIC", "-Wall", "-Werror", "-o", str(made), str(SOURCE)]
        subprocess.run(argv, check=True)
        return made.read_bytes()


class OpenSsh(sshd.Server):
    """One sshd for each connection, as inetd starts it: so the port is taken and kept as ever."""

    def __init__(self, folder: BoxDir, start: Start, began: tuple[float, float]) -> None:
        super().__init__(folder, start, began)
        self.lines = start["keys"]
        home = folder.path.parents[2]
        self.preloaded = {**os.environ, "LD_PRELOAD": str(home / LIBRARY)}
        self.log = home / LOG

    async def run(self, listener: socket.socket) -> str:
        loop = asyncio.get_running_loop()
        self.children.attach(loop)
        self.traffic.write = lambda: None  # type: ignore[method-assign]  # sshd counts no bytes
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopped.set)
        config = self._configure()
        loop.add_reader(listener, self._accept, listener, config)
        reason = await self._until_stopped()
        loop.remove_reader(listener)
        listener.close()
        for each in psutil.Process().children():  # no more logins; the guard ends the sessions
            with suppress(psutil.NoSuchProcess):
                each.kill()
        return reason

    def _accept(self, listener: socket.socket, config: Path) -> None:
        with suppress(BlockingIOError):
            client, _ = listener.accept()
            with client:
                client.setblocking(True)
                argv = [SSHD, "-i", "-f", str(config), "-E", str(self.log)]
                end = client.fileno()
                child = subprocess.Popen(
                    argv, stdin=end, stdout=end, stderr=end, env=self.preloaded
                )
            self.children.watch(child, lambda code: None)

    def _configure(self) -> Path:
        """Written for each life: what its start was told of keys and environment."""
        if os.getuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # where sshd confines its login
        folder = self.folder.path
        shutil.copyfile(self.folder.host_key, folder / "openssh_host_key")
        (folder / "openssh_host_key").chmod(0o600)
        (folder / "started_with").write_text("".join(f"{line}\n" for line in self.lines))
        environment = {**self.environment, "SHLVL": "2"}  # see tests.remote.sshd
        given = " ".join(f'"{key}={_quoted(value)}"' for key, value in environment.items())
        config = folder / "sshd_config"
        config.write_text(
            f"HostKey {folder}/openssh_host_key\nSetEnv {given}\n"
            f"AuthorizedKeysFile {folder}/started_with {self.folder.admitted}\n"
            "PidFile none\nUsePAM no\nStrictModes no\nPasswordAuthentication no\n"
            "KbdInteractiveAuthentication no\nAcceptEnv LANG LC_* COLORTERM\n"
            "AllowTcpForwarding yes\nSubsystem sftp internal-sftp\n"
            "PermitRootLogin prohibit-password\nPrintMotd no\nPrintLastLog no\n"
        )
        return config


def _quoted(value: str) -> str:
    assert "\n" not in value, "SetEnv has no way to write it"
    return value.replace("\\", "\\\\").replace('"', '\\"')


def main() -> int:
    sshd.Server = OpenSsh  # type: ignore[misc]
    return server.main()


if __name__ == "__main__":
    sys.exit(main())
