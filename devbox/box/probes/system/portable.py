"""CPU, memory, disk and network where there is no /proc: through psutil if it is installed."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Dict, Optional

from devbox.box.probes.system import Part, Probe
from devbox.box.probes.system.rates import Rate

try:
    import psutil
except ImportError:
    psutil = None  # type: ignore[assignment]  # why: the one way to say that it is missing


def probes(disk: Path) -> Dict[str, Probe]:
    """The four probes; fields psutil would tell are None without it."""
    return {"cpu": _cpu, "mem": _mem, "disk": _Disk(disk).read, "net": _Net().read}


def _cpu(now: float) -> Part:
    return {
        "util": psutil.cpu_percent(None) if psutil else None,
        "count": os.cpu_count(),
        "load1": os.getloadavg()[0],
    }


def _mem(now: float) -> Optional[Part]:
    if not psutil:
        return None
    found = psutil.virtual_memory()
    return {"used": found.total - found.available, "total": found.total}


class _Disk:
    def __init__(self, path: Path) -> None:
        self._path, self._read, self._written = path, Rate(), Rate()

    def read(self, now: float) -> Part:
        fill = shutil.disk_usage(self._path)
        io = psutil.disk_io_counters() if psutil else None
        return {
            "path": str(self._path),
            "used": fill.used,
            "total": fill.total,
            "read_bps": self._read.whole(io.read_bytes if io else None, now),
            "write_bps": self._written.whole(io.write_bytes if io else None, now),
        }


class _Net:
    def __init__(self) -> None:
        self._rx, self._tx = Rate(), Rate()

    def read(self, now: float) -> Optional[Part]:
        if not psutil:
            return None
        io = psutil.net_io_counters()
        return {
            "rx_bps": self._rx.whole(io.bytes_recv, now),
            "tx_bps": self._tx.whole(io.bytes_sent, now),
        }
