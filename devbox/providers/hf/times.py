"""Times as the Hub writes them, by this computer's clock."""

from __future__ import annotations

from datetime import datetime
from email.utils import parsedate_to_datetime

# Seconds by which clocks may differ unnoticed: a Date header has whole seconds and travels.
_AGREES = 30.0
# Two estimates this close together are of the same difference; the first one stays.
_SAME = 3.0


class Skew:
    """How far the Hub's clock is ahead of ours, learned from the `Date` of its answers.

    Billed time is shown and summed by this computer's clock, so the Hub's times are moved to it.
    """

    def __init__(self) -> None:
        self.ahead = 0.0

    def learn(self, date: str, now: float) -> None:
        """date: a `Date` header, '' when there was none. now: our clock as it arrived."""
        try:
            ahead = parsedate_to_datetime(date).timestamp() - now
        except (ValueError, TypeError, OverflowError):
            return
        if abs(ahead) <= _AGREES:
            self.ahead = 0.0
        elif abs(ahead - self.ahead) > _SAME:
            self.ahead = ahead

    def moment(self, said: object) -> float | None:
        """`moment`, by this computer's clock."""
        at = moment(said)
        return None if at is None else at - self.ahead


def moment(said: object) -> float | None:
    """Unix seconds of a time as the Hub writes it ("2026-01-31T12:00:00.000Z"); None for others."""
    if not isinstance(said, str) or len(said) > 40:
        return None
    try:
        at = datetime.fromisoformat(said)
        return at.timestamp() if at.tzinfo else None
    except (ValueError, OverflowError):
        return None
