"""Runs from this side, on a real local box over real ssh and rsync."""

from __future__ import annotations

import json
import os
from pathlib import Path

import msgspec
import pytest

from devbox import paths
from devbox.errors import AuthError, Conflict, NotFound, UsageError
from devbox.ignore.rules import Rules
from devbox.jobs import catalogue, inputs, queries, status
from devbox.jobs.fetch import fetch
from devbox.jobs.follow import Ended, Line, Message, follow, followed
from devbox.jobs.submit import retry, submit
from devbox.model import Box, BoxState, Run, RunState
from devbox.remote import connection
from devbox.spec import Argument, Checkpoint, Input, JobSpec
from devbox.sync import remote
from devbox.telemetry import rearm
from devbox.workspace import Workspace
from tests.boxes import open_interval
from tests.core.hostile import ALL

PYTHON = "python3"


def command(ws: Workspace, box: Box, *words: str) -> Run:
    return submit(ws, box, catalogue.ad_hoc_command(words), {}, {})


def texts(messages: list[Message]) -> list[str]:
    return [message.text for message in messages if isinstance(message, Line)]


def usable(text: str) -> bool:
    try:
        return b"\0" not in text.encode()
    except UnicodeEncodeError:
        return False


def test_a_command_from_start_to_results(local_workspace: Workspace, local_box: Box) -> None:
    run = command(
        local_workspace,
        local_box,
        "sh",
        "-c",
        "echo hello; mkdir $DEVBOX_OUT/a; pwd > $DEVBOX_OUT/a/b",
    )
    messages = list(follow(local_workspace, run))
    assert texts(messages) == ["hello"]
    ended = messages[-1]
    assert isinstance(ended, Ended)
    assert local_workspace.store.runs.get(run.id) == ended.run
    assert (ended.run.state, ended.run.exit_code) == (RunState.SUCCEEDED, 0)
    folder = fetch(local_workspace, ended.run)
    assert folder == local_workspace.spec.root / "results" / run.id
    assert (folder / "a/b").read_text().endswith("/work\n")
    note = json.loads((folder / ".devbox/status.json").read_text())
    assert (note["run"], note["state"], note["exit_code"]) == (run.id, "succeeded", 0)
    assert (folder / ".devbox/log.txt").read_text() == "hello\n"


def test_runs_are_asked_of_the_present_box_half(local_workspace: Workspace, local_box: Box) -> None:
    run = command(local_workspace, local_box, "true")
    followed(local_workspace, run)
    older = "cd .devbox-box && echo 'print(7)' > older.py && ln -sf older.py devbox-box.pyz"
    with connection.connect(local_box) as link:
        link.run(["sh", "-c", older])
    assert queries.refresh(local_workspace, [run])[0].state == RunState.SUCCEEDED


def test_the_cost_of_a_run_is_its_share_of_the_ledger(
    local_workspace: Workspace, local_box: Box
) -> None:
    run = command(local_workspace, local_box, "true")
    run = followed(local_workspace, run).run
    assert queries.cost(local_workspace, run) is None
    open_interval(local_workspace.store.ledger, local_box, local_box.price, local_box.created)
    assert run.started
    assert run.ended
    assert queries.cost(local_workspace, run) == round(1e6 * (run.ended - run.started) / 3600)


def test_hostile_words_and_arguments_arrive_intact(
    local_workspace: Workspace, local_box: Box
) -> None:
    """All of them through a bare command, a template, and a module's arguments."""
    words = [text for text in ALL if usable(text)]
    assert len(words) >= 200
    show = (
        "import json,os,sys; "
        "open(os.environ['DEVBOX_OUT'] + '/x', 'w').write(json.dumps(sys.argv[1:]))"
    )
    bare = command(local_workspace, local_box, PYTHON, "-c", show, *words, "{out}", "{args}")
    job = JobSpec(
        name="probe",
        command=(PYTHON, "-c", show, "{args}", "<{a0}>", "{nothing}"),
        args={f"a{n}": Argument() for n in range(len(words))},
    )
    args = {f"a{n}": word for n, word in enumerate(words)}
    filled = submit(local_workspace, local_box, job, args, {}, extra=words)
    for run, expected in (
        (bare, [*words, "{out}", "{args}"]),
        (
            filled,
            [*(f"--a{n}={w}" for n, w in enumerate(words)), f"<{words[0]}>", "{nothing}", *words],
        ),
    ):
        ended = followed(local_workspace, run)
        assert ended.status.message == ""
        folder = fetch(local_workspace, ended.run)
        assert json.loads((folder / "x").read_text()) == expected


