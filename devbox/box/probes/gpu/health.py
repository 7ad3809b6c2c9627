"""What goes wrong with GPUs, told once each: a pure fold over the "gpus" part of samples.

- lost: the driver says it is (fallen off the bus, or it needs a reset), or a GPU that was listed
  is listed no more. It cannot be at work.
- uncorrectable ECC errors: data was wrong; the count since the driver was loaded.
- Xid: the driver's number for a critical error (NVIDIA's "XID Errors").
- thermal slowdown that lasts: it runs below its clocks because it is too hot.
"""

from __future__ import annotations

from typing import Dict, List, Mapping, Optional, Tuple

LOST, ECC, XID, HOT = "gpu-lost", "gpu-ecc", "gpu-xid", "gpu-slow"
KINDS = (LOST, ECC, XID, HOT)
THERMAL = frozenset({"hw_thermal", "sw_thermal", "hw_slowdown"})
_HOT_FOR = 10.0  # seconds before it is told
# Bits and names: nvml.h, nvmlClocksEventReasons. Bit 0x1 (idle) is not a throttle: left out.
_REASONS = (
    (0x2, "applications_clocks"),
    (0x4, "sw_power_cap"),
    (0x8, "hw_slowdown"),
    (0x10, "sync_boost"),
    (0x20, "sw_thermal"),
    (0x40, "hw_thermal"),
    (0x80, "hw_power_brake"),
    (0x100, "display_clocks"),
)
_SAME = 10.0
_AGAIN = 600.0  # seconds until it is told again
_LOST_FIX = "pause and resume the box for another machine, or reboot it"

Trouble = Tuple[str, str]  # kind, message


class Health:
    """Remembers what it told."""

    def __init__(self) -> None:
        self._lost: Dict[int, bool] = {}
        self._ecc: Dict[int, int] = {}
        self._xids: Dict[Tuple[int, int], float] = {}
        self._hot: Dict[int, float] = {}
        self._hot_told: Dict[int, float] = {}

    def observe(self, rows: object, now: float) -> List[Trouble]:
        """What became so since the last call. rows: None while the GPUs are not known."""
        if not isinstance(rows, list):
            return []
        found: List[Trouble] = []
        listed: Dict[int, Mapping[str, object]] = {
            row["index"]: row for row in rows if isinstance(row.get("index"), int)
        }
        for index in sorted({*self._lost, *listed}):
            row = listed.get(index)
            found += self._is_lost(index, row is None or row.get("lost") is True)
            if row is not None:
                found += [*self._errors(index, row, now), *self._heat(index, row, now)]
        return found

    def _is_lost(self, index: int, lost: bool) -> List[Trouble]:
        before = self._lost.get(index, False)
        self._lost[index] = lost
        return [(LOST, lost_message(index))] if lost and not before else []

    def _errors(self, index: int, row: Mapping[str, object], now: float) -> List[Trouble]:
        found: List[Trouble] = []
        count, xid = row.get("ecc_errors"), row.get("xid")
        if isinstance(count, int):
            before: Optional[int] = self._ecc.get(index)
            self._ecc[index] = count
            if before is not None and count > before:
                found.append((ECC, ecc_message(index, count)))
        # a reading that hangs is given twice
        if isinstance(xid, int) and now - self._xids.get((index, xid), float("-inf")) > _SAME:
            self._xids[index, xid] = now
            found.append((XID, f"GPU {index}: the driver reported Xid {xid}; see NVIDIA's list"))
        return found

    def _heat(self, index: int, row: Mapping[str, object], now: float) -> List[Trouble]:
        reasons = hot_reasons(row)
        if not reasons:
            self._hot.pop(index, None)
            return []
        since = self._hot.setdefault(index, now)
        told = self._hot_told.get(index, float("-inf"))
        if now - since < _HOT_FOR or now - told < _AGAIN:
            return []
        self._hot_told[index] = now
        return [(HOT, hot_message(index, reasons))]


def hot_reasons(row: Mapping[str, object]) -> List[str]:
    """Why a GPU is too hot, sorted; none where it is not, or does not tell."""
    told = row.get("throttle")
    return sorted(THERMAL.intersection(told)) if isinstance(told, (list, tuple)) else []


def lost_message(index: int) -> str:
    return f"GPU {index} is lost: nothing can run on it; {_LOST_FIX}"


def ecc_message(index: int, count: int) -> str:
    return f"GPU {index} has {count} uncorrectable memory errors: results may be wrong"


def hot_message(index: int, reasons: List[str]) -> str:
    return f"GPU {index} runs below its clocks: {', '.join(reasons).replace('_', ' ')}"


def throttle_reasons(mask: int) -> List[str]:
    """Names of the set bits, lowest first."""
    return [name for bit, name in _REASONS if mask & bit]
