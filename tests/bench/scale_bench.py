"""A batch over many boxes: what four workers gain, what an item costs beside its own time, and what
this computer does for 100,000 items.

The first two run `devbox run --workers` over real local boxes that are up already; each item sleeps
and writes down from when to when. The third is the coordinator with its board and its store, and
workers that answer at once; ssh and rsync are not in it. Each is a process of its own.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import msgspec

from devbox import lifecycle
from devbox.errors import DevboxError
from devbox.model import Price, Run, RunState
from devbox.scale import recorded
from devbox.state.store import Store
from devbox.workspace import Workspace
from tests.bench.rows import Row, median, ms
from tests.boxes import open_interval
from tests.core.test_state import a_box

_ITEMS, _EACH = 200, 1.0  # seconds
_MANY = 100_000
_DEVBOX = (sys.executable, "-m", "devbox.cli.main")
_TOML = """
[boxes.w]
provider = "local"
idle.after = "30m"
env.TRACE = "{trace}"
[jobs.wait]
module = "wait_job"
args.seconds = {{ type = "float", default = 0.0 }}
inputs.texts = {{ patterns = ["*.txt"], spread = "files" }}
"""
_JOB = """
import os, time
def run(job):
    paths = job.named("texts")
    for name in job.items(paths):
        with job.item(name):
            began = time.time()
            time.sleep(job.args["seconds"])
            job.write(name + ".out", "x")
            with open(os.environ["TRACE"], "a") as stream:
                stream.write(f"{name} {began} {time.time()}\\n")
"""


def rows(home: Path) -> list[Row]:
    """home: an empty folder that is HOME and holds DEVBOX_HOME."""
    return [*_workers(home), _many(home), _plan(home)]


def _workers(home: Path) -> list[Row]:
    root, trace = home / "project", home / "trace"
    root.mkdir()
    (root / "devbox.toml").write_text(_TOML.format(trace=trace))
    (root / "wait_job.py").write_text(_JOB)
    _texts(root, _ITEMS)
    try:
        _run(root, 4, 0.0)  # brings them up
        alone, over = _timed(root, trace, 1)
        four, _ = _timed(root, trace, 4)
    finally:
        ws = Workspace.open(root)
        for box in ws.store.boxes.all():
            with suppress(DevboxError):
                lifecycle.down(ws, box, save=False)
        ws.store.close()
    gain = alone / four
    what = f"{_ITEMS} items of {_EACH:.0f} s in a batch of 4 boxes that are up, against 1"
    added = "an item of a batch beside its own time, between the first and the last"
    return [
        Row(what, ms(four), ms(alone), f"{gain:.2f}×", "≥ 3.6×", gain >= 3.6),
        Row(added, ms(over), "", ms(over), "≤ 20 ms", over <= 0.02),
    ]


def _timed(root: Path, trace: Path, workers: int) -> tuple[float, float]:
    """Seconds of the whole verb, and what came between two items on one worker."""
    trace.unlink(missing_ok=True)
    began = time.time()
    _run(root, workers, _EACH)
    took = time.time() - began
    items = [line.split() for line in trace.read_text().splitlines()]
    assert len({name for name, _, _ in items}) == len(items) == _ITEMS
    first, last = min(float(a) for _, a, _ in items), max(float(b) for _, _, b in items)
    work = sum(float(b) - float(a) for _, a, b in items)
    return took, ((last - first) * workers - work) / _ITEMS


def _run(root: Path, workers: int, seconds: float) -> None:
    words = ("run", "wait", "--workers", str(workers), "-q", "--", "--texts", "texts")
    command = [*_DEVBOX, *words, "--seconds", str(seconds)]
    subprocess.run(command, cwd=root, check=True, capture_output=True)


def _texts(root: Path, count: int) -> None:
    folder = root / "texts"
    folder.mkdir()
    for number in range(count):
        (folder / f"{number}.txt").write_bytes(b"x")


def _many(home: Path) -> Row:
    root = home / "many"
    root.mkdir()
    (root / "devbox.toml").write_text(_TOML.format(trace=home / "trace"))
    _texts(root, _MANY)
    command = [sys.executable, "-m", "tests.bench.scale_coordinator"]
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(command, cwd=root, env=env, check=True, capture_output=True, text=True)
    told = json.loads(done.stdout)
    what = f"{_MANY:,} items planned, given and written down, {told['rounds']} rounds, CPU"
    ok = told["cpu"] <= 60 and told["rss"] <= 500
    return Row(what, ms(told["cpu"]), "", f"{told['rss']:.0f} MB", "≤ 60 s, ≤ 500 MB", ok)


def _plan(home: Path) -> Row:
    """Of 1,000 files, with an earlier run of the very items; the first time asks for offers."""
    root = home / "plan"
    root.mkdir()
    (root / "devbox.toml").write_text(_TOML.format(trace=home / "trace"))
    _texts(root, 1000)
    ws = Workspace.open(root)
    _record(ws.store, root)
    ws.store.close()
    words = ("plan", "wait", "--provider", "local", "--workers", "8", "--json")
    command = [*_DEVBOX, *words, "--", "--texts", "texts"]

    def plan() -> None:
        done = subprocess.run(command, cwd=root, check=True, capture_output=True, text=True)
        assert len(json.loads(done.stdout)["workers"]["rows"]) == 4, done.stdout

    plan()
    before = _cpu()
    plan()
    cpu = _cpu() - before
    took = median(plan, runs=5)
    what = "devbox plan --workers 8 of 1,000 items on record, from the cache"
    return Row(what, ms(took), f"CPU {ms(cpu)}", ms(took), "≤ 300 ms", took <= 0.3)


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _record(store: Store, root: Path) -> None:
    """A run of all texts, as if it had been fetched."""
    at = 1_790_000_000.0
    box = a_box("past", hardware="cpu")
    open_interval(store.ledger, box, Price(1_000_000), at - 1)
    request = {"args": {"seconds": 0.0}, "module": "wait_job", "command": []}
    status = {"counts": {"done": 1000}}
    run = Run("past", box.id, box.name, "wait", RunState.SUCCEEDED, at, at, at + 10_100.0,
              request=msgspec.json.encode({"request": request}),
              status=msgspec.json.encode(status))  # fmt: skip
    store.runs.put(run)
    lines = []
    for number in range(1000):
        item = {"item": f"{number}.txt", "attempt": 1}
        lines.append({"t": at + 10 * number, "state": "started", **item})
        lines.append({"t": at + 10 * number + 10, "state": "done", "seconds": 10.0, **item})
    journal = root / "results" / "past" / recorded.JOURNAL
    journal.parent.mkdir(parents=True)
    journal.write_text("".join(json.dumps(line) + "\n" for line in lines))
