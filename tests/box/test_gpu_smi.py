"""GPUs through a running nvidia-smi: its lines, and the child that prints them."""

from __future__ import annotations

import os
import signal
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil
import pytest

from devbox.box.probes.gpu import Row
from devbox.box.probes.gpu.csv import FIELDS, parse_gpu, parse_process, without
from devbox.box.probes.gpu.smi import Smi
from tests.box.fake_nvml import FIXTURES

MIB = 1 << 20
ALL = list(FIELDS)


def row(name: str, line: int = 0, fields: list[str] | None = None) -> Row:
    text = (FIXTURES / name).read_text().splitlines()[line]
    found = parse_gpu(text, fields or ALL)
    assert found is not None
    return found


def test_a_line_becomes_a_gpu() -> None:
    assert row("smi-a10g-535.csv") == {
        "index": 0,
        "uuid": "GPU-0f3f6a6e-5e8e-6d1c-9a55-0b6a2f6f2a10",
        "name": "NVIDIA A10G",
        "util": 97,
        "mem_util": 61,
        "mem_used": 18321 * MIB,
        "mem_total": 23028 * MIB,
        "power_w": 298.61,
        "power_limit_w": 300.0,
        "temp_c": 71,
        "sm_mhz": 1560,
        "mem_mhz": 6250,
        "throttle": ["sw_power_cap"],
        "ecc_errors": 0,
        "mig": False,
        "lost": False,
        "xid": None,
    }


def test_eight_gpus_keep_their_own_values() -> None:
    rows = [row("smi-8xh100-550.csv", i) for i in range(8)]
    assert [r["index"] for r in rows] == list(range(8))
    assert rows[3]["throttle"] == ["hw_slowdown", "sw_thermal", "hw_thermal"]
    assert rows[5]["ecc_errors"] == 2
    assert rows[7]["util"] == 0


@pytest.mark.parametrize(
    ("name", "nulls"),
    [
        ("smi-geforce-470.csv", {"power_limit_w", "ecc_errors"}),
        ("smi-a100-mig-535.csv", {"util", "mem_util"}),
        ("smi-wsl-551.csv", {"power_limit_w", "ecc_errors"}),
    ],
)
def test_what_a_card_does_not_tell_is_null(name: str, nulls: set[str]) -> None:
    found = row(name)
    assert {key for key, value in found.items() if value is None} == {*nulls, "xid"}
    assert found["mig"] is ("mig" in name)


def test_a_lost_gpu_is_listed_with_nulls() -> None:
    found = row("smi-lost-550.csv", 1)
    assert found["index"] == 1
    assert found["lost"] is True
    assert [v for k, v in found.items() if k not in ("index", "mig", "lost")] == [None] * 14


@pytest.mark.parametrize(
    "line",
    [
        "",
        "garbage",
        "x, y",
        "0, only, three",
        "-1" + ", 1" * 14,
        "é" * 50,
        "," * 14,
        "²" + ", 1" * 14,
    ],
)
def test_other_lines_are_nothing(line: str) -> None:
    assert parse_gpu(line, ALL) is None
    assert parse_process(line) is None


def test_processes_with_odd_names_and_hidden_memory() -> None:
    lines = (FIXTURES / "apps-a10g-535.csv").read_text().splitlines()
    first, second = map(parse_process, lines)
    assert first
    assert first[1] == {"pid": 4821, "name": "python", "mem_used": 17204 * MIB}
    assert second
    assert second[1]["name"] == "my,"
    hidden = parse_process((FIXTURES / "apps-a100-mig-535.csv").read_text().strip())
    assert hidden
    assert hidden[1] == {"pid": 777, "name": None, "mem_used": None}


def test_refused_fields_are_asked_by_their_other_name_then_dropped() -> None:
    old, new = "clocks_throttle_reasons.active", "clocks_event_reasons.active"
    once = without(ALL, f'Field "{old}" is not a valid field to query.')
    assert new in once
    assert old not in once
    assert parse_gpu((FIXTURES / "smi-a10g-535.csv").read_text().strip(), once) is not None
    twice = without(once, f'Field "{new}" is not a valid field to query.')
    assert len(twice) == len(ALL) - 1
    assert without(["index"], 'Field "index" is not a valid field to query.') == []


