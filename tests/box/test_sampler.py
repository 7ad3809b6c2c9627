"""The sampler as a whole: its schema, what it costs, and the oldest Python it must run under."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from devbox.box import paths, processes
from devbox.box.probes import gpu
from devbox.box.probes.gpu import Source, detect
from devbox.box.probes.gpu.smi import Smi
from devbox.box.probes.sampler import Sampler
from devbox.box.runs.folder import RunFolder
from devbox.telemetry.reader import parse
from devbox.wire.jobs import JobStatus
from devbox.wire.messages import Sample
from tests.box.fake_nvml import FIXTURES, FakeNvml

REPO = Path(__file__).parents[2]


class Fixed(Source):
    """GPUs that are always the same."""

    def __init__(self) -> None:
        self.closed = False

    def read(self, now: float) -> gpu.Reading:
        return [{"index": 0, "name": "NVIDIA A10G", "util": 97, "processes": []}]

    def close(self) -> None:
        self.closed = True


def test_a_sample_has_every_part_and_reads_back() -> None:
    source = Fixed()
    sampler = Sampler(paths.root(), gpus=source)
    first, second = sampler.sample(100.0), sampler.sample(101.0)
    assert list(first) == [
        "v", "boot", "seq", "t", "cpu", "mem", "disk", "net", "ssh", "requests", "in_flight",
        "jobs", "waiting", "gpus",
    ]  # fmt: skip
    assert (first["boot"], first["seq"], second["seq"]) == (second["boot"], 1, 2)
    read = parse(json.dumps(second).encode())
    assert isinstance(read, Sample)
    assert read.position == (sampler.boot, 2)
    assert read.mem.total
    assert read.disk.total
    assert read.gpus
    assert read.gpus[0].util == 97
    assert read.jobs == ()
    sampler.close()
    assert source.closed


def test_each_run_has_its_own_boot() -> None:
    boots = {Sampler(paths.root(), gpus=Source()).boot for _ in range(20)}
    assert len(boots) == 20


def test_requests_of_services_are_summed_and_a_ready_one_is_no_job() -> None:
    """Two services and a job that this process supervises; damage counts as nothing."""
    runs = [RunFolder(name) for name in ("one", "two", "job")]
    for run in runs:
        run.path.mkdir()
        run.write_status(JobStatus(state="running", supervisor=processes.identity(os.getpid())))
    one, two, _ = runs
    sampler = Sampler(paths.root(), gpus=Source())
    seen = iter(range(0, 1000, 10))

    def look() -> tuple[Any, ...]:
        found = sampler.sample(float(next(seen)))
        return found["requests"], found["in_flight"], found["jobs"]

    assert look() == (None, None, ["job", "one", "two"])
    one.served.write_text('{"count": 0, "in_flight": 0}')
    one.serving_mark.touch()
    assert look() == (0, 0, ["job", "two"])
    two.served.write_text('{"count": 5, "in_flight": 2}')
    two.serving_mark.touch()
    one.served.write_text('{"count": 4, "in_flight": 1}')
    assert look() == (9, 3, ["job"])
    one.served.write_text('{"count": 1, "in_flight": 0}')  # started again
    assert look() == (10, 2, ["job"])
    for text in ('{"count": "x"}', '{"count": true}', "[1]", "{", ""):
        two.served.write_text(text)
        assert look() == (10, 0, ["job"])
    for run in runs:
        run.write_status(JobStatus(state="failed"))
    assert look() == (10, None, [])
    assert not one.served.exists()
    assert not one.serving_mark.exists()


def test_a_run_that_waits_for_a_round_is_no_job() -> None:
    run = RunFolder("part")
    run.path.mkdir()
    run.write_status(JobStatus(state="running", supervisor=processes.identity(os.getpid())))
    sampler = Sampler(paths.root(), gpus=Source())
    seen = iter(range(0, 1000, 10))

    def look() -> tuple[Any, ...]:
        found = sampler.sample(float(next(seen)))
        return found["jobs"], found["waiting"]

    assert look() == (["part"], [])
    run.waiting_mark.touch()
    assert look() == ([], ["part"])
    run.waiting_mark.unlink()
    assert look() == (["part"], [])
    run.waiting_mark.touch()
    run.write_status(JobStatus(state="failed"))
    assert look() == ([], [])
    assert not run.waiting_mark.exists()
    run.write_status(JobStatus(state="queued", supervisor=processes.identity(os.getpid())))
    run.queued.write_text("{}")
    assert look() == ([], [run.id])
    run.write_status(JobStatus(state="cancelled"))
    assert look() == ([], [])
    assert not run.queued.exists()


def test_a_part_that_fails_leaves_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    sampler = Sampler(paths.root(), gpus=Source())

    def fail(now: float) -> dict[str, Any]:
        raise OSError("no disk")

    sampler._probes["disk"] = fail
    found = sampler.sample(1.0)
    assert found["disk"] is None
    mem = found["mem"]
    assert isinstance(mem, dict)
    assert mem["total"]


def test_nvml_is_chosen_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml("nvml-h100-550.json"))
    found = detect()
    assert found.name == "nvml"
    rows = found.read(1.0)
    assert rows is not None
    assert len(rows) == 2


def test_then_nvidia_smi_then_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(gpu, "_WSL_SMI", str(tmp_path / "wsl"))
    assert detect().read(1.0) == []
    tool = tmp_path / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\n/bin/cat {FIXTURES / 'smi-a10g-535.csv'}\n")
    tool.chmod(0o755)
    found = detect()
    assert isinstance(found, Smi)
    found.close()


_BUDGET = """
import json, re, time
from devbox.box import paths, processes
from devbox.box.history import History
from devbox.box.probes.sampler import Sampler
sampler, history = Sampler(paths.root()), History(paths.root() / "history")
def step(now):
    assert history.append(sampler.sample(now))
