"""What a box may cost until its max_uptime, and whether its user is asked before that begins. The
one answer for `up`, `resume`, `plan` and the dashboard; a front end only asks."""

from __future__ import annotations

import msgspec

from devbox.model import Price
from devbox.spec import Budget
from devbox.state.costs import cost
from devbox.text import dollars, duration
from devbox.workspace import Workspace


class Projection(msgspec.Struct, frozen=True):
    """micro: micro-dollars from now until max_uptime; None while the price is unknown. seconds: the
    max_uptime. limit: dollars that may begin without a question; None for any amount."""

    micro: int | None
    seconds: float
    limit: float | None = None

    @property
    def asks(self) -> bool:
        """It may cost more than the limit. An unknown price may."""
        if self.limit is None:
            return False
        return self.micro is None or self.micro > round(self.limit * 1_000_000)

    @property
    def sentence(self) -> str:
        """'up to $14.40 until max_uptime in 8h'."""
        most = "an unknown amount" if self.micro is None else f"up to {dollars(self.micro)}"
        if self.micro == 0:
            return f"max_uptime {duration(self.seconds)}"
        return f"{most} until max_uptime in {duration(self.seconds)}"

    @property
    def question(self) -> str:
        """Of a box that is to begin; '' where nobody needs to be asked."""
        if not self.asks or self.limit is None:
            return ""
        return f"it may cost {self.sentence}, above your ${self.limit:g} (budget.ask_above)"


def projected(limits: Budget, price: Price, max_uptime: float) -> Projection:
    """max_uptime: in seconds."""
    return Projection(cost(price, max_uptime), float(max_uptime), limits.ask_above)


def agree(ws: Workspace, what: str, limits: Budget, price: Price, max_uptime: float) -> None:
    """Say what a box that is to begin may cost, and have the user asked where they want that.
    Whatever `ws.approve` raises when they decline. To be called before anything is journalled.
    what: such as 'train: modal L40S'."""
    found = projected(limits, price, max_uptime)
    rate = dollars(price.micro_per_hour, per_hour=True)
    ws.narrate(f"{what} at {rate} ({price.source}), {found.sentence}")
    if found.question:
        ws.approve(f"{what} at {rate}: {found.question}. Begin?")