class Tool:
    """An nvidia-smi of shell: prints files, at a pace and with the failures a test wants."""

    def __init__(self, folder: Path) -> None:
        self.path, self.folder = folder / "nvidia-smi", folder
        self.now = 0.0

    def write(self, gpu: str, apps: str = "true") -> None:
        """Shell code for the long-lived query and for the process query."""
        self.path.write_text(
            f'#!/bin/sh\necho "$@" >> {self.folder}/calls\n'
            f'case "$1" in --query-gpu*)\n{gpu}\n;; *)\n{apps}\n;; esac\n'
        )
        self.path.chmod(self.path.stat().st_mode | stat.S_IXUSR)

    def calls(self, what: str) -> int:
        path = self.folder / "calls"
        return path.read_text().count(what) if path.exists() else 0


def loop(name: str) -> str:
    return f"while cat {FIXTURES / name}; do sleep 0.05; done"


@pytest.fixture
def tool(tmp_path: Path) -> Tool:
    return Tool(tmp_path)


@pytest.fixture
def smi(tool: Tool) -> Iterator[Smi]:
    source = Smi(str(tool.path), clock=lambda: tool.now)
    yield source
    source.close()
    assert not [words for words in children().values() if "nvidia-smi" in " ".join(words)]


def until(smi: Smi, good: Callable[[Any], bool], step: Callable[[], None] = lambda: None) -> Any:
    """Read until a reading is `good`; never may a reading take long."""
    deadline = time.monotonic() + 120
    while True:
        began = time.monotonic()
        found = smi.read(0.0)
        assert time.monotonic() - began < 1.0
        if good(found):
            return found
        assert time.monotonic() < deadline, found
        step()
        time.sleep(0.01)


def test_one_child_serves_many_readings(tool: Tool, smi: Smi) -> None:
    tool.write(loop("smi-8xh100-550.csv"), f"cat {FIXTURES / 'apps-8xh100-550.csv'}")
    rows = until(smi, lambda r: r is not None and len(r) == 8 and r[0]["processes"] is not None)
    assert rows[0]["processes"] == [{"pid": 9000, "name": "python3", "mem_used": 70110 * MIB}]
    assert rows[7]["processes"] == []
    for _ in range(50):
        smi.read(0.0)
    assert tool.calls("--query-gpu") == 1
    assert tool.calls("--query-compute-apps") == 1  # until 5 s have passed
    tool.now += 5.1
    until(smi, lambda _: tool.calls("--query-compute-apps") == 2)


def test_an_old_driver_is_asked_again_without_the_field(tool: Tool, smi: Smi) -> None:
    tool.write(
        f'case "$1" in *mig.mode*) cat {FIXTURES / "smi-t4-418-refusal.txt"}; exit 2;; esac\n'
        + loop("smi-t4-418.csv")
    )
    (found,) = until(smi, bool)
    assert found["mem_total"] == 15079 * MIB
    assert found["mig"] is None
    assert tool.calls("--query-gpu") == 2


def test_a_gpu_that_falls_off_the_bus_while_it_runs_is_lost(tool: Tool, smi: Smi) -> None:
    """nvidia-smi then prints one line and ends, without the values of anything."""
    gone = "Unable to determine the device handle for GPU0000:01:00.0: GPU is lost.  Reboot."
    tool.write(
        f'[ -e {tool.folder}/gone ] && {{ echo "{gone}"; exit 15; }}\n'
        f"cat {FIXTURES / 'smi-a10g-535.csv'}; touch {tool.folder}/gone"
    )
    until(smi, lambda rows: bool(rows) and rows[0]["lost"] is False)

    def later() -> None:
        tool.now += 1.0

    (found,) = until(smi, lambda rows: bool(rows) and rows[0]["lost"] is True, later)
    assert found["util"] is None


