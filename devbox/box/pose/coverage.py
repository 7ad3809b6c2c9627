"""Exactly one result per frame: what is said of a frame in which nobody was seen.

    detected    the engine saw the person in this frame
    predicted   the last pose, moved on as the person moved before, for `predict` frames
    held        the last pose where it was, until `limit` frames after it was seen; or the next
                pose, for up to `backfill` frames before it (only where later frames are known)
    none        nothing is known: no pose, no mesh

One person is followed: the one that was followed before, where the engine's track or the place in
the picture says so, else the one that fills most of the picture. Nobody is held while someone is
seen: a person elsewhere gets a new number.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Deque, Iterable, Iterator, List, NamedTuple, Optional, Sequence, Tuple

from devbox.box.pose.person import Person

SOURCES = ("detected", "predicted", "held", "none")
_REACH = 1.0  # how far, in sizes of the box, a person is the same one from frame to frame
_PAST = 5  # detections from which the speed is taken


class Limits(NamedTuple):
    """In frames: how long motion is predicted, until when a pose is kept after it was seen, and
    for how long before it."""

    predict: int = 10
    limit: int = 50
    backfill: int = 20


class Covered(NamedTuple):
    """What is said of one frame. seen: the frame the pose is from, None for none. confidence:
    1 where detected, below 1 and falling with the distance from `seen`, 0 for none. number: of the
    person, from 1; 0 for none. people: how many were seen in this frame."""

    frame: int
    source: str
    person: Optional[Person]
    seen: Optional[int]
    confidence: float
    number: int
    people: int
    error: str = ""


class Follow:
    """One sequence, frame by frame, in rising order; frame numbers may have gaps. size: width and
    height of the picture, inside which a predicted person stays."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._past: Deque[Tuple[int, Person]] = deque(maxlen=_PAST)
        self._number = 0

    def step(
        self, frame: int, people: Sequence[Person], size: Tuple[int, int], error: str = ""
    ) -> Covered:
        """error: why the frame could not be looked at; then people is empty."""
        if people:
            person = self._same(frame, people)
            if person is None:
                person = max(people, key=lambda p: (p.box[2] * p.box[3], p.score))
                self._past.clear()
                self._number += 1
            self._past.append((frame, person))
            return Covered(frame, "detected", person, frame, 1.0, self._number, len(people), error)
        if not self._past:
            return _nobody(frame, error)
        seen, person = self._past[-1]
        gone = frame - seen
        if gone > self._limits.limit:
            self._past.clear()
            return _nobody(frame, error)
        source = "predicted" if gone <= self._limits.predict else "held"
        moved = person.moved(*self._shift(min(gone, self._limits.predict), size))
        confidence = falling(gone, self._limits.limit)
        return Covered(frame, source, moved, seen, confidence, self._number, 0, error)

    def _same(self, frame: int, people: Sequence[Person]) -> Optional[Person]:
        """Who of them was followed before."""
        if not self._past or frame - self._past[-1][0] > self._limits.limit:
            return None
        last = self._past[-1][1]
        if last.track:
            for person in people:
                if person.track == last.track:
                    return person
            # A track of the engine's own ended where this one is not it any more.
            people = [person for person in people if not person.track]
        near = [(_apart(last, person), n) for n, person in enumerate(people)]
        best = min(near, default=None)
        return people[best[1]] if best and best[0] <= _REACH else None

    def _shift(self, frames: int, size: Tuple[int, int]) -> Tuple[float, float]:
        """Pixels that the person moved on since it was seen; the centre stays in the picture."""
        (first, one), (last, other) = self._past[0], self._past[-1]
        if last == first or not frames:
            return 0.0, 0.0
        moved = []
        for axis, most in enumerate(size):
            speed = (other.centre[axis] - one.centre[axis]) / (last - first)
            at = other.centre[axis]
            low, high = min(0.0, at), max(float(most), at)
            moved.append(min(max(at + speed * frames, low), high) - at)
        return moved[0], moved[1]


def backfilled(covered: Iterable[Covered], limits: Limits) -> Iterator[Covered]:
    """The same records in the same order, where those of nobody that a detection follows within
    `limits.backfill` frames hold its pose. At most that many records wait."""
    waiting: List[Covered] = []
    for record in covered:
        if record.source == "none":
            waiting.append(record)
            if len(waiting) > limits.backfill:
                yield waiting.pop(0)
            continue
        yield from (_from_later(each, record, limits.backfill) for each in waiting)
        waiting.clear()
        yield record
    yield from waiting


def _from_later(nobody: Covered, later: Covered, backfill: int) -> Covered:
    gap = later.frame - nobody.frame
    if later.source != "detected" or gap > backfill:
        return nobody
    return nobody._replace(
        source="held",
        person=later.person,
        seen=later.frame,
        confidence=falling(gap, backfill),
        number=later.number,
    )


def falling(gap: int, limit: int) -> float:
    """A confidence between 0 and 1 for a pose of `gap` frames away."""
    return round(1 - gap / (limit + 1), 3)


def _nobody(frame: int, error: str) -> Covered:
    return Covered(frame, "none", None, None, 0.0, 0, 0, error)


def _apart(one: Person, other: Person) -> float:
    """Distance of the centres in sizes of the larger box."""
    (ax, ay), (bx, by) = one.centre, other.centre
    return math.hypot(ax - bx, ay - by) / max(*one.box[2:], *other.box[2:], 1.0)
