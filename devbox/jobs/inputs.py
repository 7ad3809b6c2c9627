"""Inputs of runs: named by what they hold, sent once, found again by a retry."""

from __future__ import annotations

import fnmatch
import hashlib
import json
import os
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from devbox.errors import UsageError
from devbox.jobs.transfer import Tell, transfer
from devbox.remote import agent
from devbox.remote.agent_bootstrap import FOLDER, Runs
from devbox.sync import rsync_process
from devbox.text import clean, size
from devbox.wire.jobs import InputAnswer
from devbox.workspace import Workspace

MAX_FILES = 2_000_000


class Source(NamedTuple):
    """A local input as it is now. key: see devbox.box.runs.inputs. bytes: its size."""

    name: str
    path: Path
    key: str
    files: int
    bytes: int

    @property
    def remote(self) -> str:
        """Where it lies on a box, relative to the login folder."""
        return f"{FOLDER}/inputs/{self.key}/{self.path.name}"


def items(path: Path, patterns: Sequence[str]) -> int:
    """How many files a job finds in an input, as `devbox.box.job.Job.files` counts them: one in a
    file, and in a folder those that match, without hidden ones."""
    if not path.is_dir():
        return 1
    found = 0
    for _, folders, files in os.walk(path):
        folders[:] = [folder for folder in folders if not folder.startswith(".")]
        for file in files:
            shown = not file.startswith(".")
            found += shown and any(fnmatch.fnmatch(file.lower(), p.lower()) for p in patterns)
    return found


def look(name: str, path: Path) -> Source:
    """Name a file or folder by path, sizes and times (not by content: a video is large).
    UsageError when it cannot be read, holds a link to its own parent, or far too many files."""
    if not path.name:
        raise UsageError(f"input {name}: the whole file system is not an input")
    listing = [("", path)] if path.is_file() else _walk(path)
    entries = []
    total = 0
    for relative, file in listing:
        try:
            found = file.stat()
        except OSError as error:
            raise UsageError(
                f"input {name}: {clean(str(file), 200)} cannot be read: {error.strerror}",
                fix="repair or remove it",
            ) from error
        entries.append([os.fsencode(relative).hex(), found.st_size, found.st_mtime_ns])
        total += found.st_size
    source = _digest([platform.node(), os.fsencode(path).hex()])
    return Source(name, path, source + _digest(entries), len(entries), total)


def send(ws: Workspace, line: Runs, source: Source, tell: Tell | None = None) -> None:
    """Make sure that all of it is on the box. SyncError when it could not be sent."""
    if agent.job(line, InputAnswer, "input", "prepare", source.key).complete:
        ws.narrate(f"input {source.name}: already on {line.box.name}")
        return
    many = f"{source.files} files, " if source.files != 1 else ""
    shown = clean(source.path.name, 60)
    ws.narrate(f"input {source.name}: sending {shown} ({many}{size(source.bytes)})")
    if source.path.is_dir():
        # The folder is ours alone on the box: what the last version had and this one has not goes.
        extra = ("-L", "--delete")
        job = rsync_process.Job(line.box, source.path, source.remote, True, extra=extra)
    else:
        folder = f"{FOLDER}/inputs/{source.key}"
        names = [os.fsencode(source.path.name)]
        job = rsync_process.Job(
            line.box, source.path.parent, folder, True, files=names, extra=("-L",)
        )
    transfer(ws, job, total=source.bytes, tell=tell)
    agent.job(line, InputAnswer, "input", "finish", source.key)


def _walk(folder: Path) -> list[tuple[str, Path]]:
    """Every file below, links followed, in a fixed order."""
    found: list[tuple[str, Path]] = []
    above = {folder: {os.path.realpath(folder)}}
    for place, folders, files in os.walk(folder, followlinks=True):
        here = Path(place)
        known = above.pop(here)
        folders.sort()
        for name in folders:
            real = os.path.realpath(here / name)
            if real in known:
                raise UsageError(
                    f"{clean(str(here / name), 200)} links to a folder it lies in",
                    fix="remove the link",
                )
            above[here / name] = known | {real}
        found += [(str((here / name).relative_to(folder)), here / name) for name in sorted(files)]
        if len(found) > MAX_FILES:
            raise UsageError(f"{clean(str(folder), 200)} holds over {MAX_FILES:,} files")
    return found


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:16]
