"""GPUs through NVML."""

from __future__ import annotations

import threading

import pytest

from devbox.box.probes.gpu import Detachment, Row
from devbox.box.probes.gpu.nvml import Nvml
from tests.box.fake_nvml import FakeNvml

MIB = 1 << 20


def read(fixture: str, now: float = 100.0) -> list[Row]:
    source = Nvml(FakeNvml(fixture))
    assert source.open()
    rows = source.read(now)
    assert rows is not None
    return rows


def test_a_working_gpu_tells_everything() -> None:
    busy, idle = read("nvml-h100-550.json")
    assert busy == {
        "index": 0,
        "uuid": "GPU-5a0c1b2d-0000-4000-8000-000000000000",
        "name": "NVIDIA H100 80GB HBM3",
        "util": 100,
        "mem_util": 48,
        "mem_used": 70123 * MIB,
        "mem_total": 81559 * MIB,
        "power_w": 680.5,
        "power_limit_w": 700.0,
        "temp_c": 61,
        "sm_mhz": 1980,
        "mem_mhz": 2619,
        "throttle": ["sw_power_cap"],
        "ecc_errors": 0,
        "mig": False,
        "lost": False,
        "xid": None,
        "processes": [
            {"pid": 4821, "name": "python3.4821", "mem_used": 70110 * MIB},
            {"pid": 4822, "name": None, "mem_used": None},
        ],
    }
    assert idle["throttle"] == []  # idle is no throttle
    assert idle["mem_used"] == 4 * MIB  # without the driver's reserve
    assert idle["processes"] == []


def test_an_old_driver_is_asked_by_the_older_calls() -> None:
    (row,) = read("nvml-t4-470.json")
    assert row["mem_used"] == 1021 * MIB
    assert row["throttle"] == ["hw_slowdown", "sw_thermal"]
    assert row["mig"] is False
    assert row["processes"] == []
    assert row["ecc_errors"] == 1


def test_mig_memory_and_processes_come_from_the_instances() -> None:
    (row,) = read("nvml-a100-mig-535.json")
    assert row["mig"] is True
    assert (row["util"], row["mem_util"], row["ecc_errors"]) == (None, None, None)
    assert row["mem_used"] == (14366 + 36) * MIB
    assert row["mem_total"] == 2 * 19968 * MIB
    assert [process["pid"] for process in row["processes"] or []] == [777]


def test_a_lost_gpu_is_null_and_hides_no_other() -> None:
    good, lost = read("nvml-lost-550.json")
    assert good["util"] == 0
    assert lost["index"] == 1
    assert lost["lost"] is True
    assert [v for key, v in lost.items() if key not in ("index", "mig", "lost")] == [None] * 15


def test_process_lists_and_static_fields_are_asked_rarely() -> None:
    api = FakeNvml("nvml-h100-550.json")
    source = Nvml(api)
    source.open()
    for second in range(20):
        source.read(1000.0 + second)
    assert api.calls["utilization"] == 40
    assert api.calls["compute"] == 2 * 4
    assert api.calls["ecc"] == 2 * 4
    assert api.calls["power_limit"] == 2
    assert api.calls["name"] == 2


def test_after_a_driver_reload_it_is_opened_again() -> None:
    api = FakeNvml("nvml-h100-550.json")
    source = Nvml(api)
    source.open()
    api.dead = True
    for second in range(100, 130):
        rows = source.read(float(second))
        assert rows is not None
        assert rows[0]["util"] is None
    assert api.opens == 2
    api.dead = False
    source.read(131.0)
    rows = source.read(132.0)
    assert rows is not None
    assert rows[0]["util"] == 100


def test_no_driver_means_not_usable() -> None:
    api = FakeNvml("nvml-h100-550.json")

    def fail() -> None:
        raise api.NVMLError(9)  # NVML_ERROR_DRIVER_NOT_LOADED

    api.nvmlInit = fail  # type: ignore[method-assign]
    assert not Detachment(api).usable


def test_a_hung_driver_hangs_nobody_and_turns_null(monkeypatch: pytest.MonkeyPatch) -> None:
    api = FakeNvml("nvml-h100-550.json")
    source = Detachment(api)
    first = source.read(100.0)
    assert first is not None
    assert first[0]["util"] == 100
    release = threading.Event()

    def hang(*_: object) -> None:
        release.wait(20)
        raise api.NVMLError(15)

    monkeypatch.setattr(FakeNvml, "nvmlDeviceGetUtilizationRates", hang)
    assert source.read(101.0) == first  # the last values, for a while
    assert source.read(105.0) == first
    assert source.read(105.1) is None
    release.set()
