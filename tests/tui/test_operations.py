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


def ended(operations: Operations, operation: Operation, seconds: float = 60.0) -> Operation:
    """Poll until it is over."""
    _until(lambda: operations.poll() is not None and operation.state != "running", seconds)
    return operation


def _until(condition: Callable[[], object], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_box_from_up_to_down(project: Path) -> None:
    operations = Operations(project)
    ws = Workspace.open(project)
    up = ended(operations, operations.start("up", "up b", "b", hardware="cpu"))
    assert (up.state, up.summary) == ("done", "b is running: ssh devbox-b")
    assert any("$1.00/h" in line for line in up.lines)
    (project / "a.txt").write_text("a")
    sync = operations.start("sync", "sync", "b", direction="up", dry_run=True)
    assert ended(operations, sync).summary == "1 file would be sent (1 B)"
    sync = ended(operations, operations.start("sync", "s", "b", direction="up", dry_run=False))
    assert sync.summary.startswith("1 file sent")  # `up` has sent devbox.toml
    assert "a.txt" in sync.lines
    kept = ended(operations, operations.start("keep", "keep", "b", seconds=60.0))
    assert kept.summary.startswith("b is kept awake until ")
    run = operations.start("submit", "run", "b", job="hello", words=[], extra=["x"])
    assert ended(operations, run).state == "done", run.error
    (row,) = ws.store.runs.latest()
    cmd = operations.start("submit", "run", "b", job="cmd", words=["sleep", "300"], extra=[])
    assert ended(operations, cmd).state == "done", cmd.error
    latest = ws.store.runs.latest()[0]
    cancelled = ended(operations, operations.start("cancel", "c", "b", run=latest.id))
    assert cancelled.summary == f"run {latest.id} cancelled"
    again = ended(operations, operations.start("retry", "r", "b", run=latest.id))
    assert again.state == "done", again.error
    found = ws.store.runs.get(latest.id)
    assert found
    assert found.state in (RunState.RUNNING, RunState.QUEUED)
    box = ws.box("b")
    with connect(box) as connection:
        made = f"cd {box.workdir} && mkdir -p results && echo 1 > results/model.txt"
        connection.run(["sh", "-c", made])
    rescue = ended(operations, operations.start("rescue", "fetch", "b"))
    assert rescue.summary == "fetched from b before its pause", rescue.error
    assert (project / "results" / "model.txt").read_text() == "1\n"
    fetched = ended(operations, operations.start("fetch", "f", "b", run=row.id))
    assert str(project / "results" / row.id) in fetched.summary
    down = down_and_back(operations, ws)
    assert down.summary == "b is terminated"


def down_and_back(operations: Operations, ws: Workspace) -> Operation:
    """Pause, resume, end."""
    pause = ended(operations, operations.start("pause", "p", "b", save=True))
    assert pause.summary == "b is paused", pause.error
    resume = ended(operations, operations.start("resume", "r", "b"))
    assert resume.summary == "b is running", resume.error
    assert ended(operations, operations.start("finish", "f", "b")).summary == "b is running"
    reconcile = ended(operations, operations.start("reconcile", "reconcile"))
    assert reconcile.state == "done"
    down = ended(operations, operations.start("down", "d", "b", save=True))
    assert ws.box("b").state is BoxState.TERMINATED
    return down


def test_an_error_is_told_whole(project: Path) -> None:
    operations = Operations(project)
    failed = ended(operations, operations.start("up", "up x", "x", hardware=""))
    assert failed.state == "failed"
    assert "no box 'x'" in failed.summary
    assert "devbox up b" in failed.error["fix"]
    failed = ended(operations, operations.start("up", "up b", "b", hardware="h900"))
    assert "h900" in failed.summary


def test_a_reconcile_that_could_not_look_has_failed(project: Path) -> None:
    (project / "devbox.toml").write_text('[boxes.b]\nprovider = "hf-space"\n')
    operations = Operations(project)
    operation = ended(operations, operations.start("reconcile", "reconcile"))
    assert operation.state == "failed"
    assert "could not look at or finish 1" in operation.summary
    assert any(line.startswith("failed  hf-space") for line in operation.lines)


def test_a_retry_sends_what_was_edited_since(project: Path) -> None:
    operations = Operations(project)
    ended(operations, operations.start("up", "up b", "b", hardware=""))
    words = ["sh", "-c", "cat said.txt; exit 3"]
    (project / "said.txt").write_text("one\n")
    submit = operations.start("submit", "run", "b", job="cmd", words=words, extra=[])
    assert ended(operations, submit).state == "done", submit.error
    ws = Workspace.open(project)

    def over() -> bool:
        return queries.refresh(ws, ws.store.runs.latest())[0].state.is_over

    _until(over)
    (project / "said.txt").write_text("two\n")
    run = ws.store.runs.latest()[0]
    again = ended(operations, operations.start("retry", "r", "b", run=run.id))
    assert again.state == "done", again.error
    with connect(ws.box("b")) as connection:
        assert connection.run(["cat", f"{ws.box('b').workdir}/said.txt"]).out == "two\n"
    _until(over)


def test_one_that_dies_without_a_word_is_noticed(project: Path) -> None:
    operations = Operations(project)
    operation = operations.start("up", "up b", "b", hardware="")
    assert operation.process
    operation.process.kill()
    ended(operations, operation)
    assert operation.state == "failed"
    assert "devbox reconcile" in operation.summary


def test_the_next_dashboard_finds_what_goes_on_and_can_stop_it(project: Path) -> None:
    first = Operations(project)
    operation = first.start("up", "up b", "b", hardware="")
    assert operation.process
    os.kill(operation.process.pid, signal.SIGSTOP)
    folder = paths.home() / "operations" / operation.key
    os.kill(operation.process.pid, signal.SIGCONT)
    _until((folder / "process.json").exists)
    os.kill(operation.process.pid, signal.SIGSTOP)
    second = Operations(project)
    (found,) = second.running()
    assert (found.title, found.box) == ("up b", "b")
    assert psutil.Process(operation.process.pid).ppid() == os.getpid()
    second.stop(found)
    os.kill(operation.process.pid, signal.SIGCONT)
    operation.process.wait(30)
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


def test_old_folders_go(project: Path) -> None:
    root = paths.home() / "operations"
    for number in range(60):
        (root / f"{number:03}").mkdir(parents=True)
    Operations(project)
    assert len(list(root.iterdir())) == 40
    assert (root / "059").is_dir()
