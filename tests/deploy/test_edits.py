"""Edits made on a box come back as a patch: from a synced folder and from a Space."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from devbox import paths, spec
from devbox.deploy import edits as room
from devbox.errors import Conflict, NotFound, UsageError
from devbox.model import Box
from devbox.remote.connection import Connection, connect
from devbox.sync import rsync
from devbox.workspace import Workspace
from tests.boxes import MakeBox
from tests.deploy.conftest import README, Devbox, Git
from tests.emulators.hf import HfEmulator


@pytest.fixture
def mine(identity: None, local_workspace: Workspace) -> Git:
    """The local workspace's project, in git."""
    git = Git(local_workspace.spec.root)
    git("init", "-q")
    git.write(".gitignore", "*.log\n.devbox/\n")
    git.write("run.sh", "#!/bin/sh\necho 1\n")
    (git.root / "run.sh").chmod(0o755)
    git.write("src/a.py", "one\ntwo\nthree\n")
    git.write("gone.txt", "x\n")
    git.write("data.bin", bytes(range(256)))
    git.commit("first")
    return git


@pytest.fixture
def box(mine: Git, local_workspace: Workspace, make_local_box: MakeBox) -> Box:
    """A box that the project was synced to."""
    made = make_local_box()
    rsync.up(local_workspace, made)
    return made


def edited(box: Box) -> Connection:
    connection = connect(box)
    script = (
        "cd work && printf 'one\\n2\\nthree\\n' >src/a.py && mkdir -p new && echo hi >new/b.py"
        " && rm gone.txt && printf 'more' >>data.bin && echo noise >out.log"
        " && printf '#!/bin/sh\\necho 2\\n' >run.sh"
    )
    connection.run(["sh", "-c", script])
    return connection


def test_nothing_edited_is_no_patch(local_workspace: Workspace, box: Box) -> None:
    found = room.collect(local_workspace, box)
    assert (found.patch, found.changed, found.added, found.missing) == (b"", (), (), ())


def test_edits_are_a_patch_that_applies_and_commits(
    local_workspace: Workspace, box: Box, mine: Git
) -> None:
    with edited(box):
        found = room.collect(local_workspace, box)
    assert found.changed == ("data.bin", "run.sh", "src/a.py")
    assert found.added == ("new/b.py",)
    assert found.missing == ("gone.txt",)
    assert b"out.log" not in found.patch
    room.apply(local_workspace, box, found)
    assert (mine.root / "src/a.py").read_text() == "one\n2\nthree\n"
    assert (mine.root / "data.bin").read_bytes() == bytes(range(256)) + b"more"
    assert (mine.root / "new/b.py").read_text() == "hi\n"
    assert (mine.root / "gone.txt").exists()
    assert (mine.root / "run.sh").stat().st_mode & 0o111
    mine("commit", "-q", "-m", "edits of the box")
    assert mine("status", "--porcelain") == ""
    assert room.collect(local_workspace, box).patch == b""


def test_deletions_are_in_it_when_asked_for(
    local_workspace: Workspace, box: Box, mine: Git
) -> None:
    with edited(box):
        found = room.collect(local_workspace, box, deletions=True)
    room.apply(local_workspace, box, found)
    assert not (mine.root / "gone.txt").exists()


def test_work_done_here_meanwhile_is_kept(local_workspace: Workspace, box: Box, mine: Git) -> None:
    given = mine("rev-parse", "HEAD")
    mine.write("src/a.py", "zero\none\ntwo\nthree\n")
    mine.commit("meanwhile")
    with edited(box):
        found = room.collect(local_workspace, box, revision=given)
    room.apply(local_workspace, box, found)
    assert (mine.root / "src/a.py").read_text() == "zero\none\n2\nthree\n"


