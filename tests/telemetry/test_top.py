"""`devbox top`: the picture, and the verb as a user and a script run it."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress

import msgspec
import pytest

from devbox.cli import top_view
from devbox.model import Box, BoxState
from devbox.telemetry.live import LiveTelemetry
from devbox.text_layout import bar
from devbox.wire.messages import Cpu, Gpu, Memory, Process, Sample, Ssh, TopProcess
from devbox.workspace import Workspace
from tests.boxes import rewrite
from tests.remote.sshd import wait_until
from tests.telemetry.conftest import Writer, box_root
from tests.telemetry.test_client import streams_of

GIB = 1 << 30
FULL = Sample(
    "b", 1, 100.0,
    cpu=Cpu(42.4, 8, 1.25), mem=Memory(3 * GIB, 12 * GIB), ssh=Ssh(2, 1, 1), requests=5,
    jobs=("track-1",),
    gpus=(
        Gpu(index=0, name="NVIDIA H100 80GB HBM3", util=97, mem_used=70 * GIB, mem_total=80 * GIB,
            power_w=680.5, power_limit_w=700, temp_c=61, sm_mhz=1980, throttle=("sw_power_cap",),
            ecc_errors=3, processes=(Process(4821, "python3", 69 * GIB),)),
        Gpu(index=1, name="NVIDIA A100-SXM4-40GB", mig=True,
            processes=(Process(4821, "python3", 1 * GIB), Process(None, "\x1b[31mhid\nden"))),
    ),
    processes=(TopProcess(77, "rsync", 180.4, GIB), TopProcess(4821, "python3", 99.6, 2 * GIB)),
)  # fmt: skip


def drawn(cell: LiveTelemetry, now: float = 100.0, width: int = 80) -> str:
    return top_view.plain(top_view.lines(cell, now, width, note="$1.00/h"))


def cell_with(sample: Sample | None) -> LiveTelemetry:
    cell = LiveTelemetry("gpu-box")
    if sample:
        cell.put(sample, now=100.0)
    return cell


def test_the_picture_tells_everything() -> None:
    text = drawn(cell_with(FULL))
    for part in (
        "gpu-box  live  $1.00/h", "42% of 8 cores", "load 1.25", "3.0 GB of 12.0 GB",
        "ssh sessions 2", "requests 5", "GPU0", "H100", "61°C", "680 of 700 W", "1980 MHz", "97%",
        "70.0 GB of 80.0 GB", "throttled: sw_power_cap", "3 uncorrected memory errors",
        "MIG", "track-1",
    ):  # fmt: skip
        assert part in text
    assert " old" not in text


def test_processes_of_gpus_come_first_each_once_and_a_list_is_kept_until_the_next() -> None:
    cell = cell_with(FULL)
    cell.put(FULL._replace(seq=2, processes=None), now=101.0)
    listed = [" ".join(line.split()) for line in drawn(cell).splitlines()[-4:]]
    assert listed == [
        "PID CPU MEM VRAM GPU PROCESS",
        "4821 100% 2.0 GB 70.0 GB 0,1 python3",
        "– – – 0 B 1 hid den",
        "77 180% 1.0 GB – – rsync",
    ]
    without = cell_with(FULL._replace(gpus=()))
    assert "VRAM" not in drawn(without)
    assert drawn(without).splitlines()[-2].split() == ["77", "180%", "1.0", "GB", "rsync"]


def test_unknown_values_are_dashes_never_zeros() -> None:
    text = drawn(cell_with(Sample("b", 1, 1.0, gpus=(Gpu(index=0),))))
    assert " 0%" not in text
    assert "–" in text
    assert "unknown GPU" in text
    assert "GPU    not readable" in drawn(cell_with(Sample("b", 1, 1.0)))
    assert "GPU" not in drawn(cell_with(Sample("b", 1, 1.0, gpus=())))


def test_age_shows_only_once_stale() -> None:
    cell = cell_with(FULL)
    assert " old" not in drawn(cell, now=104.0)
    assert "1m30s old" in drawn(cell, now=190.0)
    cell.fail("cut", "the telemetry of gpu-box cannot be reached")
    assert "cut" in drawn(cell)
    assert "97%" in drawn(cell)


@pytest.mark.parametrize("width", [80, 60, 40, 20, 1])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    long = FULL._replace(jobs=tuple(f"run-{n}" for n in range(100)))
    for sample in (FULL, long, None):
        for row in top_view.lines(cell_with(sample), 1e9, width, note="n" * 100):
            assert len("".join(text for text, _ in row)) <= width


@pytest.mark.parametrize("percent", [None, -5.0, 0.0, 0.1, 33.3, 99.99, 100.0, 1e9])
def test_a_bar_has_its_width(percent: float | None) -> None:
    assert len("".join(text for text, _ in bar(percent, 20))) == 20


def top(*args: str) -> list[str]:
    return [sys.executable, "-m", "devbox.cli.main", "top", *args]


def run(*args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(top(*args), capture_output=True, text=True, timeout=60, check=False)


def test_once_shows_each_running_box_without_colour(watched_box: Box) -> None:
    Writer(box_root(watched_box)).write(5)
    for args in ((), ("b",), ("--once",), ("b", "--once")):
        done = run(*args)
        assert done.returncode == 0, done.stderr
        assert "b  live" in done.stdout
        assert "5% of 2 cores" in done.stdout
        assert "\x1b" not in done.stdout


def test_json_once_and_streaming(watched_box: Box) -> None:
    writer = Writer(box_root(watched_box))
    writer.write(3)
    body = json.loads(run("--json", "--once").stdout)
    assert (body["version"], body["kind"], body["box"]) == (1, "sample", "b")
    assert body["sample"]["seq"] == 3
    assert body["sample"]["gpus"] is None
    with writer.running():
        process = subprocess.Popen(top("b", "--json"), stdout=subprocess.PIPE)
        assert process.stdout
        rows = [json.loads(process.stdout.readline())["sample"]["seq"] for _ in range(20)]
        assert rows == list(range(rows[0], rows[0] + 20))
        process.stdout.close()  # as `| head` does
        assert process.wait(60) == 141
    wait_until(lambda: not streams_of(watched_box), "nothing stays on the box")


def test_live_on_a_terminal_until_ctrl_c(watched_box: Box) -> None:
    with Writer(box_root(watched_box), rate=20).running():
        process, output = on_terminal(top(), until=rb"cores.*cores")
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
    assert b"\x1b[?1049h" in output  # the alternate screen, so the shell's own stays
    wait_until(lambda: not streams_of(watched_box), "nothing stays on the box")


def on_terminal(argv: Sequence[str], until: bytes) -> tuple[subprocess.Popen[bytes], bytes]:
    """Run on a terminal of 80×24, reading until what it drew matches."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        argv, stdin=theirs, stdout=theirs, stderr=theirs,
        env={**os.environ, "TERM": "xterm-256color", "COLUMNS": "80", "LINES": "24"},
    )  # fmt: skip
    os.close(theirs)
    seen, deadline = b"", time.monotonic() + 30
    with suppress(OSError):
        while not re.search(until, seen, re.DOTALL):
            assert time.monotonic() < deadline, seen
            if select.select([ours], [], [], 0.1)[0]:
                seen += os.read(ours, 65536)
    return process, seen


def test_nothing_running_paused_and_dead_samplers_say_so(
    watched_box: Box, local_workspace: Workspace
) -> None:
    done = run("--once")  # no sampler ever wrote: the heartbeat tells
    assert done.returncode == 9
    assert "no sample came from b" in done.stderr
    assert "devbox up b" in done.stderr
    paused = msgspec.structs.replace(watched_box, state=BoxState.PAUSED)
    rewrite(local_workspace.store, paused)
    done = run("b")
    assert done.returncode == 5
    assert "devbox resume b" in done.stderr
    done = run()
    assert done.returncode == 4
    assert "no box is running" in done.stderr
    assert run("nosuch").returncode == 4


def test_richs_console_is_not_imported_without_a_terminal(watched_box: Box) -> None:
    Writer(box_root(watched_box)).write(1)
    code = (
        "import sys; sys.argv = ['devbox', 'top', '--once']\n"
        "from devbox.cli.main import main\n"
        "try: main()\nexcept SystemExit: pass\n"
        "assert 'rich.console' not in sys.modules and 'fabric' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
