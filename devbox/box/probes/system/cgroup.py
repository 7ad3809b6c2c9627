"""What a container may use and does use, from its cgroup (v2, or v1 where that is mounted).

In a container /proc/stat and /proc/meminfo speak of the whole host: on a shared host they are
never idle. The kernel's cgroup-v2 documentation is the source of the files and their units. The
root cgroup of a whole machine has no limit files; there every answer is None and /proc is right.
"""

from __future__ import annotations

from pathlib import Path
from typing import Dict, Optional, Tuple

from devbox.box.probes.system.rates import KernelFile

ROOT = Path("/sys/fs/cgroup")
_NO_LIMIT_V1 = 1 << 60  # v1 spells "no limit" as a huge page-rounded number


class Cgroup:
    """The cgroup mounted at `root`. `present`: this is a container's own, not the host's root."""

    def __init__(self, root: Path = ROOT) -> None:
        self._v2 = (root / "cgroup.controllers").exists()
        names = _V2 if self._v2 else _V1
        self._files: Dict[str, KernelFile] = {
            key: KernelFile(root / name) for key, name in names.items()
        }
        self.present = self._is_container()

    def cores(self) -> Optional[float]:
        """CPU cores the quota allows; None without a quota."""
        text = self._files["quota"].read()
        if text is None:
            return None
        words = text.split()
        if not self._v2:
            words += (self._files["period"].read() or "").split()
        if len(words) < 2 or not words[0].isdigit() or not words[1].isdigit():
            return None
        return int(words[0]) / int(words[1]) if int(words[1]) else None

    def cpu_seconds(self) -> Optional[float]:
        """CPU time used so far by everything in the container."""
        text = self._files["cpu"].read()
        if text is None:
            return None
        if not self._v2:
            return _integer(text, 1e9)
        return _integer(_field(text, "usage_usec"), 1e6)

    def memory(self) -> Tuple[Optional[int], Optional[int]]:
        """(used without reclaimable page cache, limit), bytes; limit None when unlimited."""
        used = _integer(self._files["memory"].read())
        if used is not None:
            stat = self._files["memory_stat"].read() or ""
            cache = _integer(_field(stat, "inactive_file" if self._v2 else "total_inactive_file"))
            used = max(0.0, used - (cache or 0))
        limit = _integer(self._files["memory_max"].read())
        if limit is not None and limit >= _NO_LIMIT_V1:
            limit = None
        return (None if used is None else int(used), None if limit is None else int(limit))

    def disk_bytes(self) -> Tuple[Optional[int], Optional[int]]:
        """(read, written) so far by the container; None where the io controller is off."""
        text = self._files["io"].read() if self._v2 else None
        if not text:
            return None, None
        read = written = 0
        for word in text.split():
            key, _, value = word.partition("=")
            if value.isdigit():
                read += int(value) if key == "rbytes" else 0
                written += int(value) if key == "wbytes" else 0
        return read, written

    def _is_container(self) -> bool:
        if self._v2:
            return self._files["quota"].read() is not None or self.memory()[0] is not None
        return self.cores() is not None or self.memory()[1] is not None


_V2 = {
    "quota": "cpu.max",
    "cpu": "cpu.stat",
    "memory": "memory.current",
    "memory_max": "memory.max",
    "memory_stat": "memory.stat",
    "io": "io.stat",
}
_V1 = {
    "quota": "cpu/cpu.cfs_quota_us",
    "period": "cpu/cpu.cfs_period_us",
    "cpu": "cpuacct/cpuacct.usage",
    "memory": "memory/memory.usage_in_bytes",
    "memory_max": "memory/memory.limit_in_bytes",
    "memory_stat": "memory/memory.stat",
    "io": "blkio/blkio.throttle.io_service_bytes",
}


def _field(text: str, name: str) -> Optional[str]:
    for line in text.splitlines():
        key, _, value = line.partition(" ")
        if key == name:
            return value
    return None


def _integer(text: Optional[str], divisor: float = 1) -> Optional[float]:
    word = (text or "").strip()
    return int(word) / divisor if word.isdigit() else None
