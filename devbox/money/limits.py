"""Which budgets count for which boxes, read from the config and the store; no provider is called.

The user's limits count for all boxes, and for what other computers of the account pay for as far as
`devbox reconcile` found it; a project's for the boxes of its folder; a box's for itself.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

from msgspec.structs import replace

from devbox import paths, spec
from devbox.errors import BudgetError, DevboxError
from devbox.files import locked, private_dir
from devbox.model import Box, BoxState, Price
from devbox.money import budget
from devbox.money.budget import Limit, Member, Overrun, Standing
from devbox.money.period import Kind, around
from devbox.state.costs import cost, spent_in, whole
from devbox.state.spending import EVER, Sum, groups
from devbox.text import dollars, duration, local_time
from devbox.wire.messages import Allowance
from devbox.workspace import Workspace

_KINDS: Mapping[str, Kind] = {"daily": "day", "monthly": "month", "total": "ever"}
_STARTING = (BoxState.PROVISIONING, BoxState.BUILDING, BoxState.STARTING)
_ENDING = (BoxState.PAUSING, BoxState.STOPPING)
_CONFIRMED = 300.0  # seconds in which a pause or an end is confirmed
#: part of a limit from which it is told beside lists and sums
TOLD = budget.LEVELS[0]
_TURN = 30.0  # seconds to wait for another devbox that checks a budget


class Scope(NamedTuple):
    """A limit and what counts in it. boxes: ids, None for everything. own: it is of one box."""

    limit: Limit
    boxes: frozenset[str] | None
    own: bool = False

    def has(self, box_id: str) -> bool:
        return self.boxes is None or box_id in self.boxes


def standings(ws: Workspace, *, everywhere: bool = False) -> list[Standing]:
    """All limits that count now: those of the user, of this folder's project and of its boxes, or
    `everywhere` of all projects that have a box which costs. Empty without any."""
    if not everywhere and not ws.spec.has_budgets:
        return []
    now = ws.clock()
    found = members(ws, now)
    scopes = _scopes(ws, found, everywhere=everywhere)
    spent = _Spent(ws, now)
    return [_standing(each, found.values(), spent, now) for each in scopes]


def of_box(ws: Workspace, box: Box) -> list[Standing]:
    """Those that count for one box."""
    now = ws.clock()
    scopes = _scopes_of(ws, box)
    if not scopes:
        return []
    found, spent = members(ws, now), _Spent(ws, now)
    return [_standing(each, found.values(), spent, now) for each in scopes]


def check(
    ws: Workspace, box: Box | None, wanted: spec.BoxSpec, price: Price, *, name: str = ""
) -> None:
    """BudgetError when a box that starts now at `price` could pass a limit before its max_uptime,
    on top of what the others may spend until theirs. box: None for a new one of this project, of
    that name.

    An unknown price cannot be held to a limit, so with any limit set it is refused."""
    now, key = ws.clock(), box.id if box else ""
    name = box.name if box else name
    scopes = _scopes_of(ws, box, wanted, name)
    if not scopes or price.micro_per_hour == 0:
        return
    if price.micro_per_hour is None:
        raise BudgetError(
            "the price of this hardware is unknown, so the budget cannot be kept",
            means="nothing was started",
            fix="choose hardware with a known price (devbox offers), or remove [budget]",
        )
    others = members(ws, now)
    others.pop(key, None)
    ends = now + wanted.max_uptime
    asked = Member(key, name, price.micro_per_hour, ends, price.unit)
    spent = _Spent(ws, now)
    for scope in scopes:
        found = _standing(scope, others.values(), spent, now)
        if found.unknown:
            raise BudgetError(
                f"part of what was spent, or is being spent, has an unknown price, so the "
                f"{found.limit.name} cannot be kept",
                means="nothing was started",
                fix="see it with: devbox reconcile && devbox cost; or remove the limit",
            )
        if over := budget.overrun(found, asked, now):
            raise _refusal(found, over, cost(price, wanted.max_uptime) or 0, wanted.max_uptime)


@contextmanager
def checking() -> Iterator[None]:
    """One devbox at a time checks a budget and journals what it starts: two at once would both
    find enough left for one."""
    with locked(private_dir(paths.home() / "locks") / "budget.lock", timeout=_TURN):
        yield


def allowance(
    ws: Workspace, box: Box, until: float | None = None
) -> tuple[Allowance | None, float | None]:
    """What a box may still spend, and until when that lasts; None without a limit that comes before
    its max_uptime. until: as it was decided with the others; else they count as what their own
    watchdogs let them spend."""
    now = ws.clock()
    scopes = _scopes_of(ws, box)
    if not scopes:
        return None, None
    found = members(ws, now)
    me = found.get(box.id) or _member(ws, box, box.price, now, {})
    if not me.rate:
        return None, None
    me = replace(me, fixed=False)
    bound = [
        replace(each, fixed=True, ends=min(each.ends, each.armed))
        for each in found.values()
        if each.id != box.id
    ]
    spent = _Spent(ws, now)
    mine = [_standing(each, (*bound, me), spent, now) for each in scopes]
    first = min(mine, key=lambda each: each.reached)
    at = first.reached if until is None else until
    if at >= me.ends:
        return None, None
    micro = budget.may_spend(me, at, now)
    return Allowance(micro, me.rate or 1, me.unit, first.limit.name), at


def sentence(found: Standing) -> str:
    """One line for the user."""
    limit = found.limit
    said = f"{dollars(found.spent)} of {dollars(limit.micro)} ({found.part:.0%})"
    if found.unknown:
        said += ", and time at an unknown price"
    if found.part >= 1:
        return f"{said}: spent"
    if math.isfinite(found.full):
        return f"{said}, spent by {local_time(found.full, '%a %H:%M')} as things stand"
    held = f", up to {dollars(found.committed)} more by what runs" if found.committed else ""
    return said + held


def members(ws: Workspace, now: float) -> dict[str, Member]:
    """Id → what costs or was asked to start: boxes of this computer, and untracked ones."""
    current = ws.store.ledger.all_current()
    armed = ws.store.budgets.armed()
    resumed = {each.box_id for each in ws.store.boxes.open_intents() if each.goal == "running"}
    found = {}
    # Not all boxes are read: there may be thousands that cost nothing.
    asked = {**current, **dict.fromkeys(resumed | set(ws.store.boxes.ids_in(_STARTING)))}
    for box in ws.store.boxes.readable(asked):
        interval = current.get(box.id)
        price = interval.price if interval else box.price
        if price.micro_per_hour != 0:
            found[box.id] = _member(ws, box, price, now, armed)
    for each in ws.store.budgets.untracked(now):
        if each.end is None and each.price.micro_per_hour != 0:
            # Its max_uptime is not known to every provider: then the default one is counted.
            ends = each.deadline or each.start + spec.BoxSpec().max_uptime
            name, rate = f"{each.name} (another computer's)", each.price.micro_per_hour
            ends = max(ends, now + budget.POLL)
            found[each.handle] = Member(each.handle, name, rate, ends, each.price.unit, fixed=True)
    return found


def _member(
    ws: Workspace, box: Box, price: Price, now: float, armed: Mapping[str, float | None]
) -> Member:
    wanted = spec.decode_box(box.spec)
    begun = now if box.started is None or box.state in _STARTING else box.started
    ends = min(box.deadline or math.inf, begun + wanted.max_uptime)
    if box.state is BoxState.PAUSED:  # its resume is under way: its times are of the last stretch
        ends = now + wanted.max_uptime
    ends = now + _CONFIRMED if box.state in _ENDING else max(ends, now + budget.POLL)
    until = armed.get(box.id)
    return Member(
        box.id,
        box.name,
        price.micro_per_hour,
        ends,
        price.unit,
        box.state is not BoxState.RUNNING or not _can_arm(ws, box),
        math.inf if until is None else until,
    )


def _can_arm(ws: Workspace, box: Box) -> bool:
    """Whether the box's own watchdog can pause it."""
    if spec.is_headless(box):
        return False
    try:
        return ws.provider_of(box).can_arm(box.handle)
    except DevboxError:
        return False  # why: its client is not installed here, so nothing is known to stop it


