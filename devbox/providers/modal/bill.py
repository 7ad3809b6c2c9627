"""Modal's own account of cost."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from devbox.errors import AuthError
from devbox.providers.abilities import Charge
from devbox.providers.modal.account import Account
from devbox.text import clean

_TOKEN = "devbox-token"  # noqa: S105  why: the tag's name
HOUR = 3600.0


def charges(account: Account, start: float, end: float) -> list[tuple[str, Charge]]:
    """(token or '', charge) of each object and hour between two times (unix seconds). Modal reports
    whole hours: the start's is counted in full, and one that has not ended is left out. The
    handle of each charge is still empty."""
    client = account.client()
    import modal

    workspace = modal.Workspace.from_context(client=client)
    begin = datetime.fromtimestamp(start, UTC)
    until = datetime.fromtimestamp(end, UTC)
    if until - begin < timedelta(hours=1):
        return []
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
    found = []
    for item in report:
        at, token = item.interval_start.timestamp(), item.tags.get(_TOKEN, "")
        parts: dict[str, int] = {}
        for resource, cost in item.cost_by_resource.items():
            kind = _kind(resource)
            parts[kind] = parts.get(kind, 0) + round(cost * 1_000_000)
        # What the resources leave out of the whole is work.
        rest = round(item.cost * 1_000_000) - sum(parts.values())
        parts["compute"] = parts.get("compute", 0) + rest
        for kind, micro in parts.items():
            product = clean(item.description, 80)
            found.append((token, Charge("", "", kind, at, at + HOUR, micro, product)))
    return [(token, charge) for token, charge in found if charge.micro]


def _kind(resource: str) -> str:
    name = resource.lower()
    if "egress" in name or "network" in name:
        return "egress"
    return "storage" if "volume" in name or "storage" in name else "compute"
