"""pynvml as devices that a fixture describes, raising pynvml's own errors."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pynvml

FIXTURES = Path(__file__).parents[1] / "fixtures" / "gpu"


class FakeNvml:
    """Answers like pynvml. `calls` counts what was asked; `opens` how often it was opened."""

    NVMLError = pynvml.NVMLError
    nvmlMemory_v2 = pynvml.nvmlMemory_v2

    def __init__(self, name: str) -> None:
        self.devices: list[dict[str, Any]] = json.loads((FIXTURES / name).read_text())
        self.calls: dict[str, int] = {}
        self.opens = 0
        self.dead = False

    def nvmlInit(self) -> None:
        self.opens += 1

    def nvmlDeviceGetCount(self) -> int:
        return len(self.devices)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> dict[str, Any]:
        return self.devices[index]

    def nvmlDeviceGetMemoryInfo(self, handle: dict[str, Any], version: object = None) -> Any:
        total, used = self._get(handle, "memory" if version is None else "memory_v2")
        return SimpleNamespace(total=total, used=used)

    def nvmlDeviceGetUtilizationRates(self, handle: dict[str, Any]) -> Any:
        gpu, memory = self._get(handle, "utilization")
        return SimpleNamespace(gpu=gpu, memory=memory)

    def nvmlDeviceGetTemperature(self, handle: dict[str, Any], sensor: int) -> Any:
        assert sensor == pynvml.NVML_TEMPERATURE_GPU
        return self._get(handle, "temperature")

    def nvmlDeviceGetClockInfo(self, handle: dict[str, Any], kind: int) -> Any:
        names = {pynvml.NVML_CLOCK_SM: "sm", pynvml.NVML_CLOCK_MEM: "mem"}
        return self._get(handle, names[kind])

    def nvmlDeviceGetTotalEccErrors(self, handle: dict[str, Any], kind: int, counter: int) -> Any:
        assert kind == pynvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED
        assert counter == pynvml.NVML_VOLATILE_ECC
        return self._get(handle, "ecc")

    def nvmlDeviceGetComputeRunningProcesses(self, handle: dict[str, Any]) -> Any:
        return self._processes(handle, "compute")

    def nvmlDeviceGetGraphicsRunningProcesses(self, handle: dict[str, Any]) -> Any:
        return self._processes(handle, "graphics")

    def nvmlDeviceGetMaxMigDeviceCount(self, handle: dict[str, Any]) -> int:
        return 7 if handle.get("instances") else 0

    def nvmlDeviceGetMigDeviceHandleByIndex(self, handle: dict[str, Any], index: int) -> Any:
        if index >= len(handle["instances"]):
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_FOUND)
        return handle["instances"][index]

    def nvmlSystemGetProcessName(self, pid: int) -> str:
        if pid == 4822:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NO_PERMISSION)
        return f"/usr/bin/python3.{pid} train.py --secret x"

    def __getattr__(self, name: str) -> Any:
        key = _PLAIN.get(name)
        if key is None:
            raise AttributeError(name)
        return lambda handle: self._get(handle, key)

    def _processes(self, handle: dict[str, Any], key: str) -> list[Any]:
        rows = self._get(handle, key)
        return [SimpleNamespace(pid=pid, usedGpuMemory=used) for pid, used in rows]

    def _get(self, handle: dict[str, Any], key: str) -> Any:
        self.calls[key] = self.calls.get(key, 0) + 1
        if self.dead:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_UNINITIALIZED)
        value = handle.get(key, {"error": pynvml.NVML_ERROR_FUNCTION_NOT_FOUND})
        if isinstance(value, dict):
            raise pynvml.NVMLError(value["error"])
        return value


_PLAIN = {
    "nvmlDeviceGetUUID": "uuid",
    "nvmlDeviceGetName": "name",
    "nvmlDeviceGetPowerUsage": "power",
    "nvmlDeviceGetEnforcedPowerLimit": "power_limit",
    "nvmlDeviceGetCurrentClocksEventReasons": "event_reasons",
    "nvmlDeviceGetCurrentClocksThrottleReasons": "throttle_reasons",
    "nvmlDeviceGetMigMode": "mig",
}
