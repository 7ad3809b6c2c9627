"""CPU, memory, disk and network, from kernel files of our own making and from the real ones."""

from __future__ import annotations

import time
from pathlib import Path

import psutil
import pytest

from devbox.box.probes.system import linux, portable, probes
from devbox.box.probes.system.cgroup import Cgroup
from devbox.box.probes.system.rates import Rate
from devbox.box.with_timeout import Detached

GIB = 1 << 30


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


PROC = {
    "stat": "cpu  1000 0 500 8000 500 0 0 0 0 0\ncpu0 1 2 3 4\n",
    "loadavg": "1.25 0.80 0.50 2/300 4242\n",
    "meminfo": "MemTotal:       16777216 kB\nMemFree: 1 kB\nMemAvailable:    4194304 kB\n",
    "diskstats": (
        "   8  0 sda 10 0 2000 0 20 0 4000 0 0 0 0\n   8  1 sda1 10 0 2000 0 20 0 4000 0 0 0 0\n"
        " 259  0 nvme0n1 1 0 200 0 2 0 400 0 0 0 0\n   7  0 loop0 1 0 9999 0 0 0 9999 0 0 0 0\n"
    ),
    "net/dev": (
        "Inter-| Receive | Transmit\n face |bytes\n"
        "    lo: 999999 0 0 0 0 0 0 0 999999 0 0 0 0 0 0 0\n"
        "  eth0: 1000 0 0 0 0 0 0 0 500 0 0 0 0 0 0 0\n"
        "veth1a: 9 0 0 0 0 0 0 0 9 0 0 0 0 0 0 0\n"
    ),
}
V2 = {
    "cgroup.controllers": "cpu io memory\n",
    "cpu.max": "200000 100000\n",
    "cpu.stat": "usage_usec 1000000\nuser_usec 1\n",
    "memory.current": f"{3 * GIB}\n",
    "memory.max": f"{8 * GIB}\n",
    "memory.stat": f"anon 1\ninactive_file {1 * GIB}\n",
    "io.stat": "8:0 rbytes=1000 wbytes=2000 rios=1\n259:0 rbytes=5 wbytes=5\n",
}


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    write(tmp_path / "proc", PROC)
    return tmp_path / "proc"


def test_a_machine_of_its_own_is_read_from_proc(tmp_path: Path, proc: Path) -> None:
    found = linux.probes(tmp_path, proc, tmp_path / "nocgroup")
    assert found["cpu"](100.0)["util"] is None  # type: ignore[index]
    found["disk"](100.0), found["net"](100.0)
    write(proc, {
        "stat": "cpu  1050 0 550 8250 650 0 0 0 0 0\n",
        "diskstats": PROC["diskstats"].replace(" 2000 0 20 0 4000", " 2020 0 20 0 4040", 1),
        "net/dev": PROC["net/dev"].replace("eth0: 1000", "eth0: 3000"),
    })  # fmt: skip
    cpu, disk, net = found["cpu"](102.0), found["disk"](102.0), found["net"](102.0)
    assert cpu is not None
    assert cpu["util"] == pytest.approx(20.0)
    assert cpu["load1"] == 1.25
    assert found["mem"](102.0) == {"used": 12 * GIB, "total": 16 * GIB}
    assert disk is not None
    assert (disk["read_bps"], disk["write_bps"]) == (20 * 256, 40 * 256)
    assert disk["path"] == str(tmp_path)
    used, total = disk["used"], disk["total"]
    assert isinstance(used, int)
    assert isinstance(total, int)
    assert 0 < used < total
    assert net == {"rx_bps": 1000, "tx_bps": 0}


def test_a_container_is_read_from_its_cgroup_not_its_busy_host(tmp_path: Path, proc: Path) -> None:
    group = tmp_path / "cg"
    write(group, V2)
    found = linux.probes(tmp_path, proc, group)
    found["cpu"](100.0), found["disk"](100.0)
    write(proc, {"stat": "cpu  9000 0 500 8000 500 0 0 0 0 0\n"})
    write(group, {
        "cpu.stat": "usage_usec 2500000\n",
        "io.stat": "8:0 rbytes=1200 wbytes=2000\n259:0 rbytes=5 wbytes=5\n",
    })  # fmt: skip
    cpu, disk = found["cpu"](101.0), found["disk"](101.0)
    assert cpu == {"util": 75.0, "count": 2, "load1": 1.25}
    assert found["mem"](101.0) == {"used": 2 * GIB, "total": 8 * GIB}
    assert disk is not None
    assert (disk["read_bps"], disk["write_bps"]) == (200, 0)


