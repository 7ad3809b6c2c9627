"""max_uptime, or a budget, as the box sees it: a deadline that no clock, job or keep on the box
moves.

It is reached when either clock says so: the wall clock (which also runs while a machine is
suspended) or the time since arming by a clock that never jumps (so turning the wall clock back
gains nothing). A box whose wall clock was wrong when it was armed is understood: the difference
is taken out until the clock is corrected.
"""

from __future__ import annotations

from typing import NamedTuple

_CORRECTED = 60.0  # seconds; a jump this close to the known error is its correction


class Moment(NamedTuple):
    """wall: unix seconds by the box's clock. mono: seconds of a clock that never jumps, and runs
    while the machine is suspended, where the system has one."""

    wall: float
    mono: float


class Ceiling(NamedTuple):
    """deadline: unix seconds by the clock of who armed it. left: seconds there were until then,
    at the box's moment `armed`. span: the whole stretch from start to deadline. save: seconds the
    save hooks may take. name: what it is, for people."""

    deadline: float
    left: float
    armed: Moment
    span: float
    save: float = 0.0
    name: str = "max_uptime"

    def due(self, now: Moment) -> float:
        """When (mono) saving begins, so that the pause comes by the deadline."""
        return self.over(now) - self.lead

    def over(self, now: Moment) -> float:
        """When (mono) the deadline is."""
        skew = self.armed.wall - (self.deadline - self.left)
        jump = (now.wall - now.mono) - (self.armed.wall - self.armed.mono)
        if abs(skew + jump) < _CORRECTED:
            skew = 0.0
        by_wall = self.deadline - (now.wall - skew)
        by_mono = self.left - (now.mono - self.armed.mono)
        return now.mono + min(by_wall, by_mono)

    @property
    def lead(self) -> float:
        """Seconds kept for the save hooks and the pause itself."""
        return min(self.save + self.asking, 0.5 * self.span)

    @property
    def asking(self) -> float:
        """Seconds kept for the pause itself."""
        return min(30.0, 0.1 * self.span)

    @property
    def warn(self) -> float:
        """Seconds the warning comes before that."""
        return min(900.0, 0.5 * self.span)

    def anchored(self, now: Moment) -> Ceiling:
        """The same deadline on a machine that booted again, where `mono` began again. The wall
        clock tells what is left, and never more than there was."""
        skew = self.armed.wall - (self.deadline - self.left)
        skew = 0.0 if abs(skew) < _CORRECTED else skew
        left = min(self.left, self.deadline - (now.wall - skew))
        return self._replace(left=left, armed=now)
