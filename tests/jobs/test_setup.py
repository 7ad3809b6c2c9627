"""The setup of a box: each line once on its disk, whatever cuts a setup off, and told when it
fails."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from devbox.box.setup import dotfiles
from devbox.errors import JobFailed
from devbox.jobs import queries, setup, setup_offer
from devbox.model import Box
from devbox.spec import encode_box
from devbox.spec.box_tables import BoxSpec
from devbox.workspace import Workspace
from tests.boxes import MakeBox, rewrite
from tests.jobs.conftest import until

DEVBOX = [sys.executable, "-m", "devbox.cli.main"]


class Told(Exception):
    """Whoever follows dies here."""


class Bench:
    """A running box whose setup is `lines`. said: what was narrated."""

    def __init__(self, ws: Workspace, box: Box) -> None:
        self.ws, self.box = ws, box
        self.said: list[str] = []
        ws.narrate = self.said.append
        self.work = Path(os.environ["DEVBOX_HOME"]) / "local" / box.token / "home" / "work"

    def wants(self, *lines: str, **more: object) -> None:
        made = BoxSpec(setup=lines, **more)  # type: ignore[arg-type]
        self.box = msgspec.structs.replace(self.box, spec=encode_box(made))
        rewrite(self.ws.store, self.box)

    def bring(self, *lines: str, **more: object) -> None:
        self.wants(*lines, **more)
        setup.bring(self.ws, self.box)

    def at(self, line: str, act: Callable[[], None]) -> None:
        """Do it as soon as that line is narrated."""

        def narrate(text: str) -> None:
            self.said.append(text)
            if line in text:
                act()

        self.ws.narrate = narrate

    @property
    def ran(self) -> str:
        return (self.work / "ran").read_text()

    @property
    def runs(self) -> list[str]:
        runs = queries.refresh(self.ws, self.ws.store.runs.latest(box_id=self.box.id))
        return [run.state for run in reversed(runs)]


@pytest.fixture
def bench(local_workspace: Workspace, make_local_box: MakeBox) -> Bench:
    return Bench(local_workspace, make_local_box("b"))


def _die() -> None:
    raise Told


def _interrupt() -> None:
    raise KeyboardInterrupt


def test_a_line_runs_once_on_a_disk_and_again_from_the_first_that_changed(bench: Bench) -> None:
    one, two, three = (f"printf {word} >> ran" for word in ("a", "b", "c"))
    bench.bring(one, two)
    bench.bring(one, two)
    assert (bench.ran, bench.runs) == ("ab", ["succeeded"])
    assert "  [2/2] $ printf b >> ran" in bench.said
    bench.bring(one, three, two)
    assert bench.ran == "abcb"
    bench.bring(one)  # a line that is taken out is not undone, nor done again when it returns
    bench.bring(one, three)
    assert bench.ran == "abcb"
    for state in (bench.work.parent / ".devbox-box" / "setup").glob("*.json"):
        state.unlink()  # as on a disk that is new
    bench.bring(one, three)
    assert bench.ran == "abcbac"


def test_a_failed_line_is_told_with_its_end_and_its_cost_and_is_where_the_next_up_continues(
    bench: Bench,
) -> None:
    lines = ["printf a >> ran", "echo why it failed; test -e repaired", "printf c >> ran"]
    with pytest.raises(JobFailed) as failed:
        bench.bring(*lines)
    run = bench.ws.store.runs.latest(box_id=bench.box.id)[0]
    assert failed.value.what == (
        f"the setup of b failed: line 2 of 3 ended with exit code 1: {lines[1]}"
    )
    assert failed.value.means.splitlines()[-1] == "  why it failed"
    assert failed.value.means.startswith("b is up: ")
    assert f"devbox logs {run.id}" in failed.value.fix
    with pytest.raises(JobFailed, match=r"the setup of b has failed: .* ended with exit code 1"):
        setup.require(bench.ws, bench.box)
    assert (bench.ran, bench.runs) == ("a", ["failed"])
    (bench.work / "repaired").touch()
    bench.bring(*lines)
    setup.require(bench.ws, bench.box)
    assert (bench.ran, bench.runs) == ("ac", ["failed", "succeeded"])
    assert any("again from line 2" in said for said in bench.said)


def test_a_setup_continues_without_who_began_it_and_the_next_up_joins_it(bench: Bench) -> None:
    lines = ["until [ -e go ]; do sleep 0.05; done", "printf b >> ran"]
    bench.at("[1/2] $", _die)
    with pytest.raises(Told):
        bench.bring(*lines)
    (bench.work / "go").touch()
    until((bench.work / "ran").exists)
    bench.at("[1/2] $", lambda: None)
    bench.bring(*lines)
    assert (bench.ran, bench.runs) == ("b", ["succeeded"])


def test_one_that_runs_is_waited_for_by_a_job_and_joined_from_another_computer(
    bench: Bench,
) -> None:
    lines = ["until [ -e go ]; do sleep 0.05; done", "printf b >> ran"]
    bench.at("[1/2] $", _die)
    with pytest.raises(Told):
        bench.bring(*lines)
    with bench.ws.store.database.write() as database:
        database.execute("DELETE FROM runs")
    bench.at("[1/2] $", (bench.work / "go").touch)
    setup.require(bench.ws, bench.box)
    assert "b: waiting for its setup" in bench.said
    assert (bench.ran, bench.runs) == ("b", ["succeeded"])


def test_ctrl_c_ends_it_on_the_box_and_keeps_what_is_done(bench: Bench) -> None:
    lines = ["printf a >> ran", "until [ -e go ]; do sleep 0.05; done", "printf c >> ran"]
    bench.at("[2/3] $", _interrupt)
    with pytest.raises(KeyboardInterrupt):
        bench.bring(*lines)
    assert bench.runs == ["cancelled"]
    (bench.work / "go").touch()
    bench.at("no such line", lambda: None)
    setup.require(bench.ws, bench.box)  # it did not fail, so a job does what is left
    assert (bench.ran, bench.runs) == ("ac", ["cancelled", "succeeded"])


def test_lines_that_changed_meanwhile_end_the_setup_that_runs(bench: Bench) -> None:
    bench.at("[2/2] $", _die)
    with pytest.raises(Told):
        bench.bring("printf a >> ran", "until [ -e never ]; do sleep 0.05; done")
    bench.at("no such line", lambda: None)
    bench.bring("printf a >> ran", "printf b >> ran")
    assert (bench.ran, bench.runs) == ("ab", ["cancelled", "succeeded"])


def test_a_folder_of_dotfiles_comes_without_what_git_ignores_or_looks_like_a_secret(
    bench: Bench, home: Path
) -> None:
    source = home / "dots"
    (source / ".git").mkdir(parents=True)
    for name in (".git/config", ".vimrc", ".netrc", "junk"):
        (source / name).write_text("mine")
    (source / ".gitignore").write_text("junk\n")
    bench.bring(dotfiles=str(source))
    there = bench.work.parent
    assert (there / ".vimrc").read_text() == "mine"
    assert sorted(path.name for path in (there / ".dotfiles").iterdir()) == [
        ".gitignore",
        ".vimrc",
    ]
    assert "dotfiles: not sent, as it looks like a secret: .netrc" in bench.said
    (source / ".vimrc").write_text("later")
    bench.bring(dotfiles=str(source))
    assert bench.runs == ["succeeded"]


def test_dotfiles_never_replace_what_the_box_has(home: Path) -> None:
    for name, text in {
        "got/.bashrc": "theirs",
        "got/.config/tool/new": "theirs",
        "got/.config/tool/old": "theirs",
        "got/.ssh/authorized_keys": "theirs",
        "got/README.md": "",
        ".bashrc": "box",
        ".config/tool/old": "box",
        ".ssh/authorized_keys": "box",
        ".dotfiles/mine": "box",
    }.items():
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text(text)
    told: list[str] = []
    dotfiles.fetch("got", home, told.append, ours=False)
    dotfiles.install(home, told.append)
    dotfiles.install(home, told.append)  # again changes nothing
    assert (home / ".bashrc").read_text() == "theirs"
    assert (home / ".bashrc.before-devbox").read_text() == "box"
    assert (home / ".config/tool/old.before-devbox").read_text() == "box"
    assert (home / ".config/tool/new").read_text() == "theirs"
    assert (home / ".ssh/authorized_keys").read_text() == "box"
    assert (home / ".dotfiles.before-devbox/mine").read_text() == "box"
    assert not (home / "README.md").exists()
    assert told == [
        "moved aside: .dotfiles.before-devbox",
        "moved aside: .bashrc.before-devbox",
        "moved aside: old.before-devbox",
    ]


def test_a_repository_of_dotfiles_is_cloned_and_its_script_runs(home: Path) -> None:
    repo = home / "repo"
    repo.mkdir()
    (repo / "install.sh").write_text("touch ../installed; test -e ../repaired\n")
    who = ["-c", "user.name=a", "-c", "user.email=a@b"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "x"]):
        subprocess.run(["git", *who, *words], cwd=repo, check=True)
    url = f"file://{repo}"
    dotfiles.fetch(url, home, print, ours=False)
    with pytest.raises(dotfiles.NotInstalled, match=r"install.sh ended with code 1"):
        dotfiles.install(home, print)
    (home / "repaired").touch()
    dotfiles.fetch(url, home, print, ours=True)
    dotfiles.install(home, print)
    assert not list(home.glob(".dotfiles?*"))
    with pytest.raises(dotfiles.NotInstalled, match="could not clone"):
        dotfiles.fetch(f"file://{home}/none", home, print, ours=True)
    assert (home / ".dotfiles" / "install.sh").exists()


def test_a_box_without_a_git_identity_gets_the_one_of_its_project(bench: Bench) -> None:
    here, there = Path(bench.ws.spec.root), bench.work.parent

    def its(key: str) -> str:
        words = ["git", "config", "--file", str(there / ".gitconfig"), "--get", key]
        return subprocess.run(words, capture_output=True, text=True, check=False).stdout.strip()

    subprocess.run(["git", "init", "-q"], cwd=here, check=True)
    for key, value in {
        "user.name": "Ada L",
        "user.email": "ada@x",
        "http.extraHeader": "s",
    }.items():
        subprocess.run(["git", "config", key, value], cwd=here, check=True)
    bench.bring(git_identity=False)
    assert its("user.name") == ""
    bench.bring()
    assert (its("user.name"), its("user.email"), its("http.extraHeader")) == ("Ada L", "ada@x", "")
    subprocess.run(["git", "config", "user.name", "Other"], cwd=here, check=True)
    bench.bring()
    assert its("user.name") == "Ada L"
    assert bench.runs == []


@pytest.mark.parametrize(
    ("files", "line"),
    [
        ({"requirements.txt": "", "uv.lock": ""}, "python3 -m pip install uv && uv sync"),
        ({"requirements.txt": "x"}, "python3 -m pip install -r requirements.txt"),
        ({"environment.yml": ""}, "conda env update --file environment.yml"),
        ({"pyproject.toml": "[project]\nname='x'"}, "python3 -m pip install -e ."),
        ({"pyproject.toml": "[tool.ruff]"}, ""),
        ({"pyproject.toml": "\udcff not toml"}, ""),
        ({}, ""),
    ],
)
def test_what_a_project_needs_is_offered(tmp_path: Path, files: dict[str, str], line: str) -> None:
    for name, text in files.items():
        (tmp_path / name).write_bytes(text.encode(errors="surrogateescape"))
    offer = setup_offer.find(tmp_path)
    assert (offer.line if offer else "") == line


def test_up_sets_up_runs_wait_for_it_and_an_offer_is_told_once(home: Path) -> None:
    project = home / "project"
    project.mkdir()
    (project / "requirements.txt").write_text("")
    (project / "devbox.toml").write_text("[boxes.b]\n")

    def devbox(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*DEVBOX, *words], cwd=project, capture_output=True, text=True, timeout=60, check=False
        )

    try:
        offered = 'setup = ["python3 -m pip install -r requirements.txt"]'
        assert offered in devbox("up").stderr
        assert offered not in devbox("up").stderr
        (project / "devbox.toml").write_text('[boxes.b]\nsetup = ["test -e fixed", "touch done"]\n')
        asks = devbox("up")
        assert (asks.returncode, "boxes.b.setup" in asks.stderr) == (15, True)
        assert devbox("trust", "--yes").returncode == 0
        failed = devbox("up", "--json")
        assert failed.returncode == 11, failed.stderr
        told = json.loads(failed.stderr.splitlines()[-1])
        assert "line 1 of 2 ended with exit code 1: test -e fixed" in told["what"]
        refused = devbox("run", "--", "ls", "done")
        assert (refused.returncode, "nothing was started" in refused.stderr) == (11, True)
        assert devbox("run", "--no-setup", "--", "true").returncode == 0
        assert devbox("up", "--no-setup").returncode == 0
        (project / "fixed").touch()
        assert devbox("run", "--", "ls", "done").returncode == 11  # up tries it again, not run
        assert "[2/2] $ touch done" in devbox("up").stderr
        assert devbox("run", "--", "ls", "done").returncode == 0
        assert (
            "test -e fixed"
            in devbox("logs", told["fix"].split("devbox logs ")[1].split(";")[0]).stdout
        )
    finally:
        devbox("down", "--yes", "--no-save")
