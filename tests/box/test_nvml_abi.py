"""NVML through its real interface: the real pynvml, loading a library of ours compiled from C."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

SOURCE = Path(__file__).with_name("nvml_stub.c")
# Reads once for each line on stdin, one second apart by the clock it is told.
READ = """
import json, sys
import pynvml
from devbox.box.probes.gpu.health import Health
from devbox.box.probes.gpu.nvml import Nvml
source, health = Nvml(pynvml), Health()
assert source.open()
for line in sys.stdin:
    rows = source.read(float(line))
    print(json.dumps({"rows": rows, "told": health.observe(rows, float(line))}), flush=True)
"""


class Driver:
    """Two GPUs, whose numbers are files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        compiler = shutil.which("gcc") or shutil.which("cc")
        assert compiler, "the tests need a C compiler"
        library = folder / "libnvidia-ml.so.1"
        argv = [compiler, "-shared", "-fPIC", "-Wall", "-Werror", "-o", str(library), str(SOURCE)]
        subprocess.run(argv, check=True)
        self.set(count=2)
        for index in range(2):
            (folder / str(index)).mkdir()
            self.set(index, util=7, mem_used=1 << 30, mem_total=24 << 30, temp=40, ecc=0, reasons=0)
        self.env = {**os.environ, "LD_LIBRARY_PATH": str(folder), "NVML_STUB": str(folder)}
        self.env["PATH"] = str(folder)  # no nvidia-smi
        self._reader: subprocess.Popen[str] | None = None

    def set(self, index: int | None = None, **values: int) -> None:
        for key, value in values.items():
            (self.folder / ("" if index is None else str(index)) / key).write_text(str(value))

    def read(self, now: float) -> dict[str, Any]:
        """One reading at that second, by a process that stays."""
        if self._reader is None:
            self._reader = subprocess.Popen(
                [sys.executable, "-c", READ],
                env=self.env,
                text=True,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
        assert self._reader.stdin
        assert self._reader.stdout
        print(now, file=self._reader.stdin, flush=True)
        found: dict[str, Any] = json.loads(self._reader.stdout.readline())
        return found

    def doctor(self, home: Path) -> list[dict[str, str]]:
        done = subprocess.run(
            [sys.executable, "-m", "devbox.box", "doctor"],
            env={**self.env, "HOME": str(home)},
            capture_output=True,
            check=True,
        )
        checks: list[dict[str, str]] = json.loads(done.stdout)["checks"]
        return checks

    def close(self) -> None:
        if self._reader:
            self._reader.kill()
            self._reader.communicate()


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[Driver]:
    made = Driver(tmp_path)
    yield made
    made.close()


def test_values_come_through_the_real_interface(driver: Driver) -> None:
    first, second = driver.read(100.0)["rows"]
    assert (first["name"], first["uuid"]) == ("NVIDIA Stub", "GPU-stub-0")
    assert (first["util"], first["mem_used"], first["mem_total"]) == (7, 1 << 30, 24 << 30)
    assert (first["temp_c"], first["ecc_errors"], first["throttle"]) == (40, 0, [])
    assert (first["lost"], first["xid"]) == (False, None)
    assert second["index"] == 1


def test_a_gpu_that_falls_off_the_bus_is_lost_and_hides_no_other(driver: Driver) -> None:
    driver.read(100.0)
    driver.set(1, lost=1)
    found = driver.read(101.0)
    assert [row["lost"] for row in found["rows"]] == [False, True]
    assert found["rows"][0]["util"] == 7
    ((kind, message),) = found["told"]
    assert kind == "gpu-lost"
    assert message.startswith("GPU 1 is lost")
    assert driver.read(102.0)["told"] == [], "told once"


def test_a_gpu_that_was_lost_before_the_start_is_lost(driver: Driver) -> None:
    driver.set(1, lost=1)
    found = driver.read(100.0)
    assert [row["lost"] for row in found["rows"]] == [False, True]


def test_uncorrectable_errors_that_grow_are_told(driver: Driver) -> None:
    driver.set(0, ecc=3)
    assert driver.read(100.0)["told"] == [], "old ones are no news"
    driver.set(0, ecc=5)
    ((kind, message),) = driver.read(110.0)["told"]
    assert (kind, "5 uncorrectable memory errors" in message) == ("gpu-ecc", True)


def test_an_xid_is_told_once_with_its_gpu(driver: Driver) -> None:
    driver.read(100.0)
    driver.set(1, xid=79)
    found = driver.read(101.0)
    assert found["rows"][1]["xid"] == 79
    ((kind, message),) = found["told"]
    assert (kind, message.startswith("GPU 1: the driver reported Xid 79")) == ("gpu-xid", True)
    assert driver.read(102.0)["told"] == []


def test_a_thermal_slowdown_that_lasts_is_told(driver: Driver) -> None:
    driver.set(0, reasons=0x40)
    assert driver.read(100.0)["told"] == []
    ((kind, message),) = driver.read(111.0)["told"]
    assert (kind, "hw thermal" in message) == ("gpu-slow", True)
    driver.set(0, reasons=0x4)  # a power cap is a setting
    driver.read(112.0)
    assert driver.read(2000.0)["told"] == []


def test_processes_are_told_by_a_driver_that_is_older_than_pynvml(driver: Driver) -> None:
    """pynvml raises an error of another kind there; it must not hide the rest."""
    driver.set(0, pid=77, held=20 << 30)
    driver.set(1, pid=78)
    first, second = driver.read(100.0)["rows"]
    assert first["processes"] == [{"pid": 77, "name": None, "mem_used": 20 << 30}]
    assert second["processes"] == [{"pid": 78, "name": None, "mem_used": None}]
    assert first["util"] == 7


def test_memory_that_the_gpu_does_not_tell_is_none_and_not_lost(driver: Driver) -> None:
    for key in ("mem_used", "mem_total"):
        (driver.folder / "0" / key).unlink()
    row = driver.read(100.0)["rows"][0]
    assert (row["mem_used"], row["mem_total"], row["lost"], row["util"]) == (None, None, False, 7)


def test_doctor_sees_the_gpus_without_nvidia_smi_and_what_is_wrong_with_them(
    driver: Driver, home: Path
) -> None:
    driver.set(0, ecc=2, reasons=0x40)
    driver.set(1, lost=1)
    checks = driver.doctor(home)
    told = [(each["level"], each["what"]) for each in checks if "GPU" in each["what"]]
    assert not any("no NVIDIA driver" in each["what"] for each in checks)
    assert ("ok", "GPU NVIDIA Stub, 24.0 GB (NVML, no nvidia-smi)") in told
    assert any(level == "fail" and what.startswith("GPU 1 is lost") for level, what in told)
    assert any(level == "warn" and "2 uncorrectable" in what for level, what in told)
    assert any(level == "warn" and "hw thermal" in what for level, what in told)
