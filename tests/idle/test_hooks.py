"""Programs run to their end within a time."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from devbox.box import processes, run_command
from tests.jobs.conftest import until


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_the_last_of_a_flood_is_kept() -> None:
    done = run_command.run(python("print('x' * 3_000_000); print('the end')"), timeout=60)
    assert done.ok
    assert done.tail.endswith("x\nthe end\n")
    assert len(done.tail) <= 600


def test_both_streams_and_the_code_are_told() -> None:
    done = run_command.run(
        python("import sys; print('out', flush=True); sys.stderr.write('err'); sys.exit(7)"),
        timeout=60,
    )
    assert (done.code, done.tail) == (7, "out\nerr")


def test_all_it_started_is_killed_when_its_time_is_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_command, "_GRACE", 0.5)
    pids = tmp_path / "pids"
    script = f"echo $$ >> {pids}; (trap '' TERM; echo started; sleep 600) & sleep 600"
    began = time.monotonic()
    done = run_command.run(["sh", "-c", script], timeout=0.5)
    assert done.code is None
    assert "started" in done.tail
    assert time.monotonic() - began < 20
    pid = int(pids.read_text())
    until(lambda: not [one for one in processes.table() if one.group == pid and one.state != "Z"])


def test_a_helper_born_after_the_signal_saves_in_the_grace(tmp_path: Path) -> None:
    """Also when the shell above it ends at once."""
    (tmp_path / "save.py").write_text("import time; time.sleep(1); open('ckpt', 'w').close()")
    script = f"(trap '{sys.executable} save.py; exit 0' TERM; sleep 600 & wait) & sleep 600"
    assert run_command.run(["sh", "-c", script], timeout=0.5, cwd=tmp_path).code is None
    assert (tmp_path / "ckpt").exists()


def test_a_background_child_is_not_waited_for() -> None:
    began = time.monotonic()
    done = run_command.run(["sh", "-c", "sleep 5 & echo done"], timeout=60)
    assert done == (0, "done\n")
    assert time.monotonic() - began < 4


def test_it_runs_where_it_is_told(tmp_path: Path) -> None:
    assert run_command.run(["pwd"], timeout=10, cwd=tmp_path).tail.strip() == str(
        tmp_path.resolve()
    )
