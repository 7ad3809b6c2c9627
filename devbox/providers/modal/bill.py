"""Modal's own account of cost."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from devbox.errors import AuthError
from devbox.providers.modal.account import Account

_TOKEN = "devbox-token"  # noqa: S105  why: the tag's name


def costs(account: Account, start: float, end: float) -> dict[str, int]:
    """Token → micro-dollars between two times (unix seconds). Modal reports whole hours: the
    start's is counted in full, and one that has not ended is left out."""
    client = account.client()
    import modal

    workspace = modal.Workspace.from_context(client=client)
    begin = datetime.fromtimestamp(start, UTC)
    until = datetime.fromtimestamp(end, UTC)
    if until - begin < timedelta(hours=1):
        return {}
    try:
        report = account.do(
            "asking for the bill",
            lambda: workspace.billing.report.aio(
                start=begin, end=until, resolution="h", tag_names=[_TOKEN]
            ),
        )
    except AuthError as error:
        raise AuthError(
            error.what,
            means="devbox's own ledger continues counting",
            fix="Modal may limit billing reports to its Team plan: see modal.com/settings/billing",
        ) from error
    total: dict[str, Decimal] = defaultdict(Decimal)
    for item in report:
        if token := item.tags.get(_TOKEN):
            total[token] += item.cost
    return {token: round(cost * 1_000_000) for token, cost in total.items()}