def test_hostile_words_that_cannot_arrive_are_refused_before_anything_is_made(
    local_workspace: Workspace, local_box: Box
) -> None:
    for text in ALL:
        if not usable(text):
            with pytest.raises(UsageError):
                command(local_workspace, local_box, "echo", text)
    assert local_workspace.store.runs.latest() == []


def test_inputs_with_hostile_names_arrive(
    local_workspace: Workspace, local_box: Box, tmp_path: Path
) -> None:
    folder = tmp_path / "-in put's; $(id) \"名\n"
    folder.mkdir()
    names = [t for t in ALL if usable(t) and "/" not in t and 0 < len(t.encode()) < 250]
    names = [name for name in dict.fromkeys(names) if name not in (".", "..")]
    for number, name in enumerate(names):
        (folder / name).write_text(str(number))
    job = JobSpec(
        name="probe",
        command=("sh", "-c", 'cp -R "$1" "$DEVBOX_OUT/all"', "sh", "{files}"),
        inputs={"files": Input()},
    )
    ended = followed(
        local_workspace, submit(local_workspace, local_box, job, {}, {"files": folder})
    )
    assert ended.run.state == RunState.SUCCEEDED
    result = fetch(local_workspace, ended.run)
    assert {p.name: p.read_text() for p in (result / "all").iterdir()} == {
        name: str(number) for number, name in enumerate(names)
    }


