"""What the board of a batch says: what a worker holds, what it does next, what is to be kept."""

from __future__ import annotations

from typing import NamedTuple

from devbox.model import Piece, Worker


class Round(NamedTuple):
    """Pieces that a worker holds."""

    number: int
    pieces: tuple[str, ...]


class Turn(NamedTuple):
    """What a worker is to be asked next. give: written down as given already."""

    give: Round | None = None
    withdraw: tuple[int, ...] = ()
    close: bool = False


class Changed(NamedTuple):
    """What is to be written down in one transaction."""

    pieces: list[Piece]
    workers: list[Worker]
