"""A machine that a user has already: a real sshd with a home folder of its own, and the user's
ssh config that knows how to get there.

sshd takes the home folder from the passwd file, which is that of whoever runs the tests. Here HOME
is set to a folder of the test, and the keys that may log in are read from there.
"""

from __future__ import annotations

import getpass
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import psutil

from devbox.remote import keys
from tests.remote.sshd import Sshd


class Machine:
    """`ssh NAME` gets there. home: its login folder. line: its host key as known_hosts has it."""

    def __init__(self, person: Path, name: str, *, known: bool = True, via: str = "") -> None:
        self.person, self.name = person, name
        self.home = person / "machines" / name
        (self.home / ".ssh").mkdir(mode=0o700, parents=True)
        path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
        self.sshd = Sshd(
            person / "sshd" / name,
            settings=f"AuthorizedKeysFile {self.home}/.ssh/authorized_keys\n"
            f"SetEnv HOME={self.home} PATH={path} TESTED_MACHINE={name}\n",
        )
        self.line = f"[127.0.0.1]:{self.sshd.port} {self.sshd.host_key}"
        self.admit(_persons_key(person))
        if known:
            self.know()
        with (person / ".ssh" / "config").open("a") as config:
            config.write(
                f"Host {name}\n  HostName 127.0.0.1\n  Port {self.sshd.port}\n"
                f"  User {getpass.getuser()}\n  IdentityFile {person}/.ssh/id_person\n"
                f"  UserKnownHostsFile {person}/.ssh/known_hosts\n  IdentitiesOnly yes\n"
                + (f"  {via}\n" if via else "")
            )

    @property
    def admitted(self) -> list[str]:
        """The lines of its authorized_keys."""
        return (self.home / ".ssh" / "authorized_keys").read_text().splitlines()

    @property
    def ours(self) -> list[str]:
        """Those that devbox put there."""
        return [line for line in self.admitted if " devbox:" in line]

    def admit(self, *lines: str) -> None:
        """Make these the lines of its authorized_keys."""
        (self.home / ".ssh" / "authorized_keys").write_text("".join(f"{x}\n" for x in lines))

    def know(self) -> None:
        """The user has logged in once and said yes to its host key."""
        with (self.person / ".ssh" / "known_hosts").open("a") as file:
            file.write(f"{self.line}\n")

    def off(self) -> None:
        """Switched off, or asleep."""
        self.sshd.stop()

    def on(self) -> None:
        self.sshd.start()

    def processes(self) -> list[psutil.Process]:
        """What runs on it, sshd's own aside."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                # Its folder, not its name: another test may have a machine of that name now.
                if process.environ().get("HOME") == str(self.home):
                    found.append(process)
        return found

    def close(self) -> None:
        self.off()
        while left := self.processes():  # again: one that is just being born is not listed
            for process in left:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
            psutil.wait_procs(left, timeout=0.05)


def _persons_key(person: Path) -> str:
    """The public half of the key that the user logs in with."""
    file = person / ".ssh" / "id_person"
    if not file.exists():
        file.parent.mkdir(mode=0o700, exist_ok=True)
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(file)], check=True)
    keys.ensure_identity()
    return file.with_suffix(".pub").read_text().strip()
