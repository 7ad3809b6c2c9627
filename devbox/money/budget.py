"""Budgets: checked before anything billed begins, against the ledger and what still runs."""

from __future__ import annotations

import datetime as dt

from devbox.errors import BudgetError
from devbox.model import Price
from devbox.spec import Budget
from devbox.state.costs import cost
from devbox.state.database import Database
from devbox.state.spending import spent_between
from devbox.text import dollars, duration


def check(budget: Budget, database: Database, price: Price, max_uptime: float, now: float) -> None:
    """BudgetError when a box at `price` for up to `max_uptime` seconds could break a ceiling.

    An unknown price cannot be held to a ceiling, so with any ceiling set it is refused.
    """
    limits = {"daily": budget.daily, "monthly": budget.monthly, "per_box": budget.per_box}
    set_ = {name: limit for name, limit in limits.items() if limit is not None}
    if not set_ or price.micro_per_hour == 0:
        return
    if price.micro_per_hour is None:
        raise BudgetError(
            "the price of this hardware is unknown, so the budget cannot be kept",
            means="nothing was started",
            fix="choose hardware with a known price (devbox offers), or remove [budget]",
        )
    ahead = cost(price, max_uptime) or 0
    today = dt.datetime.fromtimestamp(now).replace(hour=0, minute=0, second=0, microsecond=0)
    since = {"daily": today, "monthly": today.replace(day=1), "per_box": None}
    for name, limit in set_.items():
        begin = since[name]
        spent = 0 if begin is None else spent_between(database, begin.timestamp(), now, now)
        if spent is None:
            raise BudgetError(
                f"part of what was spent has an unknown price, so the {name} budget cannot be kept",
                means="nothing was started",
                fix="see it with: devbox cost; or remove the limit from [budget]",
            )
        if spent + ahead > limit * 1_000_000:
            raise BudgetError(
                f"{dollars(ahead)} for up to {duration(max_uptime)} on top of {dollars(spent)} "
                f"would pass the {name} budget of ${limit:.2f}",
                means="nothing was started",
                fix="lower max_uptime, choose cheaper hardware, or raise [budget] in devbox.toml",
            )