def _scopes(ws: Workspace, found: Mapping[str, Member], *, everywhere: bool) -> list[Scope]:
    """Each once: several boxes of a project bring the same limits."""
    boxes = ws.store.boxes.readable(found)
    if not everywhere:
        boxes = [box for box in boxes if ws.here.has(box)]
    scopes = _general(ws, None)
    for box in boxes:
        scopes += _scopes_of(ws, box)
    return list({each.limit.key: each for each in scopes}.values())


def _scopes_of(
    ws: Workspace, box: Box | None, wanted: spec.BoxSpec | None = None, name: str = ""
) -> list[Scope]:
    """The limits that count for a box. box: None for a new one of this project."""
    project = _project(ws, box)
    table = project.budget if project else spec.Budget()
    written = project.boxes.get(box.name if box else name) if project else None
    asked = written or wanted or (spec.decode_box(box.spec) if box else spec.BoxSpec())
    own = table.per_box if asked.budget is None else asked.budget
    limits = [each for each in (own, ws.spec.user_budget.per_box) if each is not None]
    scopes = _general(ws, box)
    if limits:
        key, called = (box.id, box.name) if box else ("", name)
        limit = Limit(f"budget of box {called}", f"box-{key}", _micro(min(limits)), "ever")
        scopes.append(Scope(limit, frozenset({key}), own=True))
    return scopes


