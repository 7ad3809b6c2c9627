"""What this computer knows of a resource beyond what the Hub tells: moments it asked for things,
so that billed time is exact though the Hub names no times, and answers that never change.

Notes only sharpen: without them everything still works, from first-seen times. One small file
each in the cache folder.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec

from devbox import paths
from devbox.described import described
from devbox.files import private_dir, write_atomic
from devbox.providers.hf.tags import Tag


class Notes(msgspec.Struct):
    """Of one Space or Job. Times are unix seconds.

    created: the Hub's own word for when it was made; other notes of a resource that was made at
    another time are about an earlier one. asked_start, asked_stop: when we last asked for it and
    have not seen it happen. since: begin of the billed stretch that runs now; ahead: by how
    much the Hub's clock was ahead of ours when these were noted; flavor: the hardware that it was
    last seen to run on. ended: end of the last one; began: its begin. ending: its end permanently
    was asked for. failure, tail: which failure the kept log lines are of.
    """

    handle: str = ""
    created: str = ""
    token: str = ""
    name: str = ""
    adopted: bool = False
    subdomain: str = ""
    ceiling: int = 0
    hardware: str = ""
    asked_start: float | None = None
    asked_stop: float | None = None
    since: float | None = None
    ahead: float | None = None
    flavor: str = ""
    ended: float | None = None
    began: float | None = None
    ending: bool = False
    failure: str = ""
    tail: str = ""

    def tag(self) -> Tag:
        """The tag that was read last."""
        return Tag(self.token, self.name, self.ceiling, self.adopted, self.hardware)


class LocalRecords:
    """Notes by handle, of one endpoint."""

    def __init__(self, endpoint: str) -> None:
        self._endpoint = endpoint

    def read(self, handle: str) -> Notes:
        """Empty notes when there are none, or none that can be read."""
        try:
            return msgspec.json.decode(self._file(handle).read_bytes(), type=described(Notes))
        except (OSError, msgspec.DecodeError):
            return Notes()

    def write(self, handle: str, notes: Notes) -> None:
        notes.handle = handle
        write_atomic(self._file(handle), msgspec.json.encode(notes))

    def handles(self, token: str) -> list[str]:
        """Handles that this computer has asked for or seen with that token."""
        found = []
        for file in folder().glob("*.json"):
            try:
                notes = msgspec.json.decode(file.read_bytes(), type=described(Notes))
            except (OSError, msgspec.DecodeError):
                continue  # why: another kind of file, or one that is just being replaced
            if notes.token == token and notes.handle and file == self._file(notes.handle):
                found.append(notes.handle)
        return found

    def _file(self, handle: str) -> Path:
        digest = hashlib.sha256(f"{self._endpoint}\n{handle}".encode(errors="replace"))
        return folder() / f"{digest.hexdigest()[:32]}.json"


def folder() -> Path:
    return private_dir(paths.cache_dir() / "hf")
