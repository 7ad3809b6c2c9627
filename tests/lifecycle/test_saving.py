"""A sentence about what is lost is no wider than the check behind it: what is on a box and not
here is counted, named and asked about before the box ends, and fetched where the rules allow."""

from __future__ import annotations

import os
import time
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from devbox import lifecycle, paths
from devbox.cli.main import cli
from devbox.errors import DevboxError, UsageError
from devbox.jobs import catalogue, fetch, queries
from devbox.jobs.follow import follow
from devbox.jobs.submit import retry, submit
from devbox.lifecycle import Losses
from devbox.model import Box, BoxState, Run
from devbox.remote.config import ssh_config
from devbox.sync import remote, rsync
from devbox.workspace import Workspace
from tests.boxes import rewrite


@pytest.fixture
def box(ws: Workspace) -> Box:
    return lifecycle.up(ws, "b")


@pytest.fixture
def here(ws: Workspace) -> Path:
    return ws.spec.root


@pytest.fixture
def there(box: Box, home: Path) -> Path:
    """The box's home folder."""
    return Path(os.environ["DEVBOX_HOME"]) / "local" / box.token / "home"


def put(path: Path, text: str = "x", *, age: float = 0.0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    if age:
        when = path.stat().st_mtime - age
        os.utime(path, (when, when))
    return path


def looked(ws: Workspace, box: Box, **how: bool) -> Losses:
    found = lifecycle.unsaved_data(ws, box, "down", **how)
    assert found is not None
    return found


def lost(found: Losses) -> dict[str, list[str]]:
    """Kind → the names."""
    return {group.kind: [file.path for file in group.largest] for group in found.groups}


def ended(ws: Workspace, box: Box, script: str) -> Run:
    run = submit(ws, box, catalogue.ad_hoc_command(("sh", "-c", script)), {}, {})
    for _ in follow(ws, run):
        pass
    return queries.refresh(ws, [run])[0]


def test_each_way_a_file_can_be_missing_here_is_counted_and_named(
    ws: Workspace, box: Box, here: Path, there: Path
) -> None:
    put(here / ".gitignore", "*.pt\noutputs/\n")
    put(here / "train.py", "one", age=50)
    put(here / "both.py", "one", age=50)
    put(here / "mine.py", "one", age=50)
    rsync.up(ws, box)
    put(there / "work" / "train.py", "edited on the box")
    put(there / "work" / "both.py", "edited on the box")
    put(here / "both.py", "edited here, too")
    put(here / "mine.py", "edited here")
    put(there / "work" / "notes.txt", "new")
    put(there / "work" / "model.pt", "w" * 5000)
    put(there / "work" / "outputs" / "a.bin", "w" * 9000)
    put(there / "data" / "set.bin", "d" * 3000)
    put(there / "work" / ".venv" / "bin" / "python", "not anybody's work")
    found = looked(ws, box)
    assert lost(found) == {
        "only": ["notes.txt"],
        "edited": ["train.py"],
        "conflict": ["both.py"],
        "ignored": ["outputs/a.bin", "model.pt"],
        "outside": ["data/set.bin"],
    }
    sizes = {group.kind: (group.count, group.bytes) for group in found.groups}
    assert sizes["ignored"] == (2, 14000)
    assert sizes["outside"] == (1, 3000)
    assert found.left == 4
    text = "\n".join(found.lines())
    assert "1 file newer on it than here, 17 B (fetched first)" in text
    assert "2 files left out of syncs by ignore files" in text
    assert "--fetch-ignored" in text
    assert str(here) in text


def test_without_the_save_nothing_counts_as_fetched(ws: Workspace, box: Box, there: Path) -> None:
    put(there / "work" / "notes.txt", "new")
    assert looked(ws, box).left == 0
    assert looked(ws, box, save=False).left == 1
    assert "fetched first" not in "\n".join(looked(ws, box, save=False).lines())


@pytest.mark.openssh
def test_down_fetches_what_the_rules_cover_and_no_more(
    ws: Workspace, box: Box, here: Path, there: Path
) -> None:
    put(here / ".gitignore", "*.pt\n")
    put(here / "train.py", "one", age=50)
    rsync.up(ws, box)
    put(there / "work" / "train.py", "edited on the box")
    put(there / "work" / "model.pt", "weights")
    put(there / "work" / "notes.txt", "new")
    assert lifecycle.down(ws, box).state is BoxState.TERMINATED
    assert (here / "train.py").read_text() == "edited on the box"
    assert (here / "notes.txt").read_text() == "new"
    assert not (here / "model.pt").exists()


@pytest.mark.parametrize("state", [BoxState.STARTING, BoxState.PAUSED])
def test_a_box_that_runs_while_its_row_says_otherwise_is_saved_too(
    ws: Workspace, box: Box, here: Path, there: Path, state: BoxState
) -> None:
    """Such as a Space that a visit woke, or a box that was started with --no-wait."""
    put(there / "work" / "notes.txt", "new")
    rewrite(ws.store, msgspec.structs.replace(box, state=state))
    assert lifecycle.down(ws, ws.box("b")).state is BoxState.TERMINATED
    assert (here / "notes.txt").read_text() == "new"


def test_ignored_weights_are_fetched_when_asked_for(
    ws: Workspace, box: Box, here: Path, there: Path
) -> None:
    put(here / ".gitignore", "*.pt\noutputs/\n")
    rsync.up(ws, box)
    put(there / "work" / "model.pt", "weights")
    put(there / "work" / "outputs" / "deep" / "b.pt", "more")
    assert looked(ws, box, ignored=True).left == 0
    lifecycle.down(ws, box, fetch_ignored=True)
    assert (here / "model.pt").read_text() == "weights"
    assert (here / "outputs" / "deep" / "b.pt").read_text() == "more"


def test_what_is_equal_here_is_not_counted(
    ws: Workspace, box: Box, here: Path, there: Path
) -> None:
    put(here / ".gitignore", "*.pt\n")
    put(here / "a.py", "same", age=50)
    put(here / "model.pt", "weights", age=50)
    rsync.up(ws, box)
    copy = put(there / "work" / "model.pt", "weights")
    os.utime(copy, (here / "model.pt").stat()[7:9])
    found = looked(ws, box)
    assert found.groups == ()
    (line,) = found.lines()
    assert "found no file that is not here" in line
    assert "compared: its home folder with" in line


def test_a_walk_that_hits_its_bound_says_so(
    ws: Workspace, box: Box, there: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "OUTSIDE_MOST", 3)
    for number in range(9):
        put(there / "data" / f"{number}.bin")
    (group,) = looked(ws, box).groups
    assert (group.kind, group.count, group.complete) == ("outside", 3, False)
    assert "at least 3 files outside the synced folder" in "\n".join(looked(ws, box).lines())


@pytest.mark.openssh
def test_a_box_that_does_not_answer_is_unknown_not_empty(ws: Workspace, box: Box) -> None:
    paused = lifecycle.pause(ws, box)
    assert looked(ws, paused).lines() == ["b: it is paused: what is on it and not here is unknown"]


def test_without_a_terminal_an_end_needs_yes_and_names_what_is_lost(
    ws: Workspace, box: Box, here: Path, there: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(there / "work" / "notes.txt", "new")
    put(there / "data" / "set.bin", "d" * 3000)
    monkeypatch.chdir(here)
    refused = CliRunner().invoke(cli, ["down", "b"])
    assert isinstance(refused.exception, UsageError), refused.output
    assert "--yes" in refused.exception.fix
    assert "1 file outside the synced folder" in refused.output
    assert "data/set.bin" in refused.output
    assert ws.box("b").state is BoxState.RUNNING
    done = CliRunner().invoke(cli, ["down", "b", "--yes"])
    assert done.exit_code == 0, done.output
    assert (here / "notes.txt").read_text() == "new"


@pytest.mark.openssh
def test_results_that_were_never_fetched_are_named_then_saved(ws: Workspace, box: Box) -> None:
    run = ended(ws, box, "echo precious >$DEVBOX_OUT/model.pt")
    ended(ws, box, "true")
    named = f"b: the results of run {run.id} were never fetched (fetched first)"
    assert looked(ws, box).lines()[0] == named
    assert looked(ws, box).unfetched == (run.id,)
    assert lifecycle.down(ws, box).state is BoxState.TERMINATED
    kept = fetch.default_folder(ws, run) / "model.pt"
    assert kept.read_text() == "precious\n"


def test_what_was_fetched_anywhere_is_not_named_again(ws: Workspace, box: Box, home: Path) -> None:
    run = ended(ws, box, "echo precious >$DEVBOX_OUT/model.pt")
    fetch.fetch(ws, run, home / "elsewhere")
    assert looked(ws, box).unfetched == ()
    again = retry(ws, run)
    for _ in follow(ws, again):
        pass
    assert "were never fetched" in looked(ws, box).lines()[0]


@pytest.mark.openssh
def test_a_run_that_goes_on_is_named_before_its_box_is_paused_or_ended(
    ws: Workspace, box: Box
) -> None:
    run = submit(ws, box, catalogue.ad_hoc_command(("sleep", "300")), {}, {})
    for verb in ("down", "pause"):
        found = lifecycle.unsaved_data(ws, box, verb)
        assert found
        assert found.lines()[0] == f"b: run {run.id} has not ended: this ends it"
    queries.cancel(ws, run)
    assert looked(ws, box).running == ()
    assert lifecycle.unsaved_data(ws, box, "pause") is None


def test_saving_can_be_declined(ws: Workspace, box: Box) -> None:
    run = ended(ws, box, "echo precious >$DEVBOX_OUT/model.pt")
    lifecycle.down(ws, box, save=False)
    assert not fetch.default_folder(ws, run).exists()


def test_a_box_that_holds_work_and_does_not_answer_is_left_running(
    ws: Workspace, box: Box, here: Path
) -> None:
    put(here / "a.py")
    rsync.up(ws, box)
    ssh_config.forget(box)
    deadline = time.monotonic() + 120
    folder = paths.control_dir()
    while folder and any(folder.iterdir()):
        assert time.monotonic() < deadline, "the shared connection stays"
        time.sleep(0.01)
    paths.known_hosts().unlink()
    assert "is unknown" in looked(ws, box).unknown
    with pytest.raises(DevboxError, match="could not be fetched") as caught:
        lifecycle.down(ws, box)
    assert "--no-save" in caught.value.fix
    assert ws.box("b").state is BoxState.RUNNING


def test_a_box_that_was_never_used_and_does_not_answer_is_ended(ws: Workspace, box: Box) -> None:
    ssh_config.abandon(box)
    paths.known_hosts().unlink()
    told: list[str] = []
    ws.narrate = told.append
    assert lifecycle.down(ws, box).state is BoxState.TERMINATED
    assert any("its files were not looked at" in line for line in told)


def test_results_that_programs_here_act_on_stay_on_the_box_and_are_told(
    ws: Workspace, box: Box
) -> None:
    made = (
        "mkdir $DEVBOX_OUT/.vscode; echo 1 >$DEVBOX_OUT/.vscode/tasks.json; echo 2 >$DEVBOX_OUT/a"
    )
    run = ended(ws, box, made)
    told: list[str] = []
    ws.narrate = told.append
    folder = fetch.fetch(ws, run)
    assert (folder / "a").read_text() == "2\n"
    assert not (folder / ".vscode" / "tasks.json").exists()
    assert any(".vscode/tasks.json was not fetched" in line for line in told)
