"""What the operating system knows: CPU, memory, disk, network and ssh traffic.

Linux is read from /proc and the box's own cgroup with files kept open; elsewhere psutil is used
where it is installed. Whatever cannot be measured is None, never a guess.
"""

from __future__ import annotations

from pathlib import Path
from typing import Callable, Dict, Mapping, Optional, Union

#: One part of a sample; of a reading that could not be taken a value is None.
Part = Mapping[str, Union[str, float, None]]
Probe = Callable[[float], Optional[Part]]

PROC = Path("/proc")


def probes(disk: Path) -> Dict[str, Probe]:
    """One probe for each of cpu, mem, disk and net; each maps unix time to its part of a sample.

    disk: a path on the file system whose fill is reported.
    """
    if (PROC / "meminfo").exists():
        from devbox.box.probes.system import linux

        return linux.probes(disk)
    from devbox.box.probes.system import portable

    return portable.probes(disk)
