"""Control plane: rates, report and summary, computed from the meter."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from typing import Any

from grpclib import GRPCError, Status
from modal_proto import api_pb2

from tests.emulators.common import Interval
from tests.emulators.modal import prices
from tests.emulators.modal.logs import seconds
from tests.emulators.modal.world import World

Metadata = Mapping[str, Any]
WIDTHS = {"h": 3600, "d": 86400}


class Billing:
    """An app is the object that costs are attributed to; tags are those of its sandboxes."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def WorkspaceBillingRates(self, _request: Any, _metadata: Metadata) -> Any:
        rates = prices.rates(self._world.gpus)
        lines = [f"{name}: ${value}" for name, value in rates.items()]
        return api_pb2.WorkspaceBillingRatesResponse(rates=rates, formatted="\n".join(lines))

    async def WorkspaceBillingReport(self, request: Any, _metadata: Metadata) -> AsyncIterator[Any]:
        """Whole intervals only: the start is rounded down, an unfinished last one is left out."""
        width = WIDTHS.get(request.resolution)
        if width is None:
            raise GRPCError(Status.INVALID_ARGUMENT, "resolution must be 'd' or 'h'")
        first = math.floor(seconds(request.start_timestamp) / width)
        last = math.floor(seconds(request.end_timestamp) / width)
        for number in range(first, last):
            begin = number * width
            for (app_id, tags), shares in self._costs(begin, begin + width, request).items():
                app = self._world.apps[app_id]
                item = api_pb2.WorkspaceBillingReportItem(
                    object_id=app.id,
                    description=app.name,
                    environment_name=app.environment,
                    cost=prices.dollars(sum(shares.values())),
                    tags=dict(tags),
                    cost_by_resource={k: prices.dollars(v) for k, v in shares.items()},
                )
                item.interval.seconds = begin
                yield item

    async def WorkspaceBillingSummary(self, request: Any, _metadata: Metadata) -> Any:
        """The calendar month that begins at ``start_timestamp``."""
        start = datetime.fromtimestamp(seconds(request.start_timestamp), UTC)
        following = start.replace(year=start.year + start.month // 12, month=start.month % 12 + 1)
        begin, end = start.timestamp(), following.timestamp()
        totals: dict[str, float] = defaultdict(float)
        for interval in self._world.meter.intervals():
            for name, cost in self._shares(interval, begin, end).items():
                totals[name] += cost
        total = prices.dollars(sum(totals.values()))
        reply = api_pb2.WorkspaceBillingSummaryResponse(
            metered_cost=total,
            billed_cost=total,
            metered_cost_breakdown={name: prices.dollars(cost) for name, cost in totals.items()},
        )
        reply.start_timestamp.seconds, reply.end_timestamp.seconds = int(begin), int(end)
        return reply

    def _costs(
        self, begin: float, end: float, request: Any
    ) -> dict[tuple[str, frozenset[tuple[str, str]]], dict[str, float]]:
        costs: dict[Any, dict[str, float]] = defaultdict(lambda: defaultdict(float))
        wanted = set(request.tag_names)
        for interval in self._world.meter.intervals():
            sandbox = self._world.sandboxes[interval.handle]
            if request.app_ids and sandbox.app.id not in request.app_ids:
                continue
            every = {**sandbox.app.tags, **sandbox.tags}
            tags = frozenset(p for p in every.items() if p[0] in wanted or "*" in wanted)
            for name, cost in self._shares(interval, begin, end).items():
                costs[sandbox.app.id, tags][name] += cost
        return costs

    def _shares(self, interval: Interval, begin: float, end: float) -> dict[str, float]:
        """Micro-USD by resource of the part of ``interval`` between two moments."""
        stop = self._world.clock.now() if interval.end is None else interval.end
        overlap = min(stop, end) - max(interval.start, begin)
        if overlap <= 0:
            return {}
        shares = self._world.sandboxes[interval.handle].shares
        return {name: rate * overlap for name, rate in shares.items()}
