"""Python packages that a job needs: found in the box's Python, or installed once beside it.

They go to a folder named by the list itself, so the box's own environment is never changed and a
second run finds them there. Every start of a run imports this module, so it is quick to import.
"""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Callable, List, Optional, Protocol, Sequence

from devbox.box import paths

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class PackagesMissing(Exception):
    """pip could not install them."""


def provide(requirements: Sequence[str], say: Callable[[str], None]) -> Optional[Path]:
    """Make sure of every requirement (PEP 508). The folder to put on sys.path, or None when the
    box's Python has them all. What pip prints goes to stdout."""
    missing = [text for text in requirements if not _is_here(text)]
    if not missing:
        return None
    folder = _folder(missing)
    if not folder.is_dir():
        say("installing " + ", ".join(missing))
        _install(missing, folder)
    return folder


def has(requirement: str) -> bool:
    """Whether it is in the box's Python, or was installed beside it for the same list."""
    return _is_here(requirement) or _folder([requirement]).is_dir()


def _install(missing: List[str], folder: Path) -> None:
    import shutil

    part = folder.with_name(f"{folder.name}.part-{os.getpid()}")
    folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    installer = _installer(folder.parent)
    try:
        code = subprocess.run(
            [*installer, "--target", str(part), *missing],
            stdin=subprocess.DEVNULL,
            check=False,
            # `-m` takes modules from the current folder first; -P is newer than the oldest Python
            cwd=folder.parent,
        ).returncode
    except FileNotFoundError:
        raise PackagesMissing(
            "this Python has no pip, there is no uv, and no venv can be made: install python3-venv"
        ) from None
    if code:
        shutil.rmtree(part, ignore_errors=True)
        raise PackagesMissing(
            f"pip could not install {', '.join(missing)} (code {code}); "
            "choose an image that has them, or install them in the box's Python"
        )
    try:
        os.replace(part, folder)
    except OSError:
        shutil.rmtree(part, ignore_errors=True)  # another run was first: its folder is as good


def _installer(folder: Path) -> List[str]:
    """pip of this Python. Where it has none, as in the environment of `uv tool`: uv, else the pip
    of a venv that is made for it, once."""
    import shutil
    from importlib.util import find_spec

    pip = ["-m", "pip", "install", "--no-input", "--disable-pip-version-check"]
    if find_spec("pip"):
        return [sys.executable, *pip]
    uv = shutil.which("uv")
    if uv:
        return [uv, "pip", "install", "--python", sys.executable]
    place = folder / f"pip-{sys.version_info[0]}.{sys.version_info[1]}"
    if not place.is_dir():
        part = place.with_name(f"{place.name}.part-{os.getpid()}")
        subprocess.run([sys.executable, "-m", "venv", str(part)], check=False, cwd=folder)
        try:
            os.replace(part, place)
        except OSError:
            shutil.rmtree(part, ignore_errors=True)  # another run was first, or it was not made
    return [str(place / "bin" / "python"), *pip]


def _folder(missing: List[str]) -> Path:
    import hashlib

    version = ".".join(map(str, sys.version_info[:2]))
    digest = hashlib.sha256("\n".join([version, *sorted(missing)]).encode()).hexdigest()[:16]
    path = paths.root() / "packages"
    path.mkdir(mode=0o700, exist_ok=True)
    return path / digest


class _Specifier(Protocol):
    def contains(self, version: str, prereleases: bool) -> bool: ...


class _Requirement(Protocol):
    """What is used of packaging.requirements.Requirement."""

    specifier: _Specifier


def _is_here(text: str) -> bool:
    from importlib import metadata

    name = _NAME.match(text)
    if not name:
        return False
    try:
        version = metadata.version(name[0])
    except metadata.PackageNotFoundError:
        return False
    requirement = _requirement(text)
    return requirement is None or requirement.specifier.contains(version, prereleases=True)


def _requirement(text: str) -> Optional[_Requirement]:
    """Parsed by the packaging library, pip's copy where there is no other; without either the
    installed version is taken as good."""
    for module in ("packaging.requirements", "pip._vendor.packaging.requirements"):
        try:
            found: _Requirement = importlib.import_module(module).Requirement(text)
            return found
        except ImportError:
            continue
    return None
