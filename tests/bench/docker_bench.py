"""A box as a container, its image present: from the command to a usable ssh."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from devbox import lifecycle, spec
from devbox.remote import command
from devbox.workspace import Workspace
from tests.bench.rows import Row, ms, seconds
from tests.providers.docker import world

BIN = Path(sys.executable).parent
_RUNS = 5


def rows(home: Path) -> list[Row]:
    """The peer is `docker run` of the same image until its own sshd lets a client greet it."""
    space = world.Space()
    project = Path(tempfile.mkdtemp(dir=home))
    (project / "devbox.toml").write_text(
        f'[boxes.b]\nprovider = "docker"\nimage = "{world.IMAGE}"\n'
        f'[providers.docker]\ndocker_host = "{world.engine()}"\n'
        f'namespace = "{space.namespace}"\n'
    )
    ws = Workspace(spec.load(project / "devbox.toml"))

    def up() -> None:
        devbox = [str(BIN / "devbox"), "up", "-q"]
        subprocess.run(devbox, cwd=project, check=True, capture_output=True)
        subprocess.run(command.argv(ws.box("b"), ["true"]), check=True, capture_output=True)

    try:
        ours, peers = [], []
        for _ in range(_RUNS + 1):
            ours.append(seconds(up))
            lifecycle.down(ws, ws.box("b"), save=False)
            peers.append(seconds(lambda: _bare(space)))
            space.clear()
    finally:
        space.close()
    took, peer = (sorted(times[1:])[_RUNS // 2] for times in (ours, peers))
    name, ok = "devbox up docker → usable ssh", took <= 3
    return [Row(name, ms(took), f"docker run + sshd {ms(peer)}", ms(took), "≤ 3 s", ok)]


def _bare(space: world.Space) -> None:
    docker = ["docker", "--host", world.engine()]
    script = "ssh-keygen -A >/dev/null; mkdir -p /run/sshd; exec /usr/sbin/sshd -D"
    words = ["run", "-d", "-p", "127.0.0.1::22", "--label", f"devbox.namespace={space.namespace}"]
    made = _said([*docker, *words, world.IMAGE, "sh", "-c", script])
    port = _said([*docker, "port", made, "22"]).rpartition(":")[2]
    while not _said(["ssh-keyscan", "-p", port, "127.0.0.1"], check=False):
        continue


def _said(argv: list[str], *, check: bool = True) -> str:
    done = subprocess.run(argv, check=check, capture_output=True, text=True)
    return done.stdout.strip()
