"""What becomes of a piece that a worker had. Where another worker has it as well, which
`also_worker` says, it is that one's alone from now on."""

from __future__ import annotations

from msgspec.structs import replace

from devbox.model import Piece, PieceState

TRIES = 2  # workers that a piece may fail on
LOSSES = 3  # workers that may be lost while at work on a piece


def waits(piece: Piece) -> Piece:
    """It was given back before it was begun."""
    state = PieceState.GIVEN if piece.also_worker else PieceState.WAITING
    return replace(piece, state=state, also_worker=0, also_round=0)


def lost(piece: Piece, *, at_work: bool) -> Piece:
    """Its worker is lost, or over. at_work: while it was at work on it."""
    times = piece.lost + at_work
    if times < LOSSES or piece.also_worker:
        return waits(replace(piece, lost=times))
    error = f"{times} workers were lost while they were at work on it"
    return replace(piece, state=PieceState.FAILED, lost=times, error=error)


def finished(piece: Piece, took: float, error: str | None) -> Piece:
    """It was worked on to its end, in that many seconds; error: why it failed. Its first failure
    has it wait for another worker."""
    piece = replace(piece, seconds=took, also_worker=0, also_round=0)
    if error is None:
        return replace(piece, state=PieceState.DONE, error="")
    tries = piece.tries + 1
    state = PieceState.FAILED if tries >= TRIES else PieceState.WAITING
    return replace(piece, state=state, tries=tries, error=error)


def dropped(piece: Piece, gone: str | None) -> Piece:
    """It was never sent. gone: why it cannot be."""
    if gone is None or piece.also_worker:
        return waits(piece)
    return replace(piece, state=PieceState.FAILED, error=gone)
