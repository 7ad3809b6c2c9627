"""`devbox serve` and `devbox services` as a user types them, against a real box over ssh."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from devbox.model import Box
from devbox.workspace import Workspace
from tests import warm
from tests.jobs.conftest import until
from tests.processes import send
from tests.services.conftest import ECHO, ask

DEVBOX = [sys.executable, "-m", "devbox.cli.main"]
TOML = """
[providers.local]
price = 1.0

[services.echo]
summary = "Says it again"
module = "echo_service"
port = 0
args.warm = { default = "/", help = "a file that it waits for" }
args.gate = { default = "/" }

[services.files]
command = ["python3", "-m", "http.server", "--bind", "127.0.0.1", "{port}"]
port = 0
health = "/"

[services.broken]
command = ["sh", "-c", "echo no weights; exit 3"]
port = 1
health = ""
"""


@pytest.fixture
def project(local_workspace: Workspace, local_box: Box) -> Path:
    """A project folder with one box up; its store is the one `devbox` opens."""
    del local_box
    root = local_workspace.spec.root
    (root / "devbox.toml").write_text(TOML)
    (root / "echo_service.py").write_text(ECHO)
    return root


def devbox(project: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return warm.run(
        [*DEVBOX, *words], cwd=project, capture_output=True, text=True, timeout=180, check=False
    )


@contextmanager
def serving(project: Path, *words: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`devbox serve …` that runs, and the URL it printed."""
    with open(project / "said.txt", "a+") as said:
        process = subprocess.Popen(
            [*DEVBOX, "serve", *words],
            cwd=project,
            stdout=subprocess.PIPE,
            stderr=said,
            text=True,
            start_new_session=True,
        )
        try:
            assert process.stdout
            url = process.stdout.readline().strip()
            assert url.startswith("http://127.0.0.1:"), (project / "said.txt").read_text()
            yield process, url
        finally:
            process.kill()
            process.communicate()


def interrupt(process: subprocess.Popen[str]) -> int:
    os.killpg(process.pid, signal.SIGINT)
    return process.wait(120)


def listed(project: Path, *words: str) -> list[dict[str, object]]:
    rows = json.loads(devbox(project, "services", "--json", *words).stdout)["services"]
    return list(rows)


def test_serve_forwards_and_prints_the_url_and_ctrl_c_leaves_it_running(project: Path) -> None:
    """Then a second `serve` finds it, never another one; `stop` ends it."""
    with serving(project, "echo") as (process, url):
        assert ask(f"{url}/echo", {"hello": 1}).body == {"echo": {"hello": 1}}
        (row,) = listed(project)
        assert (row["name"], row["state"], row["url"]) == ("echo", "ready", url)
        table = devbox(project, "services").stdout.splitlines()
        assert table[0].split() == ["SERVICE", "BOX", "STATE", "URL", "UPTIME", "COST", "RUN"]
        assert table[1].split()[:4] == ["echo", "b", "ready", url]
        assert "echo is here" in devbox(project, "logs", str(row["run"])).stdout
        until(lambda: "echo is here" in (project / "said.txt").read_text())
        assert interrupt(process) == 130
        with pytest.raises(OSError, match="refused"):
            ask(f"{url}/health")
    said = (project / "said.txt").read_text()
    assert "detached; service echo continues on b" in said
    assert "to stop it: devbox services stop echo" in said
    assert listed(project)[0]["url"] is None
    with serving(project, "echo", "--no-sync", "--", "--gate", "/tmp") as (_, again):
        assert [each["run"] for each in listed(project)] == [row["run"]]
        assert ask(f"{again}/health").body["ready"] is True
    said = (project / "said.txt").read_text()
    assert f"service echo runs already on b: run {row['run']}" in said
    assert "it keeps the arguments it was started with" in said
    assert devbox(project, "services", "stop", "echo").stdout == "echo stopped\n"
    assert listed(project) == []
    (ended,) = listed(project, "--all")
    assert (ended["state"], ended["said"]) == ("cancelled", "stopped")
    done = devbox(project, "services", "stop", "echo")
    assert done.returncode == 4
    assert "no service 'echo' runs (running: none)" in done.stderr


