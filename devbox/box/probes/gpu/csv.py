"""One line of nvidia-smi's CSV as the GPU part of a sample. Pure; units as `nounits` prints them.

Fields: `nvidia-smi --help-query-gpu`. Memory is MiB, power W, clocks MHz, reasons a hex mask.
Anything in brackets ([N/A], [Not Supported], [GPU is lost], …) is None.
"""

from __future__ import annotations

import os
import re
from typing import Callable, List, Mapping, Optional, Tuple, TypeVar

from devbox.box.probes.gpu import Process, Row
from devbox.box.probes.gpu.health import throttle_reasons

#: what nvidia-smi prints in place of values, or of everything, for a GPU that fell off the bus
LOST = "GPU is lost"
INVALID = re.compile(r'Field "([\w.]+)" is not a valid field')
_DIGITS = re.compile(r"[0-9]{1,9}")
_UUID = re.compile(r"(GPU|MIG)-")
_MIB = 1 << 20
#: what is asked, by nvidia-smi's names
FIELDS = (
    "index",
    "uuid",
    "name",
    "utilization.gpu",
    "utilization.memory",
    "memory.used",
    "memory.total",
    "power.draw",
    "power.limit",
    "temperature.gpu",
    "clocks.sm",
    "clocks.mem",
    "clocks_throttle_reasons.active",
    "ecc.errors.uncorrected.volatile.total",
    "mig.mode.current",
)
# A newer and an older name of one field; whichever the driver refuses, the other is asked.
_RENAMED = {"clocks_throttle_reasons.active": "clocks_event_reasons.active"}
_OLDER = {new: old for old, new in _RENAMED.items()}
T = TypeVar("T")


def parse_gpu(line: str, fields: List[str]) -> Optional[Row]:
    """The values of `fields`, without processes; those not asked are None. None when the line is
    something else."""
    words = [word.strip() for word in line.split(",")]
    if len(words) != len(fields) or not _DIGITS.fullmatch(words[0]):
        return None
    told = {_OLDER.get(field, field): word for field, word in zip(fields, words)}
    return row(told, lost=LOST in line)


def row(told: Mapping[str, str], *, lost: bool) -> Row:
    """told: field → what nvidia-smi printed for it."""

    def value(field: str, read: Callable[[str], Optional[T]]) -> Optional[T]:
        return read(told[field]) if field in told else None

    return {
        "index": value("index", _integer),
        "uuid": value("uuid", _text),
        "name": value("name", _text),
        "util": value("utilization.gpu", _integer),
        "mem_util": value("utilization.memory", _integer),
        "mem_used": value("memory.used", _mebibytes),
        "mem_total": value("memory.total", _mebibytes),
        "power_w": value("power.draw", _number),
        "power_limit_w": value("power.limit", _number),
        "temp_c": value("temperature.gpu", _integer),
        "sm_mhz": value("clocks.sm", _integer),
        "mem_mhz": value("clocks.mem", _integer),
        "throttle": value("clocks_throttle_reasons.active", _reasons),
        "ecc_errors": value("ecc.errors.uncorrected.volatile.total", _integer),
        "mig": value("mig.mode.current", _enabled),
        "lost": lost,
        "xid": None,
    }


def parse_process(line: str) -> Optional[Tuple[str, Process]]:
    """(GPU uuid, process) of a line `gpu_uuid, pid, used_memory, process_name`."""
    words = [word.strip() for word in line.split(",", 3)]
    if len(words) != 4 or not _UUID.match(words[0]) or not _DIGITS.fullmatch(words[1]):
        return None
    name = _text(words[3])
    return words[0], {
        "pid": int(words[1]),
        "name": os.path.basename(name.split(" ")[0])[:80] if name else None,
        "mem_used": _mebibytes(words[2]),
    }


def without(fields: List[str], message: str) -> List[str]:
    """The fields to ask next, after nvidia-smi refused one."""
    match = INVALID.search(message)
    refused = match[1] if match else ""
    left = [_RENAMED.get(field, "") if field == refused else field for field in fields]
    return [field for field in left if field]


def _text(word: str) -> Optional[str]:
    return None if not word or word.startswith("[") or word == "N/A" else word[:200]


def _number(word: str) -> Optional[float]:
    try:
        value = float(word)
    except ValueError:
        return None
    return value if -1e15 < value < 1e15 else None


def _integer(word: str) -> Optional[int]:
    value = _number(word)
    return None if value is None else int(value)


def _mebibytes(word: str) -> Optional[int]:
    value = _number(word)
    return None if value is None or value < 0 else int(value * _MIB)


def _reasons(word: str) -> Optional[List[str]]:
    try:
        return throttle_reasons(int(word[:18], 16))
    except ValueError:
        return None


def _enabled(word: str) -> bool:
    return word == "Enabled"
