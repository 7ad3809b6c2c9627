"""CPU, memory, disk and network of a Linux box from /proc, and from its cgroup in a container.

Units and layout: proc(5), and iostats in the kernel's documentation (a sector is 512 bytes).
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Dict, Optional, Tuple

from devbox.box.probes.system import PROC, Part, Probe
from devbox.box.probes.system.cgroup import ROOT, Cgroup
from devbox.box.probes.system.rates import KernelFile, Rate
from devbox.box.with_timeout import Detached

# Whole physical devices only: a partition, a loop or a mapped device would count bytes twice.
_WHOLE_DISK = re.compile(r"(sd[a-z]+|hd[a-z]+|vd[a-z]+|xvd[a-z]+|nvme\d+n\d+|mmcblk\d+)")
# Bridges and container pairs carry the same bytes as the interface behind them.
_INNER_NET = re.compile(r"lo|veth.*|docker\d+|br-.*|virbr\d+.*|cni\d+|flannel.*|cali.*")


def probes(disk: Path, proc: Path = PROC, cgroup: Path = ROOT) -> Dict[str, Probe]:
    """The four probes of this machine."""
    group = Cgroup(cgroup)
    return {
        "cpu": Cpu(proc, group).read,
        "mem": Memory(proc, group).read,
        "disk": Disk(disk, proc, group).read,
        "net": Network(proc).read,
    }


class Cpu:
    """Utilisation in per cent of all cores the box may use."""

    def __init__(self, proc: Path, group: Cgroup) -> None:
        self._stat, self._load = KernelFile(proc / "stat", 512), KernelFile(proc / "loadavg")
        self._group = group
        self._busy, self._total, self._used = Rate(), Rate(), Rate()

    def read(self, now: float) -> Part:
        cores = self._group.cores() or float(len(os.sched_getaffinity(0)))
        util = self._of_container(now, cores) if self._group.present else None
        if util is None:
            util = self._of_machine(now)
        load = (self._load.read() or "").split()
        return {
            "util": None if util is None else round(min(100.0, max(0.0, util)), 1),
            "count": max(1, int(cores + 0.999)),
            "load1": float(load[0]) if load and _is_number(load[0]) else None,
        }

    def _of_container(self, now: float, cores: float) -> Optional[float]:
        rate = self._used.step(self._group.cpu_seconds(), now)
        return None if rate is None else 100 * rate / cores

    def _of_machine(self, now: float) -> Optional[float]:
        words = (self._stat.read() or "").split("\n", 1)[0].split()[1:9]
        if len(words) < 8 or not all(word.isdigit() for word in words):
            return None
        ticks = [int(word) for word in words]
        # guest time is inside user time already; idle and iowait are the time not worked
        total = self._total.step(sum(ticks), now)
        busy = self._busy.step(sum(ticks) - ticks[3] - ticks[4], now)
        if total is None or busy is None or total <= 0:
            return None
        return 100 * busy / total


class Memory:
    """Memory that could not be had by a new program, and all of it."""

    def __init__(self, proc: Path, group: Cgroup) -> None:
        self._meminfo, self._group = KernelFile(proc / "meminfo"), group

    def read(self, now: float) -> Part:
        found = dict(re.findall(r"(\w+):\s+(\d+) kB", (self._meminfo.read() or "")[:4096]))
        total = int(found["MemTotal"]) * 1024 if "MemTotal" in found else None
        free = int(found["MemAvailable"]) * 1024 if "MemAvailable" in found else None
        used = total - free if total is not None and free is not None else None
        if self._group.present:
            inside, limit = self._group.memory()
            used = used if inside is None else inside
            total = total if limit is None else min(limit, total or limit)
        return {"used": used, "total": total}


class Disk:
    """Fill of one file system, and bytes moved by the box's disks.

    statvfs on a network file system whose server is gone never returns, so it has its own thread.
    """

    def __init__(self, path: Path, proc: Path, group: Cgroup) -> None:
        self._path, self._group = path, group
        self._stats = KernelFile(proc / "diskstats", 1 << 18)
        self._fill = Detached(lambda: _fill(path), patience=0.02, stale=30.0)
        self._read, self._written = Rate(), Rate()

    def read(self, now: float) -> Part:
        used, total = self._fill.get(now) or (None, None)
        read, written = self._group.disk_bytes() if self._group.present else (None, None)
        if read is None or written is None:
            read, written = self._of_machine()
        return {
            "path": str(self._path),
            "used": used,
            "total": total,
            "read_bps": self._read.whole(read, now),
            "write_bps": self._written.whole(written, now),
        }

    def _of_machine(self) -> Tuple[Optional[int], Optional[int]]:
        text = self._stats.read()
        if text is None:
            return None, None
        rows = [line.split() for line in text.splitlines()]
        disks = [row for row in rows if len(row) >= 10 and _WHOLE_DISK.fullmatch(row[2])]
        return sum(int(row[5]) for row in disks) * 512, sum(int(row[9]) for row in disks) * 512


class Network:
    """Bytes a second over all outward interfaces."""

    def __init__(self, proc: Path) -> None:
        self._dev = KernelFile(proc / "net" / "dev")
        self._rx, self._tx = Rate(), Rate()

    def read(self, now: float) -> Part:
        rx: Optional[int] = None
        tx: Optional[int] = None
        for line in (self._dev.read() or "").splitlines()[2:]:
            name, _, rest = line.partition(":")
            words = rest.split()
            if len(words) >= 9 and not _INNER_NET.fullmatch(name.strip()):
                rx, tx = (rx or 0) + int(words[0]), (tx or 0) + int(words[8])
        return {
            "rx_bps": self._rx.whole(rx, now),
            "tx_bps": self._tx.whole(tx, now),
        }


def _fill(path: Path) -> Tuple[int, int]:
    found = os.statvfs(path)
    return (found.f_blocks - found.f_bfree) * found.f_frsize, found.f_blocks * found.f_frsize


def _is_number(text: str) -> bool:
    return text.replace(".", "", 1).isdigit()
