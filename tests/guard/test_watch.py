"""The process that stays: one a DEVBOX_HOME, small, and gone at once when it is asked to go."""

from __future__ import annotations

import os
import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from devbox import paths
from devbox.errors import Busy
from devbox.guard import place, report
from devbox.guard.round import read_status
from devbox.state.store import Store
from devbox.workspace import Workspace
from tests.command_line import Devbox
from tests.processes import alive
from tests.remote.sshd import wait_until

GUARD = [sys.executable, "-P", "-m", "devbox.guard"]


@pytest.fixture
def guard(home: Path) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(GUARD, stderr=subprocess.PIPE)
    yield process
    process.kill()
    process.communicate()


def test_it_looks_at_once_and_a_second_one_says_who_runs(
    guard: subprocess.Popen[bytes], devbox: Devbox
) -> None:
    wait_until(lambda: read_status() is not None, "it looked")
    assert place.running() == guard.pid
    second = subprocess.run(GUARD, capture_output=True, text=True, check=False)
    assert second.returncode == Busy.exit_code
    assert f"a guard runs already (process {guard.pid})" in second.stderr
    assert f"process {guard.pid}" in devbox("guard").err
    assert f"a guard runs (process {guard.pid})" in devbox("guard", "--status").out
    assert devbox("guard", "--status", "--json").data["process"] == guard.pid
    guard.terminate()
    assert guard.wait(5) == 0
    assert place.running() is None
    assert devbox("guard", "--status").out.startswith("no guard runs, not installed")


@pytest.mark.real_time
def test_it_ends_within_a_second_in_the_middle_of_a_round(home: Path) -> None:
    Store.open().close()
    holder = sqlite3.connect(paths.state_db(), isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")  # a round waits for this
    process = subprocess.Popen(GUARD, stderr=subprocess.DEVNULL)
    try:
        this = psutil.Process(process.pid)
        wait_until(lambda: bool(this.children()), "a round began")
        (child,) = this.children()
        process.send_signal(signal.SIGTERM)
        assert process.wait(1) == 0
        assert not alive(child)
        assert this.pid not in {each.ppid() for each in psutil.process_iter()}
    finally:
        process.kill()
        holder.close()


def test_a_round_comes_when_it_is_asked_for(guard: subprocess.Popen[bytes]) -> None:
    wait_until(lambda: read_status() is not None, "it looked")
    first = read_status()
    assert first is not None

    def again() -> bool:
        os.kill(guard.pid, signal.SIGUSR1)
        now = read_status()
        return now is not None and now.at > first.at

    wait_until(again, "it looked again")


def test_what_stays_in_memory_imports_little() -> None:
    """40 MB is the promise, and each of these libraries would be a part of it."""
    code = "import sys, devbox.guard.__main__; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, check=True)
    loaded = {name.split(".")[0] for name in done.stdout.decode().split()}
    heavy = {"click", "msgspec", "sqlite3", "httpx2", "huggingface_hub", "asyncio", "cronsim"}
    assert not heavy & loaded
    ours = {name for name in done.stdout.decode().split() if name.startswith("devbox")}
    assert not re.search(r"providers|state|lifecycle|spec", " ".join(ours))


def test_the_doctor_says_whether_one_runs_and_whether_one_is_needed(
    home: Path, devbox: Devbox, guard: subprocess.Popen[bytes]
) -> None:
    wait_until(lambda: place.running() is not None, "it runs")
    ws = Workspace.open(home)
    assert report.check(ws).what == f"a guard runs (process {guard.pid})"
    guard.terminate()
    guard.wait(5)
    assert (report.check(ws).level, report.check(ws).fix) == ("ok", "")
    (home / "devbox.toml").write_text('[boxes.dev]\npause_at = "20:00"\n')
    assert report.check(Workspace.open(home)).level == "warn"


def test_schedule_lists_what_is_kept_by_what(devbox: Devbox, project: Path) -> None:
    assert "no schedules" in devbox("schedule").err
    (project / "devbox.toml").write_text(
        'timezone = "UTC"\n[boxes.dev]\npause_at = "20:00"\nschedule = "0 8 * * 1-5"\n'
        '[jobs.night]\ncommand = ["x"]\nschedule = "30 2 * * *"\n'
    )
    before = devbox("schedule")
    assert "boxes.dev.schedule does not count before: devbox trust" in before.err
    assert "no guard runs" in before.err
    devbox("trust", "--yes")
    rows = devbox("schedule", "--json").data["schedules"]
    assert [(row["verb"], row["name"], row["kept_by"]) for row in rows] == [
        ("up", "dev", "nothing"),
        ("pause", "dev", "nothing"),
        ("run", "night", "nothing"),
    ]
    lines = devbox("schedule").out.splitlines()
    assert lines[1].startswith("up dev")
    assert "08:00 of" in lines[1]
    handle = place.hold()
    assert "no guard runs" not in devbox("schedule").err
    os.close(handle)


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ('[boxes.b]\nschedule = "0 8 * *"', "five fields"),
        ('[boxes.b]\npause_at = "25:00"', "five fields"),
        ('[boxes.b]\nschedule = "0 0 31 2 *"', "day-of-month"),
        ('timezone = "Mars/Olympus"\n[boxes.b]', "no time zone"),
        ('[boxes.b]\nprovider = "hf-job"\ncommand = ["x"]\npause_at = "8:00"', "ends with its"),
        ('[services.s]\ncommand = ["x"]\nport = 1\nschedule = "0 8 * * *"', "no schedule"),
    ],
)
def test_a_schedule_that_cannot_be_kept_is_refused(
    devbox: Devbox, project: Path, table: str, said: str
) -> None:
    (project / "devbox.toml").write_text(table + "\n")
    done = devbox("schedule")
    assert done.code == 3
    assert said in done.err
    assert "fix:" in done.err
