"""Dotfiles: a repository or folder of the user's, kept in ~/.dotfiles and installed from there.

Its own script does it where it has one, else each hidden file of its top is linked into the home
folder. What the box has there already is moved aside, never overwritten. `.ssh` stays as it is:
another authorized_keys would lock the user out.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Callable

SCRIPTS = (
    *("install.sh", "install", "bootstrap.sh", "bootstrap", "script/bootstrap"),
    *("setup.sh", "setup", "script/setup"),
)
_LEFT_OUT = (".git", ".github", ".gitignore", ".gitmodules", ".gitattributes", ".ssh")
_REMOTE = re.compile(r"[a-z][a-z+]*://|[\w.-]+@[\w.-]+:")
BACKUP = ".before-devbox"


class NotInstalled(Exception):
    """The text says why."""


def fetch(source: str, home: Path, tell: Callable[[str], None], *, ours: bool) -> None:
    """Bring them to ~/.dotfiles. source: what `git clone` takes, or a folder relative to `home`.
    ours: what is there is an earlier copy of ours. NotInstalled, and what was there is as before.
    """
    kept, part = home / ".dotfiles", home / f".dotfiles.part-{os.getpid()}"
    try:
        _take(source, home, part)
        if ours and kept.is_dir() and not kept.is_symlink():
            shutil.rmtree(kept)
        elif os.path.lexists(kept):
            tell(f"moved aside: {_aside(kept).name}")
        part.rename(kept)
    except OSError as error:
        raise _unable(error) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def install(home: Path, tell: Callable[[str], None]) -> None:
    """From ~/.dotfiles: its script, else links. NotInstalled; what was done until then stays."""
    kept = home / ".dotfiles"
    try:
        for name in SCRIPTS:
            if (kept / name).is_file():
                _run(kept, name, tell)
                return
        _link(kept, home, kept, tell)
    except OSError as error:
        raise _unable(error) from error


def _unable(error: OSError) -> NotInstalled:
    return NotInstalled(f"{error.filename or 'the disk'}: {error.strerror or error}")


def _take(source: str, home: Path, part: Path) -> None:
    if not _REMOTE.match(source):
        (home / source).rename(part)
        return
    if shutil.which("git") is None:
        raise NotInstalled("the box has no git")
    # Nobody is there to type a password.
    env = {**os.environ, "GIT_TERMINAL_PROMPT": "0", "GIT_SSH_COMMAND": "ssh -oBatchMode=yes"}
    words = ["clone", "--depth", "1", "--recurse-submodules", "--", source, str(part)]
    if subprocess.call(["git", *words], stdin=subprocess.DEVNULL, env=env):
        raise NotInstalled(f"git could not clone {source}")


def _run(kept: Path, name: str, tell: Callable[[str], None]) -> None:
    tell(f"running {name}")
    script = kept / name
    argv = [str(script)] if os.access(script, os.X_OK) else ["sh", str(script)]
    code = subprocess.call(argv, cwd=kept, stdin=subprocess.DEVNULL)
    if code:
        raise NotInstalled(f"{name} ended with code {code}")


def _link(folder: Path, home: Path, top: Path, tell: Callable[[str], None]) -> None:
    """Link what lies in `folder` into `home`; folders that both have are entered."""
    for entry in sorted(folder.iterdir()):
        if folder == top and (not entry.name.startswith(".") or entry.name in _LEFT_OUT):
            continue
        place = home / entry.name
        if place.is_symlink() and os.path.realpath(place) == os.path.realpath(entry):
            continue
        both = entry.is_dir() and not entry.is_symlink()
        if both and place.is_dir() and not place.is_symlink():
            _link(entry, place, top, tell)
            continue
        if os.path.lexists(place):
            tell(f"moved aside: {_aside(place).name}")
        place.symlink_to(entry)


def _aside(path: Path) -> Path:
    """Rename what is there to a name that is free; where it is now."""
    number, backup = 1, path.with_name(path.name + BACKUP)
    while os.path.lexists(backup):
        number += 1
        backup = path.with_name(f"{path.name}{BACKUP}-{number}")
    path.rename(backup)
    return backup
