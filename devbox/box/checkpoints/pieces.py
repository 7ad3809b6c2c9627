"""A file taken in ranges over several connections at once, each into its place in one sparse file.
Beside it a note says which pieces are there, so that a fetch that was cut off asks for the others
only."""

from __future__ import annotations

import json
import os
import threading
from contextlib import contextmanager
from http.client import HTTPResponse
from pathlib import Path
from typing import Callable, ContextManager, Dict, Iterator, List, NamedTuple, Optional, Set

PIECE = 16 << 20
STREAMS = 8
_CHUNK = 1 << 20
Get = Callable[[Dict[str, str]], ContextManager[HTTPResponse]]


class Unfinished(Exception):
    """It ended early, and may continue. after: seconds the server asks to wait."""

    def __init__(self, why: str, after: float = 0.0) -> None:
        super().__init__(why)
        self.after = after


class Changed(Exception):
    """The server holds another version than what was begun."""


class DiskError(OSError):
    """The disk refused what arrived: no fault of the connection."""


class Plan(NamedTuple):
    """size, piece: bytes. tag: what names the version to `If-Range`. done: pieces that arrived."""

    target: Path
    size: int
    piece: int
    tag: str
    done: Set[int]

    @property
    def pieces(self) -> int:
        return -(-self.size // self.piece)

    def bounds(self, index: int) -> "tuple[int, int]":
        """First and last byte of a piece."""
        first = index * self.piece
        return first, min(first + self.piece, self.size) - 1


def begin(target: Path, size: int, piece: int, tag: str) -> Plan:
    """A new file of that size, with nothing in it yet."""
    with disk():
        forget(target)
        with target.open("wb") as stream:
            stream.truncate(size)
        _note(target).write_text(json.dumps({"size": size, "piece": piece, "tag": tag}) + "\n")
    return Plan(target, size, piece, tag, set())


def read(target: Path) -> Optional[Plan]:
    """What was begun before; None for nothing."""
    try:
        head, *rest = _note(target).read_text().split("\n")
        known = json.loads(head)
        plan = Plan(target, int(known["size"]), int(known["piece"]), str(known["tag"]), set())
        if target.stat().st_size != plan.size or plan.piece < 1:
            raise ValueError
    except (OSError, ValueError, KeyError, TypeError):
        return None
    plan.done.update(int(line) for line in rest if line.isdecimal() and int(line) < plan.pieces)
    return plan


def forget(target: Path) -> None:
    """Nothing of it is there any more."""
    target.unlink(missing_ok=True)
    _note(target).unlink(missing_ok=True)


def arrived(target: Path) -> int:
    """Bytes of it that are there."""
    plan = read(target)
    if plan is None:
        return target.stat().st_size if target.exists() else 0
    return min(len(plan.done) * plan.piece, plan.size)


def fetch(plan: Plan, get: Get, streams: int = STREAMS) -> None:
    """What is missing. The first error ends all streams, and is raised: Unfinished, Changed or
    OSError."""
    missing = iter([index for index in range(plan.pieces) if index not in plan.done])
    errors: List[Exception] = []
    lock, stop = threading.Lock(), threading.Event()
    with plan.target.open("r+b", buffering=0) as file, _note(plan.target).open("a") as note:

        def work() -> None:
            while not stop.is_set():
                with lock:
                    index = next(missing, None)
                if index is None:
                    return
                try:
                    _piece(plan, index, get, file.fileno(), stop)
                except Exception as error:
                    errors.append(error)
                    stop.set()
                    return
                if stop.is_set():
                    return
                with lock:
                    plan.done.add(index)
                    note.write(f"{index}\n")
                    note.flush()

        threads = [threading.Thread(target=work, daemon=True) for _ in range(streams)]
        for thread in threads:
            thread.start()
        try:
            for thread in threads:
                thread.join()
        finally:
            stop.set()
            for thread in threads:
                thread.join()
    if errors:
        raise next((each for each in errors if not isinstance(each, Unfinished)), errors[0])
    _note(plan.target).unlink()


def _piece(plan: Plan, index: int, get: Get, file: int, stop: threading.Event) -> None:
    first, last = plan.bounds(index)
    with get({"Range": f"bytes={first}-{last}", "If-Range": plan.tag}) as answer:
        told = answer.headers.get("Content-Range") or ""
        if answer.status != 206 or told != f"bytes {first}-{last}/{plan.size}":
            raise Changed
        at = first
        while at <= last and not stop.is_set():
            data = answer.read(min(_CHUNK, last - at + 1))
            if not data:
                raise Unfinished(f"cut off in the piece at {first}")
            with disk():
                written = os.pwrite(file, data, at)
                if written < len(data):
                    os.pwrite(file, data[written:], at + written)  # why: it raises what stopped it
            at += len(data)


@contextmanager
def disk() -> Iterator[None]:
    """Errors in it are the disk's."""
    try:
        yield
    except DiskError:
        raise
    except OSError as error:
        if error.errno is None:
            raise
        raise DiskError(error.errno, error.strerror, error.filename) from None


def _note(target: Path) -> Path:
    return target.with_suffix(".pieces")
