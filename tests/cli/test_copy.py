"""`devbox cp` and `devbox ssh BOX -- COMMAND` on a real box."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from devbox import paths
from devbox.spec import BoxSpec, load
from devbox.workspace import Workspace
from tests import warm
from tests.boxes import bring_up

DEVBOX = [sys.executable, "-m", "devbox.cli.main"]
Typed = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def there(project: Path) -> Iterator[Path]:
    """The login folder of a running box `b`."""
    (project / "devbox.toml").write_text("[boxes.b]\n")
    ws = Workspace(load(project / "devbox.toml"))
    box = bring_up(ws, "b", BoxSpec())
    yield paths.local_boxes() / box.token / "home"
    ws.provider("local").terminate(box.handle)
    ws.store.close()


@pytest.fixture
def typed(project: Path) -> Typed:
    def call(*words: str) -> subprocess.CompletedProcess[str]:
        return warm.run([*DEVBOX, *words], capture_output=True, text=True, check=False, cwd=project)

    return call


def test_files_and_folders_go_there_and_back(there: Path, project: Path, typed: Typed) -> None:
    (project / "data").mkdir()
    (project / "data/a file.txt").write_text("a")
    (project / "-n.txt").write_text("looks like an option")
    assert typed("cp", "data", "./-n.txt", "b:deep dir/").returncode == 0
    assert (there / "deep dir/data/a file.txt").read_text() == "a"
    (there / "out").mkdir()
    (there / "out/x;touch y").write_text("x")
    assert typed("cp", "b:out", "b:deep dir/-n.txt", ".").returncode == 0
    assert (project / "out/x;touch y").read_text() == "x"
    assert not (project / "y").exists()


def test_one_file_gets_the_name_it_is_given(there: Path, project: Path, typed: Typed) -> None:
    (project / "one").write_text("1")
    assert typed("cp", "one", "b:two").returncode == 0
    assert (there / "two").read_text() == "1"


def test_a_link_out_of_what_is_copied_stays_there(there: Path, project: Path, typed: Typed) -> None:
    """A box is not trusted to point into this computer."""
    (there / "out").mkdir()
    os.symlink("/etc/passwd", there / "out/link")
    (there / "out/file").write_text("f")
    assert typed("cp", "b:out", ".").returncode == 0
    assert (project / "out/file").exists()
    assert not os.path.lexists(project / "out/link")


@pytest.mark.parametrize(
    "words", [["a", "b"], ["b:a", "b:b"], ["b:a", "a", "c"], ["a"], ["x:a", "y:b", "."]]
)
def test_what_cannot_be_meant_says_how(typed: Typed, words: list[str]) -> None:
    done = typed("cp", *words)
    assert done.returncode == 2
    assert "fix: for example: devbox cp" in done.stderr


def test_a_missing_file_is_rsyncs_error(there: Path, typed: Typed) -> None:
    done = typed("cp", "nothing", "b:")
    assert done.returncode == 23, "rsync's code for a partial transfer"
    assert "nothing" in done.stderr


def test_a_command_of_ssh_goes_through_the_shell_there(there: Path, typed: Typed) -> None:
    done = typed("ssh", "b", "--", "echo one two | wc -w; exit 3")
    assert (done.returncode, done.stdout.strip()) == (3, "2")
