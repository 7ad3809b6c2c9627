"""Checks of a box: driver, CUDA, torch, ffmpeg, disk, Python, write access, clock.

Prints one `BoxReport`.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import List

from devbox.box import event_log
from devbox.box.format import size
from devbox.box.paths import root
from devbox.box.probes import gpu
from devbox.box.probes.gpu import health
from devbox.wire.codec import clean, encode
from devbox.wire.messages import BoxReport, Check, Level

_LOW_DISK = 5 * 1024**3
_TORCH = (
    "import torch; print(torch.__version__, torch.version.cuda or 'none', "
    "torch.cuda.is_available(), torch.cuda.device_count())"
)


def main(_: List[str]) -> int:
    """The verb `doctor`."""
    checks = [*_python(), *_tools(), *_disk(), *_write(), *_gpu(), *_torch()]
    sys.stdout.buffer.write(encode(BoxReport(time.time(), tuple(checks))))
    return 0


def _python() -> List[Check]:
    version = ".".join(map(str, sys.version_info[:3]))
    return [Check("ok", f"Python {version} at {sys.executable}")]


def _tools() -> List[Check]:
    checks: List[Check] = []
    for program, why in (("rsync", "sync needs it"), ("git", "save hooks often need it")):
        if shutil.which(program):
            checks.append(Check("ok", f"{program} found"))
        else:
            level: Level = "fail" if program == "rsync" else "warn"
            checks.append(
                Check(level, f"{program} is missing: {why}", f"apt-get install {program}")
            )
    if shutil.which("ffmpeg"):
        checks.append(Check("ok", "ffmpeg found"))
    else:
        fix = "apt-get install ffmpeg, if your jobs decode video with it"
        checks.append(Check("warn", "ffmpeg is missing", fix))
    return checks


def _disk() -> List[Check]:
    checks: List[Check] = []
    for label, path in (("home", Path.home()), ("tmp", Path(tempfile.gettempdir()))):
        free = shutil.disk_usage(path).free
        level: Level = "ok" if free >= _LOW_DISK else "warn"
        fix = "" if level == "ok" else "free some space, or mount a volume for data and checkpoints"
        checks.append(Check(level, f"{size(free)} free in {label} ({path})", fix))
    return checks


def _write() -> List[Check]:
    probe = root() / f".probe-{os.getpid()}"
    try:
        probe.write_bytes(b"x")
        probe.unlink()
    except OSError as error:
        fix = f"make {root()} writable for this user"
        return [Check("fail", f"cannot write to {root()}: {error.strerror}", fix)]
    return [Check("ok", f"can write to {root()}")]


def _gpu() -> List[Check]:
    program = shutil.which("nvidia-smi")
    rows = _rows()
    noted = [*_health(rows), *_recent()]
    if program is None and rows:
        return [*(_listed(row) for row in rows if not row.get("lost")), *noted]
    if program is None:
        fix = "none needed for CPU work; for GPU work choose hardware with one: devbox offers"
        return [Check("warn", "no NVIDIA driver on this box", fix)]
    query = ["--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    try:
        done = subprocess.run(
            [program, *query], capture_output=True, timeout=20, check=False, text=True
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return [Check("fail", f"nvidia-smi does not answer: {error}", "restart the box")]
    if done.returncode:
        said = clean((done.stderr or done.stdout).strip(), 200)
        return [
            Check("fail", f"nvidia-smi fails: {said}", "restart the box, or choose other hardware")
        ]
    lines = [line.strip() for line in done.stdout.splitlines() if line.strip()]
    return [*(Check("ok", f"GPU {line}") for line in lines), *noted]


def _rows(patience: float = 5.0) -> List[gpu.Row]:
    """The GPUs as samples have them: through NVML, also where nvidia-smi is missing."""
    source = gpu.detect()
    try:
        deadline = time.monotonic() + patience
        while (rows := source.read(time.time())) is None and time.monotonic() < deadline:
            time.sleep(0.05)
        return rows or []
    finally:
        source.close()


def _listed(row: gpu.Row) -> Check:
    memory = row.get("mem_total")
    shown = size(memory) if memory is not None else "memory shared with the machine, or not told"
    return Check(
        "ok", f"GPU {row.get('name') or row.get('index')}, {shown} (NVML, no nvidia-smi)", ""
    )


def _health(rows: List[gpu.Row]) -> List[Check]:
    checks: List[Check] = []
    for row in rows:
        index = int(row.get("index") or 0)
        hot = health.hot_reasons(row)
        if row.get("lost"):
            checks.append(
                Check("fail", health.lost_message(index), "devbox pause, then devbox resume")
            )
        if errors := row.get("ecc_errors"):
            fix = "use other hardware; a restart of the box may bring another GPU"
            checks.append(Check("warn", health.ecc_message(index, errors), fix))
        if hot:
            fix = "none from here: its cooling is the provider's, or your machine's"
            checks.append(Check("warn", health.hot_message(index, hot), fix))
    return checks


def _recent() -> List[Check]:
    """What the watchdog noted of GPUs in the last day; an Xid shows in no reading."""
    since = time.time() - 24 * 3600
    found = [e for e in event_log.read(root()) if e.kind == health.XID and e.t >= since]
    fix = "restart the program; if it comes again, use other hardware"
    return [Check("warn", event.message, fix) for event in found[-3:]]


def _torch() -> List[Check]:
    if importlib.util.find_spec("torch") is None:
        return [Check("ok", "torch is not installed (fine unless your work needs it)")]
    try:
        done = subprocess.run(
            [sys.executable, "-c", _TORCH],
            cwd="/",  # else modules of the current folder come first
            capture_output=True,
            timeout=120,
            check=False,
            text=True,
        )
    except subprocess.TimeoutExpired:
        return [Check("fail", "importing torch takes over two minutes", "look at the disk's speed")]
    words = done.stdout.split()
    if done.returncode or len(words) != 4:
        last = clean(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "", 200)
        return [
            Check("fail", f"torch does not import: {last}", "install it again: pip install torch")
        ]
    version, cuda, available, count = words
    if available == "True":
        return [Check("ok", f"torch {version} with CUDA {cuda} sees {count} GPU(s)")]
    if cuda == "none":
        return [Check("ok", f"torch {version}, a CPU build")]
    fix = "the driver may be older than this CUDA: choose an image with an older one"
    return [Check("fail", f"torch {version} is built for CUDA {cuda} but sees no GPU", fix)]