def test_what_a_box_can_make_us_hold_is_bounded(
    local_workspace: Workspace, box: Box, mine: Git, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two thousand files of 10 MB were held at once."""
    monkeypatch.setattr(room, "_MOST_TOGETHER", 100)
    with connect(box) as connection:
        connection.run(["sh", "-c", "cd work && head -c 101 /dev/zero >new.bin"])
    with pytest.raises(Conflict, match="a patch takes 100 B") as caught:
        room.collect(local_workspace, box)
    assert caught.value.means == "nothing was changed"


def test_what_stands_in_the_way_is_said(local_workspace: Workspace, box: Box, mine: Git) -> None:
    with edited(box):
        found = room.collect(local_workspace, box)
    mine.write("src/a.py", "something else\n")
    with pytest.raises(Conflict, match="do not fit") as caught:
        room.apply(local_workspace, box, found)
    assert "git status" in caught.value.fix
    assert (mine.root / "src/a.py").read_text() == "something else\n"


def test_a_box_cannot_reach_outside_the_project(
    local_workspace: Workspace, box: Box, mine: Git, home: Path
) -> None:
    script = (
        "cd work && mkdir -p .Git/hooks sub/.git && echo evil >.Git/hooks/post-commit"
        " && echo evil >sub/.git/config && ln -s /etc/passwd link && ln -s / root"
        " && mkdir -p .vscode GIT~1/hooks && echo evil >.vscode/tasks.json"
        " && echo evil >GIT~1/hooks/post-checkout"
        " && head -c 11000000 /dev/zero >big.bin"
    )
    with connect(box) as connection:
        connection.run(["sh", "-c", script])
        connection.run(["sh", "-c", "cd work && touch \"$(printf 'esc\\033[31m')\" 'a:b'"])
    found = room.collect(local_workspace, box)
    assert found.patch == b""
    assert found.added == ()
    assert {"big.bin", "link", "root"} <= set(found.left_out)
    assert any("post-commit" in path for path in found.left_out)
    assert {".vscode/tasks.json", "GIT~1/hooks/post-checkout"} <= set(found.left_out)
    assert not any("\x1b" in path for path in found.left_out)


def test_which_folder_and_which_commit(local_workspace: Workspace, box: Box) -> None:
    with pytest.raises(UsageError, match="no folder"):
        room.collect(local_workspace, box, folder="elsewhere")
    with pytest.raises(UsageError):
        room.collect(local_workspace, box, folder="../x")
    for revision in ("nonsense", "--all", "-h", "HEAD:src", "\x1b[31m"):
        with pytest.raises(NotFound):
            room.collect(local_workspace, box, revision=revision)


def test_outside_git_it_says_what_to_do(
    local_workspace: Workspace, make_local_box: MakeBox
) -> None:
    made = make_local_box()
    with pytest.raises(Conflict, match="in no git repository") as caught:
        room.collect(local_workspace, made)
    assert "sync down" in caught.value.fix


def test_edits_on_a_space_as_typed(
    hub: HfEmulator, devbox: Devbox, home: Path, identity: None
) -> None:
    project = Git(home / "project")
    project("init", "-q")
    project.write(
        "devbox.toml",
        'project = "p"\n[boxes.b]\nprovider = "hf-space"\nhardware = "t4-small"\n'
        f'[providers.hf]\nssh_gateway = "{hub.gateway_host_port}"\n',
    )
    project.commit("first", main_py="print(1)\n", README_md=README, Dockerfile="FROM python:3.12\n")
    spec.trust_file(project.root / "devbox.toml")
    devbox(project.root, "up")
    box = ["b"]
    assert "no edits against me/devbox-b" in devbox(project.root, "pull-edits", *box).stdout
    devbox(project.root, "exec", "b", "sh", "-c", "echo 'print(2)' >app/main.py")
    project.commit("meanwhile", other_txt="1\n")
    printed = devbox(project.root, "pull-edits", *box, "-o", "-").stdout
    assert "-print(1)\n+print(2)\n" in printed
    told = json.loads(devbox(project.root, "pull-edits", *box, "--apply", "--json").stdout)
    assert (told["changed"], told["added"], told["applied"]) == (["main.py"], [], True)
    assert Path(told["file"]).read_text() == printed
    assert project("status", "--porcelain") == "M  main.py"
    project("commit", "-q", "-m", "from the box")
    assert (project.root / "main.py").read_text() == "print(2)\n"
    devbox(project.root, "exec", "b", "sh", "-c", "echo 'print(3)' >app/main.py")
    refused = devbox(project.root, "restart", "--keep-edits", *box, code=5)
    assert "1 edited and 0 new files kept in" in refused.stderr
    assert f"press Refresh in the Dev Mode window at {hub.endpoint}/spaces/me/devbox-b" in (
        refused.stderr
    )
    newest = max((project.root / ".devbox" / "edits").glob("*.patch"))
    assert "+print(3)" in newest.read_text()
    runs = paths.data("images") / "files" / "supervise.py"
    app = "setsid python3 {} sh -c 'cat app/main.py >>told; sleep 600' >/dev/null 2>&1 &"
    devbox(project.root, "exec", "b", "sh", "-c", app.format(runs))
    told = ("exec", "b", "sh", "-c", "until [ -s told ]; do sleep 0.05; done; cat told")
    assert devbox(project.root, *told).stdout == "print(3)\n"
    devbox(project.root, "exec", "b", "sh", "-c", "rm told; echo 'print(4)' >app/main.py")
    refreshed = devbox(project.root, "restart", "--keep-edits", *box)
    assert "its disk is ephemeral" in refreshed.stderr
    assert devbox(project.root, *told).stdout == "print(4)\n"
    assert devbox(project.root, "exec", "b", "cat", "app/main.py").stdout == "print(4)\n"
    assert "restart" not in hub.calls.routes
    devbox(project.root, "down", "--yes")


def test_refresh_keeps_the_edits_first(
    local_workspace: Workspace, box: Box, mine: Git, hub: HfEmulator, devbox: Devbox
) -> None:
    """A local box cannot restart its app: its edits are kept all the same, and it says so."""
    with edited(box):
        pass
    (mine.root / "devbox.toml").write_text(
        f'project = "{local_workspace.spec.project}"\n[boxes.b]\nprovider = "local"\n'
    )
    done = devbox(mine.root, "restart", "--keep-edits", "b", "--no-save", code=5)
    assert "cannot restart it in place" in done.stderr
    done = devbox(mine.root, "refresh", "b", code=5)  # the old word of it
    (kept,) = (mine.root / ".devbox" / "edits").glob("b-*.patch")
    assert "+2\n" in kept.read_text()
    assert mine("status", "--porcelain") == "?? devbox.toml"
