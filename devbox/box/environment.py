"""A Python environment of a job's own: a venv on the box, made once, named by what it holds.

    wanted = Environment(("mediapipe==0.10.21",), no_deps=True, python=">=3.9,<3.13")
    python = provide(wanted, print)

What a job needs may not go together with the box's own packages, or not with the box's Python. The
venv is made with the first interpreter that fits: this one, else python3.13 … python3.9 of PATH.
It never sees the packages of the interpreter that it was made with. One run at a time makes it;
another that wants it waits. It counts only once it is whole: what a killed run left is removed.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import Callable, Iterator, List, NamedTuple, Optional, Sequence, Tuple

from devbox.box import paths
from devbox.wire.jobs import Environment

NEWEST, OLDEST = 13, 9  # minor versions of the interpreters that are looked for
_MARK = "complete"  # a file in the venv, written last
_LOOK = "import sys, venv, ensurepip; print(*sys.version_info[:3])"
_COMPARE: dict[str, Callable[[Tuple[int, ...], Tuple[int, ...]], bool]] = {
    ">=": lambda have, asked: have >= asked,
    "<=": lambda have, asked: have[: len(asked)] <= asked,
    "==": lambda have, asked: have[: len(asked)] == asked,
    "!=": lambda have, asked: have[: len(asked)] != asked,
    ">": lambda have, asked: have[: len(asked)] > asked,
    "<": lambda have, asked: have < asked,
}


class EnvironmentMissing(Exception):
    """It cannot be made on this box; the text says what is needed."""


class NoPython(EnvironmentMissing):
    """No interpreter of this box fits."""


class Interpreter(NamedTuple):
    path: str
    version: Tuple[int, int, int]

    def __str__(self) -> str:
        return f"{'.'.join(map(str, self.version))} ({self.path})"


def provide(wanted: Environment, say: Callable[[str], None], *, more: Sequence[str] = ()) -> str:
    """The venv's interpreter, made where it is missing. more: further requirements, installed
    after `wanted.packages` with their dependencies. What pip prints goes to stdout. NoPython where
    no interpreter of the box fits, EnvironmentMissing where it cannot be made."""
    found = choose(wanted.python)
    folder = _folder(wanted, more, found)
    python = folder / "bin" / "python"
    if _is_whole(folder, python):
        return str(python)
    with _alone(folder, say):
        if not _is_whole(folder, python):
            shutil.rmtree(folder, ignore_errors=True)
            say(f"making an environment with Python {found}")
            try:
                _make(found, folder, python, wanted, more)
            except BaseException:
                shutil.rmtree(folder, ignore_errors=True)
                raise
    return str(python)


def choose(versions: str) -> Interpreter:
    """The first interpreter of this box that fits, such as ">=3.9,<3.13" ("": any), and can make a
    venv. NoPython names those that there are."""
    seen: List[Interpreter] = []
    for path in _candidates():
        found = _look(path)
        if found is None:
            continue
        seen.append(found)
        if fits(versions, found.version):
            return found
    have = ", ".join(str(each) for each in seen) or "none that can make a venv"
    minor = next((m for m in range(NEWEST, OLDEST - 1, -1) if fits(versions, (3, m, 99))), NEWEST)
    raise NoPython(
        f"an environment needs Python {versions or 'with its venv module'}, and this box has "
        f"{have}: choose an image that has one, or install python3.{minor} and its venv module"
    )


def fits(versions: str, have: Tuple[int, ...]) -> bool:
    """Whether a version satisfies every part of a range such as ">=3.9,<3.13"."""
    for part in filter(None, versions.split(",")):
        sign, number = re.findall(r"[<>=!]+|[\d.]+", part)
        if not _COMPARE[sign](have, tuple(int(each) for each in number.split("."))):
            return False
    return True


def _candidates() -> Iterator[str]:
    yield sys.executable
    for minor in range(NEWEST, OLDEST - 1, -1):
        path = shutil.which(f"python3.{minor}")
        if path:
            yield path


def _look(path: str) -> Optional[Interpreter]:
    """None for one that does not start (a version manager's name for nothing), or makes no venv."""
    try:
        done = subprocess.run(
            [path, "-I", "-c", _LOOK], capture_output=True, check=False, timeout=30, cwd=os.sep
        )
        major, minor, micro = map(int, done.stdout.split())
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None
    return Interpreter(path, (major, minor, micro))


def _make(
    found: Interpreter, folder: Path, python: Path, wanted: Environment, more: Sequence[str]
) -> None:
    env = {key: each for key, each in os.environ.items() if not key.startswith("PYTHON")}

    def step(what: str, *argv: str) -> None:
        code = subprocess.run(
            argv, stdin=subprocess.DEVNULL, check=False, cwd=folder.parent, env=env
        ).returncode
        if code:
            raise EnvironmentMissing(
                f"{what} (code {code}; the log says why): correct the packages of the "
                "environment, or choose an image with another Python"
            )

    step("the environment could not be made", found.path, "-I", "-m", "venv", str(folder))
    pip = (str(python), "-m", "pip", "install", "--no-input", "--disable-pip-version-check")
    named = ", ".join(wanted.packages)
    if wanted.packages:
        alone = ("--no-deps",) if wanted.no_deps else ()
        step(f"pip could not install {named}", *pip, *alone, *wanted.packages)
    if more:
        step(f"pip could not install {', '.join(more)}", *pip, *more)
    (folder / _MARK).touch()


def _is_whole(folder: Path, python: Path) -> bool:
    """Also that the interpreter it was made with is still there."""
    return (folder / _MARK).exists() and python.exists()


def _folder(wanted: Environment, more: Sequence[str], found: Interpreter) -> Path:
    holds = [sorted(wanted.packages), wanted.no_deps, sorted(more), found.version[:2]]
    digest = hashlib.sha256(json.dumps([*holds, os.path.realpath(found.path)]).encode())
    return paths.private(paths.root() / "environments") / digest.hexdigest()[:16]


@contextmanager
def _alone(folder: Path, say: Callable[[str], None]) -> Iterator[None]:
    with open(folder.with_suffix(".lock"), "ab") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another run that makes the same environment")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
