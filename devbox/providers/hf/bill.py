"""The Hub's own account of cost: GET /api/settings/billing/usage, and …/usage/jobs for each Job of
the present billing period (an organization: /api/organizations/NAME/billing/usage).

Not in the Hub's client library. The shapes are those of the Hub's OpenAPI description as generated
clients have them; none was seen from a paid account. A row of Spaces names its product
("spaces/a10g-small/minutes") and the account; where its label is no Space, the row names no box.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Literal

from devbox.errors import AuthError, Gone
from devbox.providers.abilities import Charge
from devbox.providers.hf import errors
from devbox.providers.hf.hub import Hub
from devbox.text import clean
from devbox.wire.codec import JsonObject

RIGHT = "Read billing usage and payment method status"


def charges(hub: Hub, start: float, end: float, of: Literal["spaces", "jobs"]) -> list[Charge]:
    """What Spaces or Jobs of the namespace were charged between two times; with Spaces, storage
    too. AuthError names the right that the token lacks."""
    namespace = hub.namespace()
    own = namespace == hub.who().get("name")
    path = "/api/settings" if own else f"/api/organizations/{namespace}"
    try:
        if of == "jobs" and own:
            said = hub.get("asking for the bill of Jobs", f"{path}/billing/usage/jobs")
            found = list(_jobs(said, namespace))
        else:
            said = hub.get("asking for the bill", f"{path}/billing/usage")
            found = [charge for charge in _rows(said) if (charge.kind == "job") == (of == "jobs")]
    except (AuthError, Gone) as error:
        raise AuthError(
            error.what,
            means="the ledger is as it was; only the comparison is missing",
            fix=f'give the token the right "{RIGHT}" (under Billing) at {errors.TOKENS}',
        ) from error
    compute = [c._replace(kind="compute") if c.kind == "job" else c for c in found]
    return [charge for charge in compute if charge.end > start and charge.start < end]


def _jobs(said: JsonObject, namespace: str) -> Iterator[Charge]:
    usage = said.get("usage")
    rows = usage.get("jobDetails") if isinstance(usage, dict) else None
    if not isinstance(rows, list):
        raise errors.unreadable("asking for the bill of Jobs", "it lists no jobs")
    for row in rows:
        if not isinstance(row, dict):
            continue
        times = _times(row, "startedAt", "completedAt")
        if times is None or not isinstance(row.get("jobId"), str):
            continue
        micro = _micro(row.get("totalCostMicroUsd"))
        flavour = clean(str(row.get("hardwareFlavor") or ""), 60)
        if micro is not None:
            yield Charge(f"{namespace}/{row['jobId']}", flavour, "compute", *times, micro)


def _rows(said: JsonObject) -> Iterator[Charge]:
    usage = said.get("usage")
    if not isinstance(usage, dict):
        raise errors.unreadable("asking for the bill", "it has no usage")
    for rows in usage.values():
        for row in rows if isinstance(rows, list) else ():
            if not isinstance(row, dict):
                continue
            times = _times(row, "startedAt", "stoppedAt")
            micro = _micro(row.get("totalCostMicroUSD")) if times else None
            if times is None or micro is None or row.get("freeGrant") is True:
                continue
            product = clean(str(row.get("product") or ""), 80)
            room, _, rest = product.partition("/")
            flavour = rest.partition("/")[0] if room in ("spaces", "jobs") else ""
            kind = {"spaces": "compute", "jobs": "job"}.get(room)
            kind = kind or ("storage" if "storage" in room else "other")
            label = row.get("label")
            named = kind == "compute" and isinstance(label, str) and label.count("/") == 1
            yield Charge(str(label) if named else "", flavour, kind, *times, micro, product)


def _times(row: JsonObject, first: str, last: str) -> tuple[float, float] | None:
    """When a row began and ended, or began until now where it is not over."""
    begin, end = _time(row.get(first)), _time(row.get(last))
    if begin is None:
        return None
    return begin, max(begin, end if end is not None else float("inf"))


def _time(said: object) -> float | None:
    try:
        return datetime.fromisoformat(str(said)).timestamp() if isinstance(said, str) else None
    except (ValueError, OverflowError):
        return None


def _micro(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 1e15:
        return None
    return round(value)


__all__ = ["RIGHT", "charges"]
