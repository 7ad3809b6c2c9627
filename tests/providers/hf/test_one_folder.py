"""On a Space one folder holds the project: sync, run, code, pull-edits and restart speak of what
its app runs."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from devbox import spec
from devbox.providers.hf import tags
from tests.deploy.conftest import Git
from tests.emulators.hf import HfEmulator
from tests.providers.hf.conftest import Devbox

Project = Callable[..., Path]


def on(devbox: Devbox, folder: Path, line: str) -> str:
    return devbox(folder, "exec", "train", "sh", "-c", line).stdout


def test_every_verb_speaks_of_the_folder_that_the_app_runs(
    hub: HfEmulator, devbox: Devbox, project: Project
) -> None:
    folder = project("hf-space")
    git = Git(folder)
    git("init", "-q")
    git("-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "--allow-empty", "-m", "x")
    git("add", "-A")
    devbox(folder, "up")
    assert not (folder / "Dockerfile").exists()  # a made one is the Space's
    assert on(devbox, folder, "ls app; ls -d work 2>&1 | grep -c cannot").split() == [
        *("Dockerfile", "README.md", "devbox.toml", "main.py"),
        "1",
    ]
    (folder / "main.py").write_text("print('here')\n")
    ran = devbox(
        folder, "run", "--", "sh", "-c", "basename $PWD; python3 main.py; cp main.py $DEVBOX_OUT"
    )
    made = folder / ran.stdout.strip()
    assert (made / ".devbox" / "log.txt").read_text() == "app\nhere\n"
    opened = json.loads(devbox(folder, "code", "--print", "--json").stdout)
    assert opened["path"].endswith("/app")
    nothing = devbox(folder, "pull-edits").stdout
    assert "no edits" in nothing  # it is here what differs from the Space
    on(devbox, folder, "echo 'print(2)' > app/main.py; echo 'print(3)' > app/more.py")
    told = json.loads(devbox(folder, "pull-edits", "--json").stdout)
    assert (told["changed"], told["added"]) == (["main.py"], ["more.py"])
    kept = devbox(folder, "restart", "--keep-edits", code=5).stderr
    assert "1 edited and 1 new file kept in" in kept
    devbox(folder, "down", "--yes", "--no-save")


def test_what_came_with_the_image_is_neither_lost_nor_fetched_and_gives_way_to_what_is_here(
    hub: HfEmulator, devbox: Devbox, project: Project
) -> None:
    folder = project("hf-space")
    (folder / "data.txt").write_text("one")
    devbox(folder, "up")
    on(devbox, folder, "echo made > app/made.txt; echo own >> app/README.md")
    (folder / "data.txt").write_text("two")
    os.utime(folder / "data.txt", (1, 1))  # far older than any image
    asked = devbox(folder, "pause", code=2).stderr
    assert "train: 2 files only on it" in asked
    assert "Dockerfile" not in asked
    devbox(folder, "pause", "--yes")
    assert (folder / "made.txt").read_text() == "made\n"
    assert (folder / "README.md").read_text().endswith("own\n")
    assert not (folder / "Dockerfile").exists()
    said = devbox(folder, "resume").stderr
    assert "differed in its image, and is as it is here now: README.md, data.txt" in said
    assert on(devbox, folder, "cat app/data.txt app/.devbox-replaced/data.txt") == "twoone"
    asked = devbox(folder, "pause", code=2).stderr
    assert "found no file that is not here" in asked
    devbox(folder, "down", "--yes", "--no-save")


def test_a_work_folder_apart_from_the_app_is_kept_where_it_was_told(
    hub: HfEmulator, devbox: Devbox, project: Project
) -> None:
    folder = project("hf-space", box='workdir = "work"\n')
    devbox(folder, "up")
    assert on(devbox, folder, "ls work").split() == ["devbox.toml", "main.py"]
    on(devbox, folder, "echo 'print(2)' > app/main.py")
    told = json.loads(devbox(folder, "pull-edits", "--json").stdout)
    assert told["changed"] == ["main.py"]
    text = (folder / "devbox.toml").read_text()
    (folder / "devbox.toml").write_text(text.replace('workdir = "work"\n', ""))
    spec.trust_file(folder / "devbox.toml")
    devbox(folder, "up")  # it keeps the folder it was made with
    assert on(devbox, folder, "ls work").split() == ["devbox.toml", "main.py"]
    devbox(folder, "down", "--yes", "--no-save")


def test_it_is_the_one_of_dev_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DEVBOX_SPACE_CODE", raising=False)
    assert tags.code_folder() == "/app"
