"""Billing usage, computed from the meter.

The paths and keys are those of the Hub's OpenAPI description as generated clients have them
(UsageGetJobsResponse of a Stainless client; the usage rows of the Swift client): nobody here has
seen a paid account's answer. Which label a row of a Space carries is therefore a switch,
``hub.billing_labels``. That a token needs the billing right is the Hub's documentation of
fine-grained tokens; the words of its refusal are ours.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from tests.emulators.common import Interval
from tests.emulators.hf.http import Context, HubError, Route


async def usage(call: Context) -> web.StreamResponse:
    _check(call)
    rows = [_row(call, each) for each in call.hub.meter.intervals() if "/" in each.handle]
    rows += [_row(call, each) for each in call.hub.meter.intervals() if "/" not in each.handle]
    by_room: dict[str, list[Any]] = {}
    for row in [*rows, *call.hub.other_charges]:
        by_room.setdefault(str(row["product"]).partition("/")[0], []).append(row)
    return web.json_response({"usage": by_room, "period": {"id": "p1", "entityId": "x"}})


async def jobs(call: Context) -> web.StreamResponse:
    _check(call)
    now = call.hub.clock.now()
    details = [
        {
            "jobId": each.handle,
            "hardwareFlavor": each.what,
            "startedAt": _time(each.start),
            "completedAt": None if each.end is None else _time(each.end),
            "totalMinutes": each.cost(now) / each.rate / 60 if each.rate else 0,
            "totalCostMicroUsd": each.cost(now),
        }
        for each in call.hub.meter.intervals()
        if "/" not in each.handle
    ]
    whole = {"usedMicroUsd": sum(float(str(d["totalCostMicroUsd"])) for d in details)}
    period = {"periodStart": _time(0), "periodEnd": _time(now), "totalMinutes": 0, **whole}
    return web.json_response({"hasAccess": True, "usage": {"jobDetails": details, **period}})


def _check(call: Context) -> None:
    assert call.token is not None
    if not call.token.billing:
        raise HubError(403, "The token lacks the right to read billing usage")


def _row(call: Context, each: Interval) -> dict[str, Any]:
    space = "/" in each.handle
    return {
        "entityId": call.hub.account.user_id,
        "label": each.handle if call.hub.billing_labels else None,
        "product": f"{'spaces' if space else 'jobs'}/{each.what}/minutes",
        "productPrettyName": each.what,
        "quantity": 1,
        "unitLabel": "minutes",
        "unitCostMicroUSD": each.rate * 60,
        "totalCostMicroUSD": each.cost(call.hub.clock.now()),
        "startedAt": _time(each.start),
        "stoppedAt": None if each.end is None else _time(each.end),
        "active": each.end is None,
    }


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat().replace("+00:00", "Z")


ROUTES = (
    Route("GET", "/api/settings/billing/usage", "billing", usage),
    Route("GET", "/api/settings/billing/usage/jobs", "billing-jobs", jobs),
    Route("GET", "/api/organizations/{namespace}/billing/usage", "billing-org", usage),
)
