"""The messages of `checkpoints`: what the box half is asked about model weights, and its answer."""

from __future__ import annotations

from typing import Annotated, Dict, Literal, NamedTuple, Tuple

from devbox.wire.codec import Most, Text, Word
from devbox.wire.jobs import CheckpointFetch


class CheckpointAsked(NamedTuple):
    """path: absolute, or relative to the login folder."""

    path: Word
    fetch: CheckpointFetch


class CheckpointsRequest(NamedTuple):
    """By name. secrets: name → token. replace: a push may replace what is there."""

    checkpoints: Dict[Word, CheckpointAsked]
    secrets: Dict[Word, Word] = {}
    replace: bool = False


State = Literal["missing", "partial", "there", "verified", "wrong", "sent", "unchanged", "failed"]


class CheckpointState(NamedTuple):
    """state: missing; partial: a fetch was begun; there: not compared, or with nothing to compare;
    verified: it is what devbox.toml says; wrong: it is not; sent, unchanged: by a push; failed.
    bytes: of it that are there. sha256: as found, where it was read."""

    name: Word
    state: State
    path: Word
    bytes: int = 0
    sha256: Word = ""
    message: Annotated[str, Text(600)] = ""


class CheckpointsAnswer(NamedTuple):
    """The answer to `checkpoints list|verify|pull|push`: the last line."""

    states: Annotated[Tuple[CheckpointState, ...], Most(1000)]


class CheckpointProgress(NamedTuple):
    """A line of `checkpoints pull` before it: bytes that are there."""

    name: Word
    done: int
    note: Annotated[str, Text(300)] = ""
