"""What this machine has to offer, and whether a box can run on it."""

from __future__ import annotations

import os
import shutil
import socket
from pathlib import Path

import psutil

from devbox import process
from devbox.errors import DevboxError
from devbox.model import Hardware
from devbox.providers.base import Finding
from devbox.text import clean, size

CPU, GPU = "cpu", "gpu"
_MIB = 1024**2
_LITTLE = 2 * 1024**3


def names() -> tuple[str, ...]:
    """Names of this machine's hardware, cheaply: the driver's tool is found, not run."""
    return (CPU, GPU) if shutil.which("nvidia-smi") else (CPU,)


def detect(root: Path) -> list[Hardware]:
    """The machine without its GPUs, and with all of them when it has any. root: on which disk."""
    machine = Hardware(
        CPU,
        cpus=os.cpu_count() or 1,
        memory=psutil.virtual_memory().total,
        disk=shutil.disk_usage(root).total,
    )
    gpus = _gpus() if GPU in names() else []
    if not gpus:
        return [machine]
    kinds = sorted({name for name, _ in gpus})
    return [
        machine,
        Hardware(
            GPU,
            gpu=", ".join(kinds),
            gpus=len(gpus),
            # GPUs of which none tells its memory share the machine's.
            vram=sum(memory for _, memory in gpus) or machine.memory,
            cpus=machine.cpus,
            memory=machine.memory,
            disk=machine.disk,
        ),
    ]


def checks(root: Path) -> list[Finding]:
    """Whether boxes can run here, and on which GPU."""
    free = shutil.disk_usage(root).free
    disk = f"{size(free)} free for local boxes"
    found = [
        ("ok", disk, "")
        if free > _LITTLE
        else ("warn", disk, f"free some space, or move DEVBOX_HOME off {root}")
    ]
    try:
        with socket.create_server(("127.0.0.1", 0)):
            found.append(("ok", "local boxes can listen on 127.0.0.1", ""))
    except OSError as error:
        fix = "allow listening on loopback (sandbox or firewall)"
        found.append(("fail", f"cannot listen on 127.0.0.1: {error.strerror}", fix))
    if not Path("/bin/bash").exists():
        found.append(("warn", "no /bin/bash: sessions get /bin/sh", "install bash"))
    gpu = detect(root)[-1]
    found.append(("ok", f"its GPU is {gpu.gpu}" if gpu.gpus else "no NVIDIA GPU: CPU boxes", ""))
    return found


def _gpus() -> list[tuple[str, int]]:
    """(name, bytes of memory) of each GPU; none when the driver does not answer."""
    query = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader,nounits"]
    try:
        listing = process.run(query, timeout=20).out
    except DevboxError:
        return []  # why: a tool without a working driver is a machine without a usable GPU
    found = []
    for line in listing.splitlines()[:64]:
        name, _, memory = line.rpartition(",")
        memory = memory.strip()
        found.append((clean(name.strip(), 60), int(memory) * _MIB if memory.isdecimal() else 0))
    return found
