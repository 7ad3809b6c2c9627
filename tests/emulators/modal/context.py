"""The files a COPY may take, and the tar archive that carries them into a machine."""

from __future__ import annotations

import fnmatch
import io
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

from tests.emulators.modal.world import MountedFile


def archive(
    files: Mapping[str, MountedFile], sources: Sequence[str], target: str, mode: int | None = None
) -> bytes:
    """What ``COPY sources... target`` puts down, with names relative to ``/``.

    Raises:
        ValueError: a source matches no file of the context.
    """
    context = {name.lstrip("/"): file for name, file in files.items()}
    many = len(sources) > 1 or target.endswith("/")
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for source in sources:
            for name, file in _select(context, source, target, many).items():
                entry = tarfile.TarInfo(name.lstrip("/"))
                entry.size = len(file.content)
                entry.mode = file.mode if mode is None else mode
                tar.addfile(entry, io.BytesIO(file.content))
    return buffer.getvalue()


def _select(
    context: Mapping[str, MountedFile], source: str, target: str, many: bool
) -> dict[str, MountedFile]:
    """Target name to file. A file keeps its name in a directory, a directory is opened up."""
    wanted = str(PurePosixPath("/") / source).lstrip("/")
    into = PurePosixPath(target)
    if wanted in context:
        place = into / PurePosixPath(wanted).name if many else into
        return {str(place): context[wanted]}
    prefix = f"{wanted}/" if wanted else ""
    inside = {
        str(into / name.removeprefix(prefix)): file
        for name, file in context.items()
        if name.startswith(prefix)
    }
    globbed = {
        str(into / PurePosixPath(name).name): file
        for name, file in context.items()
        if fnmatch.fnmatch(name, wanted)
    }
    if not inside and not globbed and (wanted or not context):
        raise ValueError(f'COPY failed: file not found in build context: "{source}"')
    return inside or globbed
