"""A [checkpoints.NAME] table, and what it must say for the box to be able to fetch it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from devbox.box.checkpoints.source import parse, with_revision
from devbox.errors import SpecError
from devbox.spec.values import Bytes, Table

_SHA256 = re.compile(r"[0-9a-f]{64}", re.IGNORECASE)
_PAGE = re.compile(r"https://[^\s\x00-\x1f\x7f-\x9f]{1,500}")


class Checkpoint(Table, frozen=True):
    """Model weights: where they come from (devbox.box.checkpoints.source), where they go on the
    box, and what they must be. revision: of an hf:// source. bytes: exactly, of a file; size: about
    how much, also of a folder, for the check of the disk. secret: a reference, such as hf:token.
    gated: only for accounts that accepted its terms. page: where those are, and the licence."""

    source: str
    path: str
    revision: str = ""
    sha256: str = ""
    bytes: Annotated[int, Meta(ge=0, le=1 << 60)] | None = None
    size: Bytes | None = None
    secret: str = ""
    gated: bool = False
    licence: str = ""
    page: str = ""

    @property
    def origin(self) -> str:
        """The source with its revision in it."""
        return with_revision(self.source, self.revision)

    def local(self, root: Path) -> Path | None:
        """Where it lies on this computer; None for a source elsewhere."""
        if not self.source.startswith((".", "/", "~")):
            return None
        return root / Path(self.source).expanduser()


def validate(checkpoint: Checkpoint, file: Path, at: str) -> None:
    """SpecError names file, key and the fix."""
    try:
        origin = parse(checkpoint.origin, sha256=checkpoint.sha256)
    except ValueError as error:
        raise SpecError(
            f"{file}: {at}.source cannot be fetched from",
            fix=str(error),
        ) from error
    if checkpoint.sha256 and not _SHA256.fullmatch(checkpoint.sha256):
        raise SpecError(f"{file}: {at}.sha256 is not 64 hexadecimal digits", fix=f"edit {file}")
    if origin.is_folder and (checkpoint.sha256 or checkpoint.bytes is not None):
        raise SpecError(
            f"{file}: {at}: sha256 and bytes are of one file, and its source is a folder",
            fix="name a file in source, or leave them out; size may be that of a folder",
        )
    if checkpoint.size is not None and checkpoint.size < 0:
        raise SpecError(f"{file}: {at}.size is below 0", fix="write it as 5GB, or leave it out")
    if checkpoint.page and not _PAGE.fullmatch(checkpoint.page):
        raise SpecError(f"{file}: {at}.page is no https:// address", fix=f"edit {file}")
