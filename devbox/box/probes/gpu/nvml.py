"""GPUs through NVML (the `pynvml` module of nvidia-ml-py, where the box has it).

Units and error codes: NVIDIA's NVML API reference. A call the GPU, the driver or the permissions
do not support is a None, whatever it is; one bad GPU never hides the others.
"""

from __future__ import annotations

import os
from typing import Any, Callable, Dict, List, Optional, Tuple, Type

from devbox.box.probes.gpu import MAX_PROCESSES, PROCESS_EVERY, Reading
from devbox.box.probes.gpu.health import throttle_reasons

_SLOW_EVERY = 60.0  # limits and modes a user may change with nvidia-smi
_REOPEN_EVERY = 30.0


class Nvml:
    """One poller over all GPUs. api: the pynvml module, or one that answers like it."""

    def __init__(self, api: Any) -> None:
        self._api = api
        self._devices: List[_Device] = []
        self._opened_at: Optional[float] = None  # None: not open yet
        self._events = _Xids(api)

    def open(self) -> bool:
        """Find the GPUs. False when NVML or the driver is missing."""
        try:
            self._api.nvmlInit()
            count = int(self._api.nvmlDeviceGetCount())
        except self._api.NVMLError:
            return False
        self._devices, self._events = [], _Xids(self._api)
        for index in range(count):
            handle, lost = None, False
            try:
                handle = self._api.nvmlDeviceGetHandleByIndex(index)
            except self._api.NVMLError as error:
                # fallen off the bus or not permitted: listed, and all unknown
                lost = _code(error) in _LOST
            self._devices.append(_Device(self._api, index, handle, lost))
            self._events.watch(index, handle)
        self._opened_at = self._opened_at or 0.0
        return True

    def read(self, now: float) -> Reading:
        """All GPUs now; None before `open` is done. After a driver reload it is opened again."""
        if self._opened_at is None:
            return None
        xids = self._events.read()
        rows = [device.read(now, xids.get(device.index)) for device in self._devices]
        dead = bool(rows) and all(device.silent for device in self._devices)
        if dead and now - self._opened_at >= _REOPEN_EVERY:
            self._opened_at = now
            self.open()
        return rows


class _Device:
    def __init__(self, api: Any, index: int, handle: Any, lost: bool) -> None:
        self._api, self.index, self._handle = api, index, handle
        self._lost = lost
        self._slow: Dict[str, Any] = {}
        self._slow_at = self._processes_at = float("-inf")
        self._processes: Optional[List[Dict[str, Any]]] = None
        self._ecc: Optional[int] = None
        self._fixed = {
            "uuid": _text(self._ask("nvmlDeviceGetUUID")),
            "name": _text(self._ask("nvmlDeviceGetName")),
        }
        self.silent = False

    def read(self, now: float, xid: Optional[int]) -> Dict[str, Any]:
        self._lost = self._lost and self._handle is None
        if now - self._slow_at >= _SLOW_EVERY or now < self._slow_at:
            self._slow, self._slow_at = self._limits(), now
        if now - self._processes_at >= PROCESS_EVERY or now < self._processes_at:
            self._processes, self._processes_at = self._running(), now
            self._ecc = self._ask("nvmlDeviceGetTotalEccErrors", _UNCORRECTED, _VOLATILE)
        used, total = self._memory()
        rates = self._ask("nvmlDeviceGetUtilizationRates")
        temperature = self._ask("nvmlDeviceGetTemperature", 0)
        self.silent = used is None and rates is None and temperature is None
        return {
            "index": self.index,
            **self._fixed,
            "util": None if rates is None else int(rates.gpu),
            "mem_util": None if rates is None else int(rates.memory),
            "mem_used": used,
            "mem_total": total,
            "power_w": _watts(self._ask("nvmlDeviceGetPowerUsage")),
            "power_limit_w": self._slow.get("power_limit_w"),
            "temp_c": temperature,
            "sm_mhz": self._ask("nvmlDeviceGetClockInfo", 1),
            "mem_mhz": self._ask("nvmlDeviceGetClockInfo", 2),
            "throttle": self._throttle(),
            "ecc_errors": self._ecc,
            "mig": self._slow.get("mig"),
            "lost": self._lost,
            "xid": xid,
            "processes": self._processes,
        }

    def _limits(self) -> Dict[str, Any]:
        if self._handle is None:
            return {}
        mode = self._ask("nvmlDeviceGetMigMode")
        return {
            "power_limit_w": _watts(self._ask("nvmlDeviceGetEnforcedPowerLimit")),
            # a GPU without the feature answers not-supported: then it is certainly not on
            "mig": bool(mode[0]) if isinstance(mode, (list, tuple)) and mode else False,
        }

    def _memory(self) -> Any:
        # version 2 leaves the driver's own reserve out of "used"; drivers before 510 lack it
        version = getattr(self._api, "nvmlMemory_v2", None)
        found = None if version is None else self._ask("nvmlDeviceGetMemoryInfo", version)
        found = found or self._ask("nvmlDeviceGetMemoryInfo")
        if found is not None:
            return int(found.used), int(found.total)
        parts = [self._ask("nvmlDeviceGetMemoryInfo", of=part) for part in self._instances()]
        known = [part for part in parts if part is not None]
        if not known:
            return None, None
        return sum(int(part.used) for part in known), sum(int(part.total) for part in known)

    def _instances(self) -> List[Any]:
        """MIG instances; where the parent may not be read, they may."""
        if not self._slow.get("mig"):
            return []
        count = self._ask("nvmlDeviceGetMaxMigDeviceCount") or 0
        found = [
            self._ask("nvmlDeviceGetMigDeviceHandleByIndex", index) for index in range(int(count))
        ]
        return [handle for handle in found if handle is not None]

    def _throttle(self) -> Optional[List[str]]:
        mask = self._ask("nvmlDeviceGetCurrentClocksEventReasons")
        if mask is None:
            mask = self._ask("nvmlDeviceGetCurrentClocksThrottleReasons")
        return None if mask is None else throttle_reasons(int(mask))

    def _running(self) -> Optional[List[Dict[str, Any]]]:
        known = False
        found: Dict[int, Dict[str, Any]] = {}
        for of in [self._handle, *self._instances()]:
            for kind in ("Compute", "Graphics"):
                name = f"nvmlDeviceGet{kind}RunningProcesses"
                rows = self._ask(name, of=of)
                if rows is None:  # drivers before 510 have the second version of it only
                    rows = self._ask(f"{name}_v2", of=of)
                known = known or rows is not None
                for row in (rows or [])[: MAX_PROCESSES * 2]:
                    pid, used = int(row.pid), row.usedGpuMemory
                    if pid not in found or (found[pid]["mem_used"] is None and used is not None):
                        found[pid] = {
                            "pid": pid,
                            "name": self._name(pid),
                            "mem_used": None if used is None else int(used),
                        }
        if not known:
            return None
        return sorted(found.values(), key=lambda row: -(row["mem_used"] or 0))[:MAX_PROCESSES]

    def _name(self, pid: int) -> Optional[str]:
        name = _text(_call(self._api, "nvmlSystemGetProcessName", pid))
        return os.path.basename(name.split(" ")[0])[:80] if name else None

    def _ask(self, name: str, *arguments: Any, of: Any = None) -> Any:
        handle = self._handle if of is None else of
        function = None if handle is None else getattr(self._api, name, None)
        if function is None:  # older pynvml lack some
            return None
        try:
            return function(handle, *arguments)
        except self._api.NVMLError as error:
            self._lost = self._lost or _code(error) in _LOST
        except _others(self._api):
            pass
        return None


