"""Inputs of runs on the box: inputs/<key>/, where the key names the content that was sent.

A key is 16 digits that name the source (which folder of which computer) and 16 that name its
files with their sizes and times. A retry, or the next run on the same files, finds them there;
after an edit the new key starts as hard links to the last one, so that only the edit travels.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Optional

from devbox.box import paths
from devbox.box.runs.folder import BadRequest

_KEY = re.compile(r"[0-9a-f]{32}")


def prepare(key: str) -> bool:
    """Whether all of it is here. If not, the folder is made, filled with links to the files of the
    latest key of the same source."""
    folder = _folder(key)
    if _mark(folder).exists():
        return True
    if not folder.exists():
        older = _latest(folder)
        if older is not None:
            part = folder.with_name(f"{key}.part-{os.getpid()}")
            import shutil  # slow to import, and seldom needed

            # rsync writes again and renames, so a linked file is never changed in place.
            shutil.copytree(older, part, copy_function=os.link, symlinks=True)
            os.replace(part, folder)
        else:
            folder.mkdir(mode=0o700, exist_ok=True)
    return False


def finish(key: str) -> bool:
    """Everything has arrived: True."""
    folder = _folder(key)
    if not folder.is_dir():
        raise BadRequest("not_found", "no such input")
    _mark(folder).touch()
    return True


def _folder(key: str) -> Path:
    if not _KEY.fullmatch(key):
        raise BadRequest("bad_request", "an input key is 32 hexadecimal digits")
    path = paths.root() / "inputs"
    path.mkdir(mode=0o700, exist_ok=True)
    return path / key


def _latest(folder: Path) -> Optional[Path]:
    """The last complete input of the same source."""
    marks = list(folder.parent.glob(folder.name[:16] + "*.complete"))
    marks.sort(key=lambda mark: mark.stat().st_mtime)
    found = [mark.with_suffix("") for mark in marks if mark.with_suffix("").is_dir()]
    return found[-1] if found else None


def _mark(folder: Path) -> Path:
    return folder.with_name(folder.name + ".complete")
