"""What a box says, validated. The wire form is in devbox.wire.codec; a box is not trusted.

A line that is too long, not JSON or without a usable name is dropped. In a sample every other
leaf of a wrong type or beyond sense is None, unknown keys are ignored, texts are cleaned and cut,
and lists are cut: nothing a box sends makes this raise.
"""

from __future__ import annotations

import re
from typing import Any, TypeVar

import msgspec

from devbox.text import clean
from devbox.wire import codec

MAX_GPUS = 64
MAX_PROCESSES = 64
MAX_JOBS = 100
_BOOT = re.compile(r"[A-Za-z0-9_-]{1,64}")
_BIG = float(1 << 62)
S = TypeVar("S", bound=msgspec.Struct)


class Cpu(msgspec.Struct, frozen=True):
    """util: per cent over all `count` cores."""

    util: float | None = None
    count: int | None = None
    load1: float | None = None


class Memory(msgspec.Struct, frozen=True):
    """Bytes."""

    used: int | None = None
    total: int | None = None


class Disk(msgspec.Struct, frozen=True):
    """Fill of the file system at `path`, bytes; traffic of the box's disks, bytes a second."""

    path: str | None = None
    used: int | None = None
    total: int | None = None
    read_bps: float | None = None
    write_bps: float | None = None


class Net(msgspec.Struct, frozen=True):
    """Bytes a second."""

    rx_bps: float | None = None
    tx_bps: float | None = None


class Ssh(msgspec.Struct, frozen=True):
    """Logins now; cumulative bytes without devbox's own streams."""

    sessions: int | None = None
    rx_bytes: int | None = None
    tx_bytes: int | None = None


class Tty(msgspec.Struct, frozen=True):
    """Terminals of the box's user; input_at: unix seconds of the latest keystroke at one."""

    count: int | None = None
    input_at: float | None = None


class Process(msgspec.Struct, frozen=True):
    """A process on a GPU. mem_used: bytes of GPU memory."""

    pid: int | None = None
    name: str | None = None
    mem_used: int | None = None


class Gpu(msgspec.Struct, frozen=True):
    """One GPU. Utilisation in per cent, memory in bytes, watts, degrees Celsius, megahertz."""

    index: int | None = None
    uuid: str | None = None
    name: str | None = None
    util: float | None = None
    mem_util: float | None = None
    mem_used: int | None = None
    mem_total: int | None = None
    power_w: float | None = None
    power_limit_w: float | None = None
    temp_c: float | None = None
    sm_mhz: int | None = None
    mem_mhz: int | None = None
    throttle: tuple[str, ...] | None = None
    ecc_errors: int | None = None
    mig: bool | None = None
    lost: bool | None = None
    xid: int | None = None
    processes: tuple[Process, ...] | None = None


class Sample(msgspec.Struct, frozen=True):
    """The box at its unix time `t`. (boot, seq) names it; seq counts up within boot.

    A part the box cannot measure has all its leaves None; jobs, gpus None: not known.
    """

    boot: str
    seq: int
    t: float
    cpu: Cpu = Cpu()
    mem: Memory = Memory()
    disk: Disk = Disk()
    net: Net = Net()
    ssh: Ssh = Ssh()
    tty: Tty = Tty()
    requests: int | None = None
    jobs: tuple[str, ...] | None = None
    gpus: tuple[Gpu, ...] | None = None

    @property
    def position(self) -> tuple[str, int]:
        return self.boot, self.seq


class BoxEvent(msgspec.Struct, frozen=True):
    """What the watchdog on the box did, in words. seq counts up for the life of the box."""

    seq: int
    t: float
    kind: str
    message: str


class Heartbeat(msgspec.Struct, frozen=True):
    """The stream lives and had nothing to say. agent: the box's sampler runs."""

    t: float
    agent: bool


Message = Sample | BoxEvent | Heartbeat


def parse(line: bytes) -> Message | None:
    """One line of a stream; None when it is nothing we know."""
    body = codec.load_or_none(line)
    if body is None or body.get("v") != codec.VERSION:
        return None
    if isinstance(body.get("event"), dict):
        return _event(body["event"])
    if "hb" in body:
        t = _moment(body["hb"])
        return None if t is None else Heartbeat(t, body.get("agent") is True)
    return _sample(body)


def _sample(body: dict[str, Any]) -> Sample | None:
    boot, seq, t = body.get("boot"), _integer(body.get("seq")), _moment(body.get("t"))
    if not isinstance(boot, str) or not _BOOT.fullmatch(boot) or seq is None or t is None:
        return None
    gpus = body.get("gpus")
    return Sample(
        boot=boot,
        seq=seq,
        t=t,
        cpu=_leaves(Cpu, body.get("cpu")),
        mem=_leaves(Memory, body.get("mem")),
        disk=_leaves(Disk, body.get("disk")),
        net=_leaves(Net, body.get("net")),
        ssh=_leaves(Ssh, body.get("ssh")),
        tty=_leaves(Tty, body.get("tty")),
        requests=_integer(body.get("requests")),
        jobs=_texts(body.get("jobs"), MAX_JOBS),
        gpus=tuple(map(_gpu, gpus[:MAX_GPUS])) if isinstance(gpus, list) else None,
    )


def _gpu(body: object) -> Gpu:
    found = _leaves(Gpu, body)
    processes = body.get("processes") if isinstance(body, dict) else None
    if not isinstance(processes, list):
        return found
    rows = tuple(_leaves(Process, row) for row in processes[:MAX_PROCESSES])
    return msgspec.structs.replace(found, processes=rows)


def _event(body: dict[str, Any]) -> BoxEvent | None:
    seq, t = _integer(body.get("seq")), _moment(body.get("t"))
    kind, message = body.get("kind"), body.get("message")
    if seq is None or t is None or not isinstance(kind, str) or not isinstance(message, str):
        return None
    return BoxEvent(seq, t, clean(kind, 40), clean(message, 500))


def _leaves(kind: type[S], body: object) -> S:
    """A struct of plain leaves, each read by its type; a leaf that does not fit is None."""
    if not isinstance(body, dict):
        return kind()
    return kind(**{name: read(body.get(name)) for name, read in _READERS[kind].items()})


def _number(value: object) -> float | None:
    # NaN fails the comparison, and a huge integer is compared, never converted
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= _BIG:
        return float(value)
    return None


def _moment(value: object) -> float | None:
    """Unix seconds that a calendar knows."""
    found = _number(value)
    return found if found is not None and found <= codec.LATEST else None


def _integer(value: object) -> int | None:
    number = _number(value)
    return None if number is None else int(value if isinstance(value, int) else number)


def _text(value: object) -> str | None:
    return clean(value, 200).replace("\n", " ") if isinstance(value, str) else None


def _texts(value: object, limit: int = 20) -> tuple[str, ...] | None:
    if not isinstance(value, list):
        return None
    return tuple(text for text in map(_text, value[:limit]) if text)


def _flag(value: object) -> bool | None:
    return value if isinstance(value, bool) else None


def _nothing(_: object) -> None:
    """Read by hand, not as a leaf."""


_BY_TYPE: dict[Any, Any] = {
    float | None: _number,
    int | None: _integer,
    str | None: _text,
    bool | None: _flag,
    tuple[str, ...] | None: _texts,
    tuple[Process, ...] | None: _nothing,
}
_READERS: dict[type[msgspec.Struct], dict[str, Any]] = {
    kind: {field.name: _BY_TYPE[field.type] for field in msgspec.structs.fields(kind)}
    for kind in (Cpu, Memory, Disk, Net, Ssh, Tty, Process, Gpu)
}