def _general(ws: Workspace, box: Box | None) -> list[Scope]:
    """Limits of more than one box: the user's, and those of the project of a box, or this one."""
    scopes = [Scope(limit, None) for limit in _limits(ws.spec.user_budget, "user", "")]
    project = _project(ws, box)
    root, name = (box.root, box.project) if box else (ws.here.root, ws.spec.project)
    limits = _limits(project.budget, f"project-{root or name}", name) if project else []
    if limits:
        ids = frozenset({"", *ws.store.boxes.ids_of(root, name)})
        scopes += [Scope(limit, ids) for limit in limits]
    return scopes


def _limits(table: spec.Budget, key: str, project: str) -> list[Limit]:
    of = f" of {project}" if project else ""
    found = []
    for word, kind in _KINDS.items():
        amount = getattr(table, word)
        if amount is not None:
            found.append(Limit(f"{word} budget{of}", f"{key}-{word}", _micro(amount), kind))
    return found


def _project(ws: Workspace, box: Box | None) -> spec.Spec | None:
    """As its devbox.toml is now; None when it cannot be read."""
    if box is None:
        return ws.spec
    try:
        return ws.project_of(box)
    except DevboxError:
        return None


def _micro(amount: float) -> int:
    return round(amount * 1_000_000)


class _Spent:
    """What was spent so far in each kind of period, added up once."""

    def __init__(self, ws: Workspace, now: float) -> None:
        self._ws, self._now = ws, now
        self._sums: dict[Kind, dict[str, Sum]] = {}
        self._others: dict[Kind, Sum] = {}

    def by(self, scope: Scope) -> Sum:
        """Micro-dollars of a scope in its present period."""
        if scope.own:
            total = Sum()
            for box_id in scope.boxes or ():
                for interval in self._ws.store.ledger.of_box(box_id):
                    total.add(*spent_in(interval, EVER, self._now))
            return total
        kind = scope.limit.kind
        if kind not in self._sums:
            self._add_up(kind)
        parts = [each for key, each in self._sums[kind].items() if scope.has(key)]
        return _sum(parts if scope.boxes is not None else [*parts, self._others[kind]])

    def _add_up(self, kind: Kind) -> None:
        begin = around(kind, self._now, None).begin
        sums: dict[str, Sum] = {}
        for group in groups(self._ws.store.database, begin, self._now):
            sums.setdefault(group.box_id, Sum()).add(group.seconds, group.micro)
        others = Sum()
        for each in self._ws.store.budgets.untracked(begin):
            others.add(*spent_in(each.interval, begin, self._now))
        self._sums[kind], self._others[kind] = sums, others


def _sum(parts: Iterable[Sum]) -> Sum:
    total = Sum()
    for each in parts:
        total.seconds += each.seconds
        total.micro += each.micro
        total.unknown += each.unknown
    return total


def _standing(scope: Scope, found: Iterable[Member], spent: _Spent, now: float) -> Standing:
    total = spent.by(scope)
    mine = [each for each in found if scope.has(each.id)]
    return budget.standing(scope.limit, whole(total.micro), mine, now, unknown=total.unknown > 0)


def _refusal(found: Standing, over: Overrun, ahead: int, max_uptime: float) -> BudgetError:
    running = f" and up to {dollars(over.others)} by what runs" if over.others > 0 else ""
    later = "" if over.span == found.span else f" of {over.span.label}"
    return BudgetError(
        f"{dollars(ahead)} for up to {duration(max_uptime)} on top of {dollars(over.spent)}"
        f"{running} would pass the {found.limit.name} of {dollars(found.limit.micro)}{later}",
        means="nothing was started",
        fix="lower max_uptime, choose cheaper hardware, or raise the limit (devbox config show)",
    )
