"""Who a process is, also by a process table with a line that cannot be read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from devbox.box import processes


@pytest.fixture
def proc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A /proc with a process 7 and the kernel's own boot id."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text()
    (tmp_path / "sys/kernel/random").mkdir(parents=True)
    (tmp_path / "sys/kernel/random/boot_id").write_text(boot)
    line = Path(f"/proc/{os.getpid()}/stat").read_text()
    _, _, rest = line.rpartition(")")
    (tmp_path / "7").mkdir()
    (tmp_path / "7/stat").write_text(f"7 (a) b ( c){rest}")
    monkeypatch.setattr(processes, "PROC", str(tmp_path))
    return tmp_path


def test_a_name_may_hold_what_the_line_is_made_of(proc: Path) -> None:
    who = processes.identity(7)
    assert who is not None
    assert processes.is_alive(who)
    assert [process.pid for process in processes.table()] == [7]


@pytest.mark.parametrize("text", ["", "7", "7 (half", "7 (a) S 1"])
def test_a_line_that_cannot_be_read_is_no_word_that_the_process_is_gone(
    proc: Path, text: str
) -> None:
    who = processes.identity(7)
    (proc / "8").mkdir()
    (proc / "8/stat").write_text((proc / "7/stat").read_text())
    (proc / "7/stat").write_text(text)
    with pytest.raises(ValueError, match="/7/stat reads"):
        processes.is_alive(who)
    assert [process.pid for process in processes.table()] == [8]


def test_parents_are_asked_to_end_before_what_they_have_started(
    proc: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever their pids: 40 has started 9, which has started 30 and 8."""
    line = (proc / "7/stat").read_text().rpartition(")")[2].split()
    for pid, parent in ((9, 40), (30, 9), (8, 9), (40, 7)):
        (proc / str(pid)).mkdir()
        fields = [line[0], str(parent), *line[2:]]
        (proc / f"{pid}/stat").write_text(f"{pid} (work) {' '.join(fields)}")
    asked: list[int] = []
    monkeypatch.setattr(os, "kill", lambda pid, number: asked.append(pid))
    processes.ask_to_end({8, 9, 30, 40})
    assert asked[:2] == [40, 9]
    assert sorted(asked[2:]) == [8, 30]