class _Xids:
    """The driver's critical errors, as its own events. Where it does not offer them, none."""

    def __init__(self, api: Any) -> None:
        self._api = api
        self._set: Any = None
        self._handles: Dict[int, int] = {}

    def watch(self, index: int, handle: object) -> None:
        kind = getattr(self._api, "nvmlEventTypeXidCriticalError", None)
        if handle is None or kind is None:
            return
        if self._set is None:
            self._set = _call(self._api, "nvmlEventSetCreate")
        if self._set is not None:
            _call(self._api, "nvmlDeviceRegisterEvents", handle, kind, self._set)
            self._handles[_address(handle)] = index

    def read(self) -> Dict[int, int]:
        """GPU index → the latest Xid since the last call."""
        found: Dict[int, int] = {}
        for _ in range(16 if self._set is not None else 0):
            event = _call(self._api, "nvmlEventSetWait_v2", self._set, 0)
            if event is None:
                break
            index = self._handles.get(_address(event.device))
            if index is not None:
                found[index] = int(event.eventData)
        return found


def _address(handle: Any) -> int:
    """Handles are pointers; two objects of ctypes may hold the same one."""
    import ctypes

    return ctypes.cast(handle, ctypes.c_void_p).value or 0


# error codes of nvml.h: NVML_ERROR_GPU_IS_LOST, NVML_ERROR_RESET_REQUIRED
_LOST = (15, 16)


def _code(error: object) -> Optional[int]:
    return getattr(error, "value", None)


# enum values of nvml.h: NVML_MEMORY_ERROR_TYPE_UNCORRECTED, NVML_VOLATILE_ECC
_UNCORRECTED, _VOLATILE = 1, 0


def _call(api: Any, name: str, *arguments: Any) -> Any:
    function: Optional[Callable[..., Any]] = getattr(api, name, None)  # older pynvml lack some
    if function is None:
        return None
    try:
        return function(*arguments)
    except (api.NVMLError, *_others(api)):
        return None


def _others(api: object) -> Tuple[Type[Exception], ...]:
    """What pynvml raises besides its own kind: names in another encoding, and a driver that is
    older than the module."""
    return UnicodeDecodeError, getattr(api, "NVMLLibraryMismatchError", UnicodeDecodeError)


def _text(value: object) -> Optional[str]:
    if isinstance(value, bytes):  # pynvml before 11.5
        return value.decode("utf-8", "replace")
    return value if isinstance(value, str) else None


def _watts(milliwatts: Any) -> Optional[float]:
    return None if milliwatts is None else round(milliwatts / 1000, 1)
