"""What watching costs: the armed agent of a real local box, and a stream of it."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path

import psutil

from devbox import paths, spec
from devbox.remote import agent_bootstrap
from devbox.telemetry.client import open_stream
from devbox.workspace import Workspace
from tests.bench.rows import Row, ms

_SECONDS = 60
_SAMPLES = 20


def rows(home: Path) -> list[Row]:
    """home: an empty folder that is HOME and holds DEVBOX_HOME."""
    devbox = str(Path(sys.executable).parent / "devbox")
    project = Path(tempfile.mkdtemp(dir=home))
    (project / "devbox.toml").write_text("[boxes.b]\n")
    subprocess.run([devbox, "up", "-q"], cwd=project, check=True, capture_output=True)
    ws = Workspace(spec.load(project / "devbox.toml"))
    try:
        box = ws.box("b")
        root = paths.local_boxes() / box.token / "home" / agent_bootstrap.FOLDER
        agent = psutil.Process(json.loads((root / "agent.json").read_text())["pid"])
        list(islice(open_stream(box), 3))  # it has settled
        before = _cpu(agent)
        time.sleep(_SECONDS)  # the thing measured is a rate over time
        share = (_cpu(agent) - before) / _SECONDS * 100
        rss = agent.memory_info().rss / 1e6
        delays = [time.time() - sample.t for sample in islice(open_stream(box), 2, _SAMPLES + 2)]
    finally:
        ws.store.close()
        subprocess.run([devbox, "down", "b", "--yes"], cwd=project, check=True, capture_output=True)
    late = statistics.median(delays)
    core, memory = f"{share:.2f} %", f"{rss:.1f} MB"
    return [
        Row("agent at 1 Hz, share of a core", core, "", core, "≤ 0.5 %", share <= 0.5),
        Row("agent at 1 Hz, memory", memory, "", memory, "≤ 25 MB", rss <= 25),
        Row("sample taken → at the client", ms(late), "", ms(late), "", None),
    ]


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system + times.children_user + times.children_system)
