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
