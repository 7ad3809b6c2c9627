from __future__ import annotations

import subprocess

from devbox import paths
from devbox.model import Box
from devbox.ssh import command


def test_a_box_answers_ssh(local_box: Box) -> None:
    done = subprocess.run(
        command.argv(local_box, ["sh", "-c", "echo $HOME; exit 7"]),
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (7, b"")
    assert done.stdout.decode().strip() == str(paths.local_boxes() / local_box.token / "home")