def test_detach_returns_when_it_is_ready_and_stop_ends_a_follower_well(project: Path) -> None:
    done = devbox(project, "serve", "files", "--detach")
    assert done.returncode == 0, done.stderr
    run = done.stdout.strip()
    assert run.startswith("files-")
    assert "stop it: devbox services stop files" in done.stderr
    (row,) = listed(project)
    assert (row["state"], row["run"], row["url"]) == ("ready", run, None)
    with serving(project, "files") as (process, _):
        assert devbox(project, "services", "stop", "files").returncode == 0
        assert process.wait(120) == 0
    assert "service files stopped" in (project / "said.txt").read_text()


def test_two_at_once_start_one(project: Path) -> None:
    words = [*DEVBOX, "serve", "echo", "--detach", "--no-sync"]
    devbox(project, "sync", "up")
    both = [
        subprocess.Popen(words, cwd=project, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(2)
    ]
    ended = [process.communicate(timeout=180) for process in both]
    assert [process.returncode for process in both] == [0, 0], ended
    assert ended[0][0] == ended[1][0]
    assert len(listed(project, "--all")) == 1


def test_one_that_another_computer_started_is_found(
    project: Path, local_workspace: Workspace
) -> None:
    """This computer's record of it is lost: the box refuses a second one and names the first."""
    first = devbox(project, "serve", "echo", "-d").stdout.strip()
    row = local_workspace.store.runs.get(first)
    assert row
    with local_workspace.store.runs._db.write() as connection:
        connection.execute("DELETE FROM runs")
    assert devbox(project, "serve", "echo", "-d").stdout.strip() == first
    assert [each["run"] for each in listed(project)] == [first]
    assert devbox(project, "services", "stop", "echo").stdout == "echo stopped\n"


def test_one_that_ends_before_it_is_ready_is_an_error_with_its_last_words(project: Path) -> None:
    done = devbox(project, "serve", "broken", "-q")
    assert done.returncode == 11
    assert "service broken ended before it was ready: ended with exit code 3" in done.stderr
    assert "its last words: no weights" in done.stderr
    assert re.search(r"fix: devbox logs broken-\d{8}", done.stderr)
    assert done.stdout == ""


def test_usage_errors_name_the_way_out(project: Path) -> None:
    for words, code, said in (
        (["serve", "nope"], 4, "there is no service 'nope' (services: "),
        (["serve", "echo", "--", "--n", "1"], 2, "the arguments of echo are: --warm, --gate"),
        (["serve", "echo", "--port", "0"], 2, "0 is not in the range"),
        (["services", "stop", "nope"], 4, "no service 'nope' runs"),
    ):
        done = devbox(project, *words)
        assert (done.returncode, done.stdout) == (code, ""), done.stderr
        assert said in done.stderr
    assert "echo             Says it again" in devbox(project, "serve").stdout
    assert "--warm STR" in devbox(project, "serve", "echo", "--", "--help").stdout
    (project / "devbox.toml").write_text('[services.x]\ncommand = ["a"]\nport = 0\n')
    assert "service x: it has no port" in devbox(project, "serve", "x").stderr


@pytest.mark.real_time
def test_a_forward_that_was_cut_is_made_again(project: Path) -> None:
    with serving(project, "echo") as (process, url):
        until(lambda: ask(f"{url}/health").status == 200)
        for child in psutil.Process(process.pid).children(recursive=True):
            send(child, signal.SIGKILL)  # the ssh programs of this devbox
        devbox(project, "ls")
        until(lambda: "forwarded again" in (project / "said.txt").read_text(), 60)
        assert ask(f"{url}/echo", {"again": 1}).body == {"echo": {"again": 1}}