def test_an_input_is_sent_once_and_an_edit_sends_only_itself(
    local_workspace: Workspace, local_box: Box, tmp_path: Path
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("a", "b", "gone"):
        (folder / name).write_text(name)
    job = JobSpec(
        name="probe",
        command=("sh", "-c", "cd $DEVBOX_INPUT_FILES && stat -c '%n %i' * && cat *"),
        inputs={"files": Input()},
    )
    said: list[str] = []
    rearm.look(local_workspace, local_box)
    local_workspace.narrate = said.append

    def seen() -> list[str]:
        run = submit(local_workspace, local_box, job, {}, {"files": folder})
        return texts(list(follow(local_workspace, run)))

    first, second = seen(), seen()
    assert first == second
    assert [text.split(":")[1].split()[0] for text in said] == ["sending", "already"]
    (folder / "b").write_text("changed")
    (folder / "gone").unlink()
    third = seen()
    assert third[0] == first[0]
    assert third[1] != first[1]
    assert third[2:] == ["achanged"]


def test_inputs_that_cannot_be_named_are_refused(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "up").symlink_to(tmp_path)
    with pytest.raises(UsageError, match="links to a folder it lies in"):
        inputs.look("files", tmp_path)
    (tmp_path / "in" / "up").unlink()
    (tmp_path / "in" / "dead").symlink_to("nothing")
    with pytest.raises(UsageError, match="cannot be read"):
        inputs.look("files", tmp_path)
    with pytest.raises(UsageError, match="whole file system"):
        inputs.look("files", Path("/"))


def test_a_refused_start_is_a_failed_run_not_a_queued_one(
    local_workspace: Workspace, local_box: Box
) -> None:
    job = JobSpec(name="probe", command=("true",), checkpoints=("w",))
    wanted = Checkpoint(source="gs://bucket/w", path="w.bin", secret="env:NOT_THERE")
    local_workspace.spec = msgspec.structs.replace(local_workspace.spec, checkpoints={"w": wanted})
    with pytest.raises(AuthError, match="the secret env:NOT_THERE has no value"):
        submit(local_workspace, local_box, job, {}, {})
    assert local_workspace.store.runs.latest()[0].state == RunState.FAILED


def test_a_checkpoint_s_secret_reaches_the_box_and_no_record(
    local_workspace: Workspace, local_box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service account that cannot exist: it is read there, and refused by its form alone."""
    monkeypatch.setenv("KEY_OF_TEST", '{"private_key": "hush-hush"}')
    job = JobSpec(name="probe", command=("true",), checkpoints=("w",))
    wanted = Checkpoint(source="gs://bucket/w", path="w.bin", secret="env:KEY_OF_TEST")
    local_workspace.spec = msgspec.structs.replace(local_workspace.spec, checkpoints={"w": wanted})
    run = submit(local_workspace, local_box, job, {}, {})
    assert list(follow(local_workspace, run))
    (ended,) = queries.refresh(local_workspace, [run])
    assert ended.state == RunState.FAILED
    assert "Service account info was not in the expected format" in status.of(ended).message
    assert b"hush-hush" not in ended.request + ended.status
    kept = [file for file in paths.home().rglob("*") if file.is_file()]
    assert not any(b"hush-hush" in file.read_bytes() for file in kept)


def test_cancel_and_retry(local_workspace: Workspace, local_box: Box) -> None:
    run = command(local_workspace, local_box, "sh", "-c", "test -e go || sleep 300; echo went")
    with pytest.raises(Conflict, match="is running"):
        retry(local_workspace, run)
    run = queries.cancel(local_workspace, run)
    assert run.state == RunState.CANCELLED
    assert queries.cancel(local_workspace, run) == run
    with connection.connect(local_box) as link:
        link.run(["touch", "work/go"])
    ended = followed(local_workspace, retry(local_workspace, run))
    assert (ended.run.state, ended.status.attempt) == (RunState.SUCCEEDED, 2)
    assert len(ended.status.attempts) == 2


def test_a_retry_needs_the_input_it_was_begun_with(
    local_workspace: Workspace, local_box: Box, tmp_path: Path
) -> None:
    (tmp_path / "a").write_text("one")
    job = JobSpec(name="probe", command=("cat", "{file}", "missing"), inputs={"file": Input()})
    run = submit(local_workspace, local_box, job, {}, {"file": tmp_path / "a"})
    ended = followed(local_workspace, run)
    assert ended.run.state == RunState.FAILED
    (tmp_path / "a").write_text("another")
    again = list(follow(local_workspace, retry(local_workspace, ended.run), after=""))
    printed = "".join(texts(again))
    assert printed.count("one") == 2  # once in each attempt, though here it is another file now
    assert "another" not in printed
    with connection.connect(local_box) as link:
        link.run(["rm", "-rf", ".devbox-box/inputs"])
    with pytest.raises(NotFound, match="input file is not on the box"):
        retry(local_workspace, local_workspace.store.runs.latest()[0])


def test_what_is_not_whole_or_not_a_file_is_not_fetched(
    local_workspace: Workspace, local_box: Box, home: Path
) -> None:
    script = (
        'cd "$DEVBOX_OUT"; echo ok > good; echo half > .x.devbox-part-1-2.mp4; '
        f"ln -s {home} door; mkfifo pipe; mkdir .devbox; echo fake > .devbox/status.json"
    )
    ended = followed(local_workspace, command(local_workspace, local_box, "sh", "-c", script))
    assert ended.run.state == RunState.SUCCEEDED
    folder = fetch(local_workspace, ended.run)
    assert sorted(os.listdir(folder)) == [".devbox", "good"]
    assert json.loads((folder / ".devbox/status.json").read_text())["run"] == ended.run.id


def test_what_the_box_did_not_list_does_not_come(
    local_workspace: Workspace, local_box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job continues writing after the list was made, or a box leaves something out of it."""
    script = 'cd "$DEVBOX_OUT"; echo ok > good; echo evil > late; mkdir .git; echo x > .git/config'
    ended = followed(local_workspace, command(local_workspace, local_box, "sh", "-c", script))
    listed = remote.list_files

    def first(box: Box, folder: str, rules: Rules) -> remote.Listing:
        found = listed(box, folder, rules)
        files = {path: entry for path, entry in found.files.items() if path == b"good"}
        return found._replace(files=files)

    monkeypatch.setattr(remote, "list_files", first)
    folder = fetch(local_workspace, ended.run)
    assert sorted(os.listdir(folder)) == [".devbox", "good"]


def test_runs_are_found_by_the_beginning_of_their_id(
    local_workspace: Workspace, local_box: Box
) -> None:
    with pytest.raises(NotFound, match="no runs yet"):
        queries.find(local_workspace, None)
    first = command(local_workspace, local_box, "true")
    second = command(local_workspace, local_box, "true")
    assert queries.find(local_workspace, None).id in (first.id, second.id)
    assert queries.find(local_workspace, first.id).id == first.id
    assert queries.find(local_workspace, second.id[:-1]).id == second.id
    with pytest.raises(NotFound, match="2 runs with an id that begins"):
        queries.find(local_workspace, "cmd-")
    for text in ALL:
        if text and text not in first.id:
            with pytest.raises(NotFound):
                queries.find(local_workspace, text)


def test_nothing_is_started_on_a_box_that_does_not_run(
    local_workspace: Workspace, local_box: Box
) -> None:
    paused = msgspec.structs.replace(local_box, state=BoxState.PAUSED)
    with pytest.raises(Conflict, match="box b is paused") as raised:
        command(local_workspace, paused, "true")
    assert raised.value.fix == "bring it back with: devbox resume b"
    assert local_workspace.store.runs.latest() == []
