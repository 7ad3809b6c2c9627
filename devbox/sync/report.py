"""What a sync did, as the CLI, the dashboard and the lifecycle read it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from devbox.text import clean


class Kept(msgspec.Struct, frozen=True):
    """A differing file that was left as it is on the receiving side, and why."""

    path: str
    why: str


class Report(msgspec.Struct, frozen=True):
    """Paths are relative to the synced folder, made harmless for a terminal. moved: sent or
    fetched, or what would be with dry_run. bytes: their sizes together. deleted: on the
    receiving side. secrets: not sent because they look like credentials. retries: how often the
    connection was lost. missing: the box has no such folder yet."""

    direction: str
    box: str
    root: str
    folder: str
    moved: tuple[str, ...] = ()
    bytes: int = 0
    deleted: tuple[str, ...] = ()
    kept: tuple[Kept, ...] = ()
    secrets: tuple[str, ...] = ()
    seconds: float = 0.0
    retries: int = 0
    dry_run: bool = False
    missing: bool = False


def shown(paths: Iterable[bytes]) -> tuple[str, ...]:
    """Names as a user may read them: one line each, no control characters, valid unicode."""
    return tuple(
        clean(path.decode(errors="replace").replace("\n", "␤").replace("\t", "␉"), 1000)
        for path in paths
    )


def kept(found: Mapping[bytes, str]) -> tuple[Kept, ...]:
    return tuple(Kept(shown([path])[0], why) for path, why in sorted(found.items()))
