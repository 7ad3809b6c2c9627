"""GPUs through NVML (the `pynvml` module of nvidia-ml-py, where the box has it).

Units and error codes: NVIDIA's NVML API reference. A call the GPU, the driver or the permissions
do not support is a None, whatever it is; one bad GPU never hides the others.
"""

from __future__ import annotations

import os
from typing import Any, Callable, Dict, List, Optional, Protocol, Tuple, Type

from devbox.box.probes.gpu import MAX_PROCESSES, PROCESS_EVERY, Process, Reading, Row
from devbox.box.probes.gpu.health import throttle_reasons

_SLOW_EVERY = 60.0  # limits and modes a user may change with nvidia-smi
_REOPEN_EVERY = 30.0


class Api(Protocol):
    """What every pynvml has; other functions are asked for by name, as some lack them."""

    NVMLError: Type[Exception]

    def nvmlInit(self) -> object: ...

    def nvmlDeviceGetCount(self) -> int: ...

    def nvmlDeviceGetHandleByIndex(self, index: int, /) -> object: ...


class Nvml:
    """One poller over all GPUs. api: the pynvml module, or one that answers like it."""

    def __init__(self, api: Api) -> None:
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
            handle: object = None
            lost = False
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
    def __init__(self, api: Api, index: int, handle: object, lost: bool) -> None:
        self._api, self.index, self._handle = api, index, handle
        self._lost = lost
        self._power_limit: Optional[float] = None
        self._mig: Optional[bool] = None
        self._slow_at = self._processes_at = float("-inf")
        self._processes: Optional[List[Process]] = None
        self._ecc: Optional[int] = None
        self._uuid = _text(self._ask("nvmlDeviceGetUUID"))
        self._name = _text(self._ask("nvmlDeviceGetName"))
        self.silent = False

    def read(self, now: float, xid: Optional[int]) -> Row:
        self._lost = self._lost and self._handle is None
        if now - self._slow_at >= _SLOW_EVERY or now < self._slow_at:
            self._look_at_limits()
            self._slow_at = now
        if now - self._processes_at >= PROCESS_EVERY or now < self._processes_at:
            self._processes, self._processes_at = self._running(), now
            self._ecc = _whole(self._ask("nvmlDeviceGetTotalEccErrors", _UNCORRECTED, _VOLATILE))
        used, total = self._memory()
        rates = self._ask("nvmlDeviceGetUtilizationRates")
        temperature = _whole(self._ask("nvmlDeviceGetTemperature", 0))
        self.silent = used is None and rates is None and temperature is None
        return {
            "index": self.index,
            "uuid": self._uuid,
            "name": self._name,
            "util": _field(rates, "gpu"),
            "mem_util": _field(rates, "memory"),
            "mem_used": used,
            "mem_total": total,
            "power_w": _watts(self._ask("nvmlDeviceGetPowerUsage")),
            "power_limit_w": self._power_limit,
            "temp_c": temperature,
            "sm_mhz": _whole(self._ask("nvmlDeviceGetClockInfo", 1)),
            "mem_mhz": _whole(self._ask("nvmlDeviceGetClockInfo", 2)),
            "throttle": self._throttle(),
            "ecc_errors": self._ecc,
            "mig": self._mig,
            "lost": self._lost,
            "xid": xid,
            "processes": self._processes,
        }

    def _look_at_limits(self) -> None:
        if self._handle is None:
            return
        mode = self._ask("nvmlDeviceGetMigMode")
        # a GPU without the feature answers not-supported: then it is certainly not on
        self._mig = bool(mode[0]) if isinstance(mode, (list, tuple)) and mode else False
        self._power_limit = _watts(self._ask("nvmlDeviceGetEnforcedPowerLimit"))

    def _memory(self) -> Tuple[Optional[int], Optional[int]]:
        # version 2 leaves the driver's own reserve out of "used"; drivers before 510 lack it
        version = getattr(self._api, "nvmlMemory_v2", None)
        found = None if version is None else self._ask("nvmlDeviceGetMemoryInfo", version)
        found = found or self._ask("nvmlDeviceGetMemoryInfo")
        if found is not None:
            return _field(found, "used"), _field(found, "total")
        parts = [self._ask("nvmlDeviceGetMemoryInfo", of=part) for part in self._instances()]
        known = [part for part in parts if part is not None]
        if not known:
            return None, None
        used, total = (sum(_field(part, name) or 0 for part in known) for name in ("used", "total"))
        return used, total

    def _instances(self) -> List[object]:
        """MIG instances; where the parent may not be read, they may."""
        if not self._mig:
            return []
        count = _whole(self._ask("nvmlDeviceGetMaxMigDeviceCount")) or 0
        found = [self._ask("nvmlDeviceGetMigDeviceHandleByIndex", index) for index in range(count)]
        return [handle for handle in found if handle is not None]

    def _throttle(self) -> Optional[List[str]]:
        mask = _whole(self._ask("nvmlDeviceGetCurrentClocksEventReasons"))
        if mask is None:
            mask = _whole(self._ask("nvmlDeviceGetCurrentClocksThrottleReasons"))
        return None if mask is None else throttle_reasons(mask)

    def _running(self) -> Optional[List[Process]]:
        known = False
        found: Dict[int, Process] = {}
        for of in [self._handle, *self._instances()]:
            for kind in ("Compute", "Graphics"):
                name = f"nvmlDeviceGet{kind}RunningProcesses"
                rows = self._ask(name, of=of)
                if rows is None:  # drivers before 510 have the second version of it only
                    rows = self._ask(f"{name}_v2", of=of)
                known = known or rows is not None
                for row in (rows if isinstance(rows, list) else [])[: MAX_PROCESSES * 2]:
                    pid, used = int(row.pid), _field(row, "usedGpuMemory")
                    if pid not in found or (found[pid]["mem_used"] is None and used is not None):
                        found[pid] = {
                            "pid": pid,
                            "name": self._program(pid),
                            "mem_used": used,
                        }
        if not known:
            return None
        return sorted(found.values(), key=lambda row: -(row["mem_used"] or 0))[:MAX_PROCESSES]

    def _program(self, pid: int) -> Optional[str]:
        name = _text(_call(self._api, "nvmlSystemGetProcessName", pid))
        return os.path.basename(name.split(" ")[0])[:80] if name else None

    def _ask(self, name: str, *arguments: object, of: object = None) -> object:
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

    def __init__(self, api: Api) -> None:
        self._api = api
        self._set: object = None
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
            index = self._handles.get(_address(getattr(event, "device", None)))
            xid = _field(event, "eventData")
            if index is not None and xid is not None:
                found[index] = xid
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


def _call(api: Api, name: str, *arguments: object) -> object:
    function: Optional[Callable[..., object]] = getattr(api, name, None)  # older pynvml lack some
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


def _whole(value: object) -> Optional[int]:
    return value if isinstance(value, int) else None


def _field(value: object, name: str) -> Optional[int]:
    """A number of one of NVML's structures; None without the structure or the number."""
    return _whole(getattr(value, name, None))


def _watts(milliwatts: object) -> Optional[float]:
    return round(milliwatts / 1000, 1) if isinstance(milliwatts, int) else None
