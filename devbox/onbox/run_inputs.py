"""Inputs of runs on the box: inputs/<key>/, where the key names the content that was sent.

A run's retry, or the next run on the same files, finds them there. `prepare` starts a new key
from an older one by hard links, so that only what changed travels.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import Any, Dict

from devbox.onbox import place
from devbox.onbox.run_files import BadRequest

_KEY = re.compile(r"[0-9a-f]{16,64}")


def prepare(key: str, like: str) -> Dict[str, Any]:
    """{"complete": bool}: whether all of it is here. If not, the folder is made, filled with
    links to the files of `like` ("" or an older key)."""
    folder = _folder(key)
    if _mark(folder).exists():
        return {"v": 1, "complete": True}
    if not folder.exists():
        older = _folder(like) if like else None
        if older is not None and _mark(older).exists():
            part = folder.with_name(f"{key}.part-{os.getpid()}")
            # rsync writes anew and renames, so a linked file is never changed in place.
            shutil.copytree(older, part, copy_function=os.link, symlinks=True)
            os.replace(part, folder)
        else:
            folder.mkdir(mode=0o700, exist_ok=True)
    return {"v": 1, "complete": False}


def finish(key: str) -> Dict[str, Any]:
    """Everything has arrived."""
    folder = _folder(key)
    if not folder.is_dir():
        raise BadRequest("not_found", "no such input")
    _mark(folder).touch()
    return {"v": 1, "complete": True}


def _folder(key: str) -> Path:
    if not _KEY.fullmatch(key):
        raise BadRequest("bad_request", "an input key is 16 to 64 hexadecimal digits")
    path = place.root() / "inputs"
    path.mkdir(mode=0o700, exist_ok=True)
    return path / key


def _mark(folder: Path) -> Path:
    return folder.with_name(folder.name + ".complete")
