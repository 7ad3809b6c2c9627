"""The scripts of an adopted host, many at once: nobody's line is doubled or lost."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from devbox.box import paths
from devbox.providers.host import scripts

THEIRS = "ssh-ed25519 AAAA person@laptop"


def together(home: Path, *texts: str) -> None:
    running = [
        subprocess.Popen(["sh", "-c", text], cwd=home, stdout=subprocess.DEVNULL) for text in texts
    ]
    assert [each.wait(60) for each in running] == [0] * len(texts)


def lines(home: Path) -> list[str]:
    return (home / ".ssh" / "authorized_keys").read_text().splitlines()


def test_many_at_once_take_turns_at_the_keys(home: Path) -> None:
    (home / ".ssh").mkdir(mode=0o700)
    (home / ".ssh" / "authorized_keys").write_text(f"{THEIRS}\n")
    adopt = {name: scripts.adopt(name, f"ssh-ed25519 {name}", {}) for name in ("a-1", "b-2")}
    together(home, *[adopt["a-1"]] * 8)
    assert len(lines(home)) == 2
    together(home, scripts.release("a-1"), *[adopt["b-2"]] * 4)
    found = lines(home)
    assert found[0] == THEIRS
    assert [line for line in found if "ssh-ed25519 b-2" in line] == found[1:]
    assert len(found) == 2
    assert not (home / ".devbox-box" / "turn").exists()


def test_each_folder_of_the_box_half_but_the_runs_is_swept() -> None:
    """On a machine of the user's nothing of ours stays but what runs left."""
    named = set(re.findall(r"^([a-z]+)/", str(paths.__doc__), re.MULTILINE))
    assert {"runs", "environments", "serving"} <= named
    removed = re.findall(r"^rm -rf (.*)$", scripts.release("token"), re.MULTILINE)
    assert named - set(" ".join(removed).split()) == {"runs"}
