"""One line of nvidia-smi's CSV as the GPU part of a sample. Pure; units as `nounits` prints them.

Fields: `nvidia-smi --help-query-gpu`. Memory is MiB, power W, clocks MHz, reasons a hex mask.
Anything in brackets ([N/A], [Not Supported], [GPU is lost], …) is None.
"""

from __future__ import annotations

import os
import re
from typing import Any, Callable, Dict, List, Optional, Tuple

from devbox.box.probes.gpu.health import throttle_reasons

#: what nvidia-smi prints in place of values, or of everything, for a GPU that fell off the bus
LOST = "GPU is lost"
INVALID = re.compile(r'Field "([\w.]+)" is not a valid field')
_DIGITS = re.compile(r"[0-9]{1,9}")
_UUID = re.compile(r"(GPU|MIG)-")
_MIB = 1 << 20
# A newer and an older name of one field; whichever the driver refuses, the other is asked.
_RENAMED = {"clocks_throttle_reasons.active": "clocks_event_reasons.active"}


def parse_gpu(line: str, fields: List[str]) -> Optional[Dict[str, Any]]:
    """The values of `fields`; those not asked are None. None when the line is something else."""
    words = [word.strip() for word in line.split(",")]
    if len(words) != len(fields) or not _DIGITS.fullmatch(words[0]):
        return None
    row: Dict[str, Any] = {key: None for key, _ in FIELDS.values()}
    for field, word in zip(fields, words):
        key, read = _reader(field)
        row[key] = read(word)
    return {**row, "lost": LOST in line, "xid": None}


def parse_process(line: str) -> Optional[Tuple[str, Dict[str, Any]]]:
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


def _reader(field: str) -> Tuple[str, Callable[[str], Any]]:
    for old, new in _RENAMED.items():
        if field == new:
            return FIELDS[old]
    return FIELDS[field]


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


#: what is asked: nvidia-smi's name → (key in the sample, reader)
FIELDS: Dict[str, Tuple[str, Callable[[str], Any]]] = {
    "index": ("index", _integer),
    "uuid": ("uuid", _text),
    "name": ("name", _text),
    "utilization.gpu": ("util", _integer),
    "utilization.memory": ("mem_util", _integer),
    "memory.used": ("mem_used", _mebibytes),
    "memory.total": ("mem_total", _mebibytes),
    "power.draw": ("power_w", _number),
    "power.limit": ("power_limit_w", _number),
    "temperature.gpu": ("temp_c", _integer),
    "clocks.sm": ("sm_mhz", _integer),
    "clocks.mem": ("mem_mhz", _integer),
    "clocks_throttle_reasons.active": ("throttle", _reasons),
    "ecc.errors.uncorrected.volatile.total": ("ecc_errors", _integer),
    "mig.mode.current": ("mig", _enabled),
}
