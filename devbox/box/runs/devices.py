"""Which GPUs this box can give to runs, by the names that CUDA_VISIBLE_DEVICES takes. Pure.

A GPU is given by its UUID, or by its index where the driver tells none. Where CUDA_VISIBLE_DEVICES
is set for the runs already, only what it names is given, as CUDA reads it: the first name that fits
no GPU ends the list. Indexes are those of the bus. A GPU in MIG mode is not given; instances
that the variable names are, one each, and of these no memory is known.
"""

from __future__ import annotations

from typing import Dict, List, NamedTuple, Optional, Sequence

from devbox.box.probes.gpu import Row

VARIABLE = "CUDA_VISIBLE_DEVICES"
LITTLE = 1 << 30  # bytes; a GPU on which programs hold more is in use


class Device(NamedTuple):
    """label: for people. used: bytes in use on it; None where the driver does not tell."""

    name: str
    label: str
    used: Optional[int] = None

    @property
    def is_used(self) -> bool:
        return self.used is not None and self.used > LITTLE


def usable(rows: Sequence[Row], visible: Optional[str] = None) -> List[Device]:
    """rows: the "gpus" of a sample. visible: what CUDA_VISIBLE_DEVICES holds, None where unset."""
    if visible is None:
        return [_device(row) for row in rows if _is_whole(row)]
    found: Dict[str, Device] = {}
    for word in (word.strip() for word in visible.split(",")):
        row = _named(rows, word)
        if row is not None and _is_whole(row):
            device = _device(row)
        elif row is None and word.startswith("MIG-"):
            device = Device(word, word)
        else:
            break
        found.setdefault(device.name, device)
    return list(found.values())


def environment(names: Sequence[str]) -> Dict[str, str]:
    """What has a program see just these; nothing where there are none."""
    if not names:
        return {}
    order = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"} if any(name.isdigit() for name in names) else {}
    return {VARIABLE: ",".join(names), **order}


def given(rows: Sequence[Row], names: Sequence[str]) -> List[Row]:
    """Those of `rows` that a run was given; all where it was given none that is known."""
    return [row for row in rows if _name(row) in names] or list(rows)


def _named(rows: Sequence[Row], word: str) -> Optional[Row]:
    """The GPU that CUDA takes this for: an index, or the beginning of just one UUID."""
    if word.isdigit():
        return next((row for row in rows if str(row.get("index")) == str(int(word))), None)
    begun = [row for row in rows if word and str(row.get("uuid") or "").startswith(word)]
    return begun[0] if len(begun) == 1 else None


def _is_whole(row: Row) -> bool:
    return not row.get("mig") and not row.get("lost")


def _name(row: Row) -> str:
    return str(row.get("uuid") or row.get("index"))


def _device(row: Row) -> Device:
    used = row.get("mem_used")
    if used is None:
        held = [each.get("mem_used") for each in row.get("processes") or ()]
        known = [size for size in held if size is not None]
        used = sum(known) if known else None
    return Device(_name(row), f"GPU {row.get('index')}", used)
