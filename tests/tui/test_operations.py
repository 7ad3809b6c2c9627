"""Operations are processes of their own: they report, outlive the dashboard and are found again."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from devbox import lifecycle, paths
from devbox.jobs import queries
from devbox.model import BoxState, RunState
from devbox.remote.connection import connect
from devbox.tui.operation_manager import Operation, Operations
from devbox.tui.queries import Asks
from devbox.workspace import Workspace

TOML = """
[boxes.b]
[boxes.b.sync]
down = ["results/"]
[providers.local]
price = 1.0
[jobs.hello]
command = ["echo", "hello"]
"""


@pytest.fixture
def project(home: Path) -> Iterator[Path]:
    folder = home / "project"
    folder.mkdir()
    (folder / "devbox.toml").write_text(TOML)
    yield folder
    ws = Workspace.open(folder)
    for box in ws.store.boxes.all():
        lifecycle.down(ws, box, save=False)
    ws.store.close()


def ended(operations: Operations, operation: Operation, seconds: float = 120.0) -> Operation:
    """Poll until it is over."""
    _until(lambda: operations.poll() is not None and operation.state != "running", seconds)
    return operation


def _until(condition: Callable[[], object], seconds: float = 120.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_box_from_up_to_down(project: Path) -> None:
    operations = Operations(project)
    ws = Workspace.open(project)
    assert "costing: $1.00/h" in begin(operations, "up", "b", "--hardware", "cpu").summary
    assert any("$1.00/h" in line for line in next(iter(operations.all.values())).lines)
    (project / "a.txt").write_text("a")
    dry = begin(operations, "sync", "up", "b", "--dry-run")
    assert dry.summary == "b: 1 file (1 B) would be sent"
    assert "a.txt" in dry.lines
    sync = begin(operations, "sync", "up", "b")
    assert sync.summary.startswith("b: 1 file (1 B) sent")  # `up` has sent devbox.toml
    assert begin(operations, "keep", "b", "60s").summary == "b: kept awake for 1m"
    begin(operations, "run", "hello", "--box", "b", "--detach", "--", "x")
    (row,) = ws.store.runs.latest()
    begin(operations, "run", "--box", "b", "--detach", "--", "sleep", "300")
    latest = ws.store.runs.latest()[0]
    assert begin(operations, "cancel", latest.id).summary == f"{latest.id} cancelled"
    begin(operations, "retry", latest.id, "--detach")
    found = ws.store.runs.get(latest.id)
    assert found
    assert found.state in (RunState.RUNNING, RunState.QUEUED)
    box = ws.box("b")
    with connect(box) as connection:
        made = f"cd {box.workdir} && mkdir -p results && echo 1 > results/model.txt"
        connection.run(["sh", "-c", made])
    rescue = begin(operations, "sync", "down", "b", "--before-pause")
    assert rescue.summary == "fetched from b before its pause"
    assert (project / "results" / "model.txt").read_text() == "1\n"
    fetched = begin(operations, "attach", row.id, "--no-wait")
    assert fetched.summary == f"results/{row.id}"
    assert begin(operations, "pause", "b", "--yes").summary.startswith("b paused")
    assert begin(operations, "resume", "b").summary.startswith("b running; shell: ssh devbox-b")
    begin(operations, "reconcile")
    assert begin(operations, "down", "b", "--yes").summary.startswith("b terminated; costing: noth")
    assert ws.box("b").state is BoxState.TERMINATED


def begin(operations: Operations, *words: str) -> Operation:
    """Run it to its end, which is a good one."""
    operation = ended(operations, operations.start(" ".join(words), "b", *words))
    assert operation.state == "done", operation.error or list(operation.lines)
    return operation


def test_an_error_is_told_whole(project: Path) -> None:
    operations = Operations(project)
    failed = ended(operations, operations.start("up x", "x", "up", "x"))
    assert failed.state == "failed"
    assert "no box 'x'" in failed.summary
    assert "devbox up b" in failed.error["fix"]
    failed = ended(operations, operations.start("up b", "b", "up", "b", "--hardware", "h900"))
    assert "h900" in failed.summary
    failed = ended(operations, operations.start("up b", "b", "up", "b", "--no-such-option"))
    assert "--no-such-option" in failed.error["what"]


def test_a_reconcile_that_could_not_look_has_failed(project: Path) -> None:
    (project / "devbox.toml").write_text('[boxes.b]\nprovider = "hf-space"\n')
    operations = Operations(project)
    operation = ended(operations, operations.start("reconcile", "", "reconcile"))
    assert operation.state == "failed"
    assert "could not look at or finish 1" in operation.summary
    assert any(line.split()[:2] == ["failed", "hf-space"] for line in operation.lines)


def test_a_retry_sends_what_was_edited_since(project: Path) -> None:
    operations = Operations(project)
    begin(operations, "up", "b")
    (project / "said.txt").write_text("one\n")
    words = ("sh", "-c", "cat said.txt; exit 3")
    begin(operations, "run", "--box", "b", "--detach", "--", *words)
    ws = Workspace.open(project)

    def over() -> bool:
        return queries.refresh(ws, ws.store.runs.latest())[0].state.is_over

    _until(over)
    (project / "said.txt").write_text("two\n")
    run = ws.store.runs.latest()[0]
    assert Asks(project).log_tail(run) == ["one"]
    begin(operations, "retry", run.id, "--detach")
    with connect(ws.box("b")) as connection:
        assert connection.run(["cat", f"{ws.box('b').workdir}/said.txt"]).out == "two\n"
    _until(over)


def test_one_that_dies_without_a_word_is_noticed(project: Path) -> None:
    operations = Operations(project)
    operation = operations.start("up b", "b", "up", "b")
    assert operation.process
    operation.process.kill()
    ended(operations, operation)
    assert operation.state == "failed"
    assert "devbox reconcile" in operation.summary


def test_the_next_dashboard_finds_what_goes_on_and_can_stop_it(project: Path) -> None:
    first = Operations(project)
    operation = first.start("up b", "b", "up", "b")
    assert operation.process
    os.kill(operation.process.pid, signal.SIGSTOP)
    folder = paths.home() / "operations" / operation.key
    os.kill(operation.process.pid, signal.SIGCONT)
    _until((folder / "process.json").exists)
    os.kill(operation.process.pid, signal.SIGSTOP)
    try:
        second = Operations(project)
        (found,) = second.running()
        assert (found.title, found.box) == ("up b", "b")
        assert psutil.Process(operation.process.pid).ppid() == os.getpid()
        second.stop(found)
    finally:  # nobody waits for one that stands still
        os.kill(operation.process.pid, signal.SIGCONT)
    operation.process.wait(60)
    ended(second, found)
    assert found.state in ("failed", "done")
    assert Operations(project).running() == []


def test_what_its_log_says_is_never_trusted(project: Path) -> None:
    operations = Operations(project)
    folder = paths.home() / "operations" / "0-x"
    folder.mkdir(parents=True)
    (folder / "request.json").write_text("{}")
    lines = [
        *(b"not json", b"[]", b"3", b'{"progress": 3}', b'{"error": 5}', b"\xff\xff"),
        *(b'{"say": "\\u001b[2Jhi"}', b'{"progress": [1, 0], "note": 5}', b'{"done": "ok"}'),
    ]
    (folder / "log.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    operation = operations.add(Operation("0-x", "up", "up", "b", time.time()))
    operations.poll()
    assert (operation.state, operation.summary) == ("done", "ok")
    assert list(operation.lines) == ["hi"]


def test_what_this_program_holds_itself_is_told_once_when_it_fails(project: Path) -> None:
    operations = Operations(project)
    operation = Operation("forward-1", "forward", "forward b 80", "b", time.time())
    operation.stop = lambda: None
    operations.add(operation)
    assert operations.poll() == []
    operation.finish("failed", "port 80 is in use")
    assert operations.poll() == [operation]
    assert operations.poll() == []


def test_old_folders_go(project: Path) -> None:
    root = paths.home() / "operations"
    for number in range(60):
        (root / f"{number:03}").mkdir(parents=True)
    Operations(project)
    assert len(list(root.iterdir())) == 40
    assert (root / "059").is_dir()