def test_one_of_several_gpus_that_is_lost_makes_none_of_the_others_lost(
    tool: Tool, smi: Smi
) -> None:
    gone = "Unable to determine the device handle for GPU 0000:65:00.0: GPU is lost.  Reboot."
    tool.write(
        f'[ -e {tool.folder}/gone ] && {{ echo "{gone}"; exit 15; }}\n'
        f"cat {FIXTURES / 'smi-8xh100-550.csv'}; touch {tool.folder}/gone"
    )
    until(smi, lambda rows: bool(rows) and len(rows) == 8)

    def later() -> None:
        tool.now += 1.0

    found = until(smi, lambda rows: bool(rows) and rows[0]["util"] is None, later)
    assert [row["lost"] for row in found] == [False] * 8


def test_a_dead_child_is_replaced_with_growing_waits(tool: Tool, smi: Smi) -> None:
    tool.write(f"cat {FIXTURES / 'smi-no-driver.txt'}; exit 9")
    starts: list[float] = []

    def step() -> None:
        if tool.calls("--query-gpu") > len(starts):
            starts.append(tool.now)
        tool.now += 0.5

    until(smi, lambda _: len(starts) == 5, step)
    waits = [after - before for before, after in pairwise(starts)]
    assert all(later >= earlier for earlier, later in pairwise(waits))
    assert waits[-1] >= 8
    assert smi.read(0.0) is None  # a broken driver is not "no GPU"


def test_a_hung_child_hangs_nobody_turns_null_and_is_replaced(tool: Tool, smi: Smi) -> None:
    tool.write(f"cat {FIXTURES / 'smi-a10g-535.csv'}; exec sleep 1000")
    until(smi, bool)
    tool.now += 4.9
    assert smi.read(0.0)[0]["util"] == 97  # type: ignore[index]
    tool.now += 0.2
    stale = smi.read(0.0)
    assert stale is not None
    assert stale[0]["util"] is None
    assert stale[0]["name"] == "NVIDIA A10G"
    until(smi, lambda _: ["sleep", "1000"] in children().values())  # a moment after its output
    (child,) = [pid for pid, words in children().items() if words == ["sleep", "1000"]]
    tool.now += 15
    until(smi, lambda _: child not in children())
    tool.now += 2
    until(smi, lambda r: r[0]["util"] == 97)
    assert tool.calls("--query-gpu") == 2


def test_no_devices_is_an_empty_list(tool: Tool, smi: Smi) -> None:
    tool.write(f"cat {FIXTURES / 'smi-no-devices.txt'}; exit 6")
    assert until(smi, lambda r: r is not None) == []


def test_half_a_line_is_kept_for_its_other_half(tool: Tool, smi: Smi) -> None:
    line = (FIXTURES / "smi-a10g-535.csv").read_text().strip()
    tool.write(f"printf '%s' '{line[:40]}'; sleep 0.1; printf '%s\\n' '{line[40:]}'; exec sleep 99")
    (found,) = until(smi, bool)
    assert found["util"] == 97


def test_a_child_that_prints_without_end_does_not_hold_us(tool: Tool, smi: Smi) -> None:
    tool.write("exec yes no-newline-in-sight-" + "x" * 2000)
    until(smi, lambda _: tool.calls("--query-gpu") == 1)
    for _ in range(20):
        assert smi.read(0.0) is None


def test_the_child_ends_when_the_agent_is_killed(tool: Tool) -> None:
    """It writes into a pipe nobody reads any more."""
    tool.write(loop("smi-a10g-535.csv"))
    pid = os.fork()
    if pid == 0:
        try:
            source = Smi(str(tool.path))
            while not source.read(0.0):
                time.sleep(0.01)
            os.kill(os.getpid(), signal.SIGKILL)
        finally:
            os._exit(1)
    os.waitpid(pid, 0)
    deadline = time.monotonic() + 120
    while any(str(tool.path) in words for words in command_lines()):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def children() -> dict[int, list[str]]:
    """Our live children and their command lines."""
    found = {}
    for process in psutil.Process().children():
        with suppress(psutil.NoSuchProcess):  # a zombie, too
            found[process.pid] = process.cmdline()
    return found


def command_lines() -> list[list[str]]:
    return [process.info["cmdline"] or [] for process in psutil.process_iter(["cmdline"])]
