"""Notices: what a user is told although nobody looks at a screen, and where a box posts them."""

from __future__ import annotations

from typing import Annotated, Literal, NamedTuple, Optional, Tuple

from devbox.wire.codec import Exactly, Text, Time, Word

NoticeKind = Literal[
    "run-finished",
    "run-failed",
    "pause-soon",
    "pausing",
    "pause-failed",
    "gpu",
    "paused",
    "ended",
    "build-failed",
    "orphan",
    "budget",
    "silent",
    "schedule",
    "test",
]
#: that cannot wait for others: what they tell can still be changed, or costs money now
URGENT = frozenset({"pause-soon", "pausing", "pause-failed", "budget", "test"})


class Notice(NamedTuple):
    """id: the same for the same thing, whoever tells it and however often. t: when it happened.
    command: what to type about it, '' for nothing."""

    id: Annotated[str, Exactly("[A-Za-z0-9_.-]{1,120}")]
    t: Time
    kind: NoticeKind
    box: Annotated[str, Text(60)]
    project: Annotated[str, Text(60)]
    text: Annotated[str, Text(900)]
    command: Annotated[str, Text(200)] = ""


class Posted(NamedTuple):
    """How one went. detail: why not."""

    ok: bool
    detail: Annotated[str, Text(300)] = ""


class Webhook(NamedTuple):
    """url: https, or this machine. secret: signs each request, '' for no signature."""

    url: Word
    secret: Word = ""


class Notify(NamedTuple):
    """What a box tells by itself. id: the box's, for the names of notices. kinds: those wanted,
    none for all."""

    webhook: Optional[Webhook] = None
    kinds: Tuple[NoticeKind, ...] = ()
    id: Annotated[str, Text(60)] = ""
    project: Annotated[str, Text(60)] = ""

    def wants(self, kind: NoticeKind) -> bool:
        return self.webhook is not None and (not self.kinds or kind in self.kinds)
