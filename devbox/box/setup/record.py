"""What was set up on this disk: setup/<workdir>.json for the lines of one work folder, and
setup/home.json for the login. A disk that is new has neither, so all of it is done again."""

from __future__ import annotations

import fcntl
import hashlib
import os
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Callable, Iterator, NamedTuple, Sequence, Tuple

from devbox.box import json_file, paths
from devbox.wire.codec import Word

_AGAIN = 0.2  # seconds


class Record(NamedTuple):
    """done: lines that ended well, in order. wanted, run: those of the latest run, and its id.
    failed: how the line after `done` ended in it."""

    done: Tuple[Word, ...] = ()
    wanted: Tuple[Word, ...] = ()
    run: Word = ""
    failed: Word = ""


class Login(NamedTuple):
    """dotfiles: where those that are installed came from. tried: those that ~/.dotfiles is a copy
    of, installed or not."""

    dotfiles: Word = ""
    tried: Word = ""


def common(done: Sequence[str], wanted: Sequence[str]) -> int:
    """How many lines from the first are the same."""
    count = 0
    for one, other in zip(done, wanted):
        if one != other:
            break
        count += 1
    return count


def read(workdir: Path) -> Record:
    return json_file.load(_file(workdir), Record) or Record()


def write(workdir: Path, record: Record) -> None:
    """OSError when the disk is full."""
    json_file.write(_file(workdir), record, durable=True)


def login() -> Login:
    return json_file.load(_folder() / "home.json", Login) or Login()


def write_login(found: Login) -> None:
    json_file.write(_folder() / "home.json", found, durable=True)


@contextmanager
def alone(waits: Callable[[], None], over: Callable[[], bool]) -> Iterator[None]:
    """One setup of this box at a time. waits: called once when another one is at work. over: asked
    while waiting; when it says yes, the setup begins no more: InterruptedError."""
    with open(_folder() / "lock", "ab") as lock:
        told = False
        while not _taken(lock.fileno()):
            if not told:
                waits()
                told = True
            if over():
                raise InterruptedError
            time.sleep(_AGAIN)
        yield


def _taken(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _file(workdir: Path) -> Path:
    name = hashlib.sha256(os.fsencode(os.path.realpath(workdir))).hexdigest()[:16]
    return _folder() / f"{name}.json"


def _folder() -> Path:
    return paths.private(paths.root() / "setup")
