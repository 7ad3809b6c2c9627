"""Jobs: what the runner adds to an item, and what overlapping reading and writing gains.

Both adapters wait, as for a GPU, so that the other work of the machine falls on neither side. The
runner's row is a whole run under its supervisor, from the begin of the first item to the end of the
last; the peer is the same adapter in a plain loop in a process of its own, writing plain files.
Runs that wait are held against a share of a core, whatever else the machine does.
"""

from __future__ import annotations

import io
import json
import statistics
import subprocess
import sys
import time
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

from devbox.box import pipeline
from devbox.box.job import Job
from devbox.box.media import pictures
from tests.bench.rows import Row, ms, paired, seconds
from tests.jobs.conftest import BoxHalf

_ITEM, _ITEMS, _RUNS = 0.25, 20, 5  # shorter than an item of a model takes on its GPU
_PICTURES = 10
_QUEUED, _WATCHED = 20, 20.0  # runs, seconds

_ADAPTER = f"""
import time
def adapter(name):
    time.sleep({_ITEM})
    return name.encode() * 100
NAMES = [str(n) for n in range({_ITEMS})]
"""
_JOB = (
    _ADAPTER
    + """
def run(job):
    for name in job.items(NAMES):
        with job.item(name):
            job.write(name + ".txt", adapter(name))
"""
)
_LOOP = (
    _ADAPTER
    + """
import pathlib, sys
began = time.time()
for name in NAMES:
    pathlib.Path(sys.argv[1], name + ".txt").write_bytes(adapter(name))
print(time.time() - began)
"""
)


def rows(home: Path) -> list[Row]:
    """home: an empty folder that is HOME."""
    return [_overhead(home), _overlap(home), _waiting(home)]


def _overhead(home: Path) -> Row:
    box = BoxHalf(home, sys.executable)
    module = box.module(_JOB)
    (home / "plain").mkdir()
    pairs = []
    for number in range(_RUNS):
        pairs.append((_run(box, module, f"r{number}"), _loop(home / "plain")))
    ours, peer = (statistics.median(pair[i] for pair in pairs) / _ITEMS for i in range(2))
    more = statistics.median(a / b for a, b in pairs) - 1
    what = f"an item of {_ITEM * 1000:.0f} ms in a run, against a loop"
    added = f"+{more * 100:.2f} %"
    return Row(what, f"{ours * 1000:.2f} ms", f"{peer * 1000:.2f} ms", added, "≤ 2 %", more <= 0.02)


def _run(box: BoxHalf, module: str, run_id: str) -> float:
    box.start(run_id, module=module)
    assert box.end(run_id, 60)["state"] == "succeeded"
    lines = (box.root / "runs" / run_id / "items.jsonl").read_text().splitlines()
    times = [json.loads(line)["t"] for line in lines]
    return float(times[-1] - times[0])


def _loop(folder: Path) -> float:
    command = [sys.executable, "-c", _LOOP, str(folder)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def _waiting(home: Path) -> Row:
    """What the supervisors of queued runs use of a core, by the kernel's count of their time."""
    box = BoxHalf(home, sys.executable)
    names = [f"w{number}" for number in range(_QUEUED + 1)]
    for name in names:
        box.start(name, command=["sleep", "600"], queue={"max_runs": 1})
    pids = [box.file(name)["supervisor"]["pid"] for name in names[1:]]
    time.sleep(_WATCHED / 2)  # what their starts set off is over
    before, begun = _cpu_seconds(pids), time.monotonic()
    time.sleep(_WATCHED)
    share = 100 * (_cpu_seconds(pids) - before) / (time.monotonic() - begun)
    for name in reversed(names):
        box.job("cancel", name)
    what, told = f"{_QUEUED} runs that wait in the queue of a box", f"{share:.2f} % of a core"
    return Row(what, told, "", told, "≤ 0.2 %", share <= 0.2)


def _cpu_seconds(pids: list[int]) -> float:
    stats = (Path(f"/proc/{pid}/schedstat").read_text() for pid in pids)
    return sum(int(stat.split()[0]) for stat in stats) / 1e9


def _overlap(home: Path) -> Row:
    """Decoding a photograph and compressing an array are real work of as long as the model's."""
    chance = np.random.default_rng(1)
    noise = chance.integers(0, 255, (75, 100, 3), np.uint8)
    out = io.BytesIO()
    Image.fromarray(noise).resize((4000, 3000)).save(out, "JPEG", quality=95)
    names = [str(number) for number in range(_PICTURES)]
    each = statistics.median(seconds(lambda: pictures.load(out.getvalue())) for _ in range(3))
    block = chance.integers(0, 16, 1 << 20, np.uint8).tobytes()
    blocks = max(1, round(each / seconds(lambda: zlib.compress(block, 6))))
    folders = iter(range(1000))

    def load(name: str) -> int:
        return int(pictures.load(out.getvalue()).image.shape[0])

    def work(name: str, loaded: int) -> int:
        time.sleep(each)
        return loaded

    def job() -> Job:
        return Job(home / f"job{next(folders)}")

    def save(made: Job, name: str) -> None:
        made.write(f"{name}.bin", b"".join(zlib.compress(block, 6) for _ in range(blocks)))

    def ours() -> None:
        made = job()
        pipeline.run(made, names, load=load, work=work, save=lambda name, _: save(made, name))

    def naive() -> None:
        made = job()
        for name in made.items(names):
            with made.item(name):
                work(name, load(name))
                save(made, name)

    mine, peer, ratio = paired(ours, naive, runs=3)
    what = f"{_PICTURES} items, decode and write as long as the model ({ms(each)}), against a loop"
    return Row(what, ms(mine), ms(peer), f"{1 / ratio:.2f}×", "≥ 1.3×", 1 / ratio >= 1.3)