for second in range(30):
    step(1000.0 + second)
used = time.process_time()
for second in range(600):
    step(2000.0 + second)
used = time.process_time() - used
# not ru_maxrss: that one still holds the peak of whoever started us
peak = re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())
print(json.dumps({"ms": used / 600 * 1000, "rss": int(peak[1]) * 1024}))
"""


def test_ten_minutes_of_sampling_stay_in_budget() -> None:
    """At 1 Hz: 0.5 % of a core is 5 ms a sample. 25 MB of memory."""
    done = subprocess.run(
        [sys.executable, "-c", _BUDGET], capture_output=True, check=True, cwd=REPO, env=os.environ
    )
    cost = json.loads(done.stdout)
    assert cost["ms"] < 5
    assert cost["rss"] < 25 << 20


_TAKE_ONE = """
import compileall, importlib, json, pkgutil, sys
assert sys.version_info[:2] == tuple(json.loads(sys.argv[1])), sys.version
import devbox.box
for module in pkgutil.walk_packages(devbox.box.__path__, "devbox.box."):
    if not module.name.startswith("devbox.box.jobs."):
        importlib.import_module(module.name)
assert "msgspec" not in sys.modules and "devbox.errors" not in sys.modules
from pathlib import Path
from devbox.box import paths, processes
from devbox.box.history import History, Tail
from devbox.box.probes.sampler import Sampler
sampler, history = Sampler(paths.root()), History(paths.root() / "history", segment_bytes=2000)
for second in range(20):
    assert history.append(sampler.sample(100.0 + second))
tail = Tail(paths.root() / "history")
assert [row.seq for row in tail.poll()] == list(range(1, 21))
print(json.dumps(sampler.sample(200.0)))
"""


def oldest_python() -> tuple[str, list[int]]:
    """The oldest Python from 3.9 on that is on the PATH and starts; at worst this one."""
    for minor in range(9, sys.version_info.minor + 1):
        program = shutil.which(f"python3.{minor}")
        if program:
            shown = subprocess.run(
                [program, "-c", "import sys; print(*sys.version_info[:2])"],
                capture_output=True,
                text=True,
                check=False,
            )
            if shown.stdout.split() == ["3", str(minor)]:
                return program, [3, minor]
    return sys.executable, list(sys.version_info[:2])


def test_the_box_half_runs_under_the_oldest_python_at_hand(tmp_path: Path) -> None:
    """Imported whole, without site-packages, as a bare box has it."""
    program, version = oldest_python()
    done = subprocess.run(
        [program, "-S", "-c", _TAKE_ONE, json.dumps(version)],
        capture_output=True,
        text=True,
        check=False,
        cwd=REPO,
        env={**os.environ, "PYTHONPATH": str(REPO), "PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert isinstance(parse(done.stdout.encode()), Sample)


def test_a_sample_never_waits_long(monkeypatch: pytest.MonkeyPatch) -> None:
    sampler = Sampler(paths.root(), gpus=Source())
    sampler.sample(1.0)
    began = time.monotonic()
    for second in range(100):
        sampler.sample(2.0 + second)
    assert time.monotonic() - began < 5