def test_a_container_without_limits_uses_the_hosts_size(tmp_path: Path, proc: Path) -> None:
    group = tmp_path / "cg"
    write(group, {**V2, "cpu.max": "max 100000\n", "memory.max": "max\n"})
    found = linux.probes(tmp_path, proc, group)
    assert found["mem"](1.0) == {"used": 2 * GIB, "total": 16 * GIB}
    assert found["cpu"](1.0)["count"] == len(psutil.Process().cpu_affinity())  # type: ignore[index]


def test_an_old_style_container(tmp_path: Path, proc: Path) -> None:
    group = tmp_path / "cg"
    write(group, {
        "cpu/cpu.cfs_quota_us": "50000\n", "cpu/cpu.cfs_period_us": "100000\n",
        "cpuacct/cpuacct.usage": "1000000000\n",
        "memory/memory.usage_in_bytes": f"{GIB}\n",
        "memory/memory.limit_in_bytes": f"{2 * GIB}\n",
        "memory/memory.stat": f"total_inactive_file {GIB // 2}\n",
    })  # fmt: skip
    found = linux.probes(tmp_path, proc, group)
    found["cpu"](100.0)
    write(group, {"cpuacct/cpuacct.usage": "1250000000\n"})
    assert found["cpu"](101.0) == {"util": 50.0, "count": 1, "load1": 1.25}
    assert found["mem"](101.0) == {"used": GIB // 2, "total": 2 * GIB}


def test_an_old_style_host_is_no_container(tmp_path: Path) -> None:
    write(tmp_path, {
        "cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n",
        "memory/memory.limit_in_bytes": "9223372036854771712\n",
    })  # fmt: skip
    assert not Cgroup(tmp_path).present


@pytest.mark.parametrize(
    "text", ["", "cpu\n", "cpu a b c d e f g h\n", "\xff" * 900, "cpu  0 0 0 0 0 0 0 0\n"]
)
def test_unreadable_kernel_files_are_null(tmp_path: Path, text: str) -> None:
    write(tmp_path / "proc", {"stat": text, "meminfo": text, "diskstats": text, "net/dev": text})
    found = linux.probes(tmp_path, tmp_path / "proc", tmp_path / "none")
    for now in (1.0, 2.0):
        cpu = found["cpu"](now)
        assert cpu is not None
        assert cpu["util"] is None
        assert found["mem"](now) == {"used": None, "total": None}
        assert found["net"](now) == {"rx_bps": None, "tx_bps": None}
        found["disk"](now)


def test_this_machine_agrees_with_psutil(tmp_path: Path) -> None:
    found = probes(tmp_path)
    mem = found["mem"](time.time())
    assert mem is not None
    if not Cgroup().present:
        assert mem["total"] == psutil.virtual_memory().total
        assert mem["used"] == pytest.approx(psutil.virtual_memory().used, rel=0.5, abs=GIB)
    cpu = found["cpu"](time.time())
    assert cpu is not None
    assert isinstance(cpu["count"], int)
    assert cpu["count"] >= 1


def test_without_proc_psutil_tells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = portable.probes(tmp_path)
    first = [found[name](100.0) for name in ("cpu", "mem", "disk", "net")]
    second = [found[name](101.0) for name in ("cpu", "mem", "disk", "net")]
    assert [set(part or {}) for part in first] == [set(part or {}) for part in second]
    assert set(second[2] or {}) == {"path", "used", "total", "read_bps", "write_bps"}
    monkeypatch.setattr(portable, "psutil", None)
    bare = portable.probes(tmp_path)
    assert bare["cpu"](1.0)["util"] is None  # type: ignore[index]
    assert bare["mem"](1.0) is None
    assert bare["disk"](1.0)["read_bps"] is None  # type: ignore[index]
    assert bare["net"](1.0) is None


def test_a_rate_needs_two_growing_readings() -> None:
    rate = Rate()
    steps = [
        (10.0, 1.0),
        (30.0, 2.0),
        (5.0, 3.0),
        (15.0, 4.0),
        (20.0, 4.0),
        (None, 5.0),
        (9.0, 6.0),
    ]
    assert [rate.step(value, now) for value, now in steps] == [
        None, 20.0, None, 10.0, None, None, None,
    ]  # fmt: skip


def test_a_failing_reading_is_none_and_the_next_may_succeed() -> None:
    answers: list[object] = [1, OSError("gone"), 3]

    def read() -> object:
        answer = answers.pop(0)
        if isinstance(answer, OSError):
            raise answer
        return answer

    detached = Detached(read, patience=5.0, stale=10.0)
    assert [detached.get(float(now)) for now in range(3)] == [1, None, 3]
