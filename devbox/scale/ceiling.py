"""What a batch may cost at most: whether more of it fits under that."""

from __future__ import annotations

from collections.abc import Collection

from devbox.scale import schedule
from devbox.scale.slot import Slot


class Ceiling:
    """limit: micro-dollars; None for any cost. spent: as the ledger has it now."""

    def __init__(self, limit: int | None) -> None:
        self.limit = limit
        self.spent = 0

    def affords(
        self, seconds: float, price: int | None, slots: Collection[Slot], now: float
    ) -> bool:
        """Whether so much more of a worker fits, after all that is under way. price: micro-dollars
        an hour; one that is not known fits under no limit."""
        if self.limit is None:
            return True
        if price is None:
            return False
        committed = float(self.spent)
        for slot in slots:
            left = slot.left(now)
            took = left / slot.rate if slot.rate else schedule.LEAST * bool(left)
            committed += took * (slot.price or 0) / 3600
        return committed + seconds * price / 3600 <= self.limit


def highest_price(slots: Collection[Slot]) -> int | None:
    """Of any worker, in micro-dollars an hour; None where one is not known."""
    prices = [slot.price for slot in slots]
    return None if None in prices else max(filter(None, prices), default=0)
