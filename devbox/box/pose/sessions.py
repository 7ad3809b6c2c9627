"""Frames of a session one at a time and in order, though clients send two at once.

    async with sessions.turn("alice", frame_number) as turn:
        people = await …
        covered = turn.step(frame_number, people, size)

Of two frames in flight either may arrive first. A frame whose forerunner is not there yet waits for
it up to `grace` seconds; the distance between frames is learned, so every fifth frame waits for
nothing. Frame 0 begins the session again. A frame that comes after a later one was answered is
looked at by itself and changes nothing.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from contextlib import asynccontextmanager
from typing import AsyncIterator, Awaitable, Callable, List, Optional, Sequence, Set, Tuple

from devbox.box.pose.coverage import Covered, Follow, Limits
from devbox.box.pose.person import Person

GRACE = 0.25  # seconds a frame waits for the one before it
MOST = 64  # sessions kept; the one that was used least recently is forgotten


class Turn:
    """session: for the engine; "" where the frame stands alone."""

    def __init__(self, session: str, follow: Follow) -> None:
        self.session, self._follow = session, follow

    def step(
        self, frame: int, people: Sequence[Person], size: Tuple[int, int], error: str = ""
    ) -> Covered:
        """As `Follow.step`; a frame that stands alone has no number of a person."""
        covered = self._follow.step(frame, people, size, error)
        return covered if self.session else covered._replace(number=0)


class _Session:
    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.changed = asyncio.Condition()
        self.waiting: Set[Tuple[int, int]] = set()  # (frame, ticket)
        self.busy = False
        self.restart()

    def restart(self) -> None:
        self.follow = Follow(self.limits)
        self.last, self.stride = -1, 1

    def is_next(self, frame: int) -> bool:
        return frame in (0, self.last + self.stride)

    def advance(self, frame: int) -> bool:
        """Whether the frame is part of the session, which now stands at it."""
        if frame == 0:
            self.restart()
        elif frame <= self.last:
            return False
        elif self.last >= 0:
            self.stride = frame - self.last
        self.last = frame
        return True


class Sessions:
    """forget: told of each session that is dropped, to free what the engine keeps of it."""

    def __init__(self, limits: Limits, forget: Callable[[str], Awaitable[None]]) -> None:
        self._limits, self._forget = limits, forget
        self._known: "OrderedDict[str, _Session]" = OrderedDict()
        self._tickets = 0

    def __len__(self) -> int:
        return len(self._known)

    @asynccontextmanager
    async def turn(self, name: str, frame: int) -> AsyncIterator[Turn]:
        """The frame's turn in its session, "" for a frame of none. Nothing else of the session
        runs meanwhile."""
        if not name:
            yield Turn("", Follow(self._limits))
            return
        session = self._session(name)
        await self._wait(session, frame)
        try:
            await self._drop_oldest()
            part = session.advance(frame)
            yield Turn(name, session.follow) if part else Turn("", Follow(self._limits))
        finally:
            async with session.changed:
                session.busy = False
                session.changed.notify_all()

    def _session(self, name: str) -> _Session:
        session = self._known.get(name)
        if session is None:
            session = self._known[name] = _Session(self._limits)
        self._known.move_to_end(name)
        return session

    async def _wait(self, session: _Session, frame: int) -> None:
        """Until it is this frame's turn; the session is busy with it then."""
        self._tickets += 1
        place = (frame, self._tickets)
        loop = asyncio.get_running_loop()
        patience = loop.time() + GRACE
        session.waiting.add(place)
        try:
            async with session.changed:
                while not self._may_go(session, place, loop.time() >= patience):
                    left: Optional[float] = patience - loop.time()
                    if left is not None and left <= 0:
                        left = None  # busy, or an earlier one goes first: its end is told
                    try:
                        await asyncio.wait_for(session.changed.wait(), left)
                    except asyncio.TimeoutError:
                        continue
                session.busy = True
        finally:
            session.waiting.discard(place)
            if not session.busy:  # cancelled: another one may be first now
                async with session.changed:
                    session.changed.notify_all()

    @staticmethod
    def _may_go(session: _Session, place: Tuple[int, int], waited: bool) -> bool:
        if session.busy:
            return False
        if session.is_next(place[0]):
            return True
        if any(session.is_next(frame) for frame, _ in session.waiting):
            return False
        return waited and place == min(session.waiting)

    async def _drop_oldest(self) -> None:
        idle: List[str] = [
            name for name, each in self._known.items() if not each.busy and not each.waiting
        ]
        for name in idle[: max(0, len(self._known) - MOST)]:
            del self._known[name]
            await self._forget(name)
