"""One box being worked on: its row, provider, spec and journal, made once and passed down."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cached_property
from typing import TypeVar

import msgspec

from devbox import paths, spec
from devbox.errors import Busy, DevboxError, Gone, Locked, NoCapacity, Unavailable
from devbox.files import locked, private_dir
from devbox.model import Box, BoxState, Interval
from devbox.money import exposure
from devbox.providers.base import Provider
from devbox.remote.config import other_homes
from devbox.state.boxes import Change, Intent, Record
from devbox.state.costs import run_cost
from devbox.text import dollars, duration
from devbox.workspace import Workspace

T = TypeVar("T")

# Passing faults are tried this often; waits double from the first, unless the provider names one.
_TRIES = 6
_FIRST_WAIT = 0.5
_LONGEST_WAIT = 30.0
_STARTS = (BoxState.PROVISIONING, BoxState.STARTING)
#: step → the stage that a user sees it as; a step without one belongs to the stage before it
_STAGES = {
    "create": "create",
    "resume": "resume",
    "observe": "start",
    "ssh": "connect",
    "login": "connect",
    "arm": "guard",
    "include": "ssh config",
    "seek": "end",
    "terminate": "end",
    "confirm": "confirm",
}


class BoxOperation:
    """box: its row as this operation last read or wrote it. Other processes write too, such as
    `refresh` and `keep`: `reload` before what depends on their part. intent: id of the goal whose
    steps are journalled; 0 for none. A verb makes it under the box's lock (`working_on`), a look
    without."""

    def __init__(self, ws: Workspace, box: Box, intent: int = 0) -> None:
        self.ws, self.box, self.intent = ws, box, intent
        self._decoded: tuple[bytes, spec.BoxSpec] | None = None

    @cached_property
    def provider(self) -> Provider:
        return self.ws.provider_of(self.box)

    @property
    def spec(self) -> spec.BoxSpec:
        """What the box was asked to be, decoded once as long as it stays the same."""
        if self._decoded is None or self._decoded[0] != self.box.spec:
            self._decoded = (self.box.spec, spec.decode_box(self.box.spec))
        return self._decoded[1]

    @property
    def start_timeout(self) -> float:
        return self.ws.start_timeout or self.spec.start_timeout

    def plan(self, *stages: str) -> None:
        """Tell which stages a verb goes through."""
        self.ws.on_plan(stages)

    def narrate(self, line: str) -> None:
        self.ws.narrate(f"{self.box.name}: {line}")

    def reload(self) -> Box:
        """Read the row again."""
        self.box = self.ws.store.boxes.get(self.box.id) or self.box
        return self.box

    def apply(self, change: Callable[[Record], Change]) -> Record:
        """Change the box's record in one transaction; the record before."""
        boxes, now = self.ws.store.boxes, self.ws.clock()
        before, self.box = boxes.apply(self.box.id, change, now, alias=other_homes.free_alias)
        return before

    def amend(self, **fields: object) -> None:
        """Record these fields on top of the present row."""
        self.apply(lambda now: Change(msgspec.structs.replace(now.box, **fields)))

    def set_state(self, state: BoxState, detail: str = "", **fields: object) -> None:
        """Record what we have just asked for, on top of the present row. fields: others of the
        box. One that has ended meanwhile stays so, unless it was asked to start."""
        at = self.ws.clock()

        def change(now: Record) -> Change:
            if now.box.state.is_over and state not in _STARTS:
                return Change(now.box)
            asked = msgspec.structs.replace(now.box, state=state, updated=at, **fields)
            return Change(asked, detail=detail)

        self.apply(change)

    def open_goal(self) -> Intent | None:
        """The goal that was journalled and not finished."""
        work = self.ws.store.boxes.open_intents(self.box.id)
        return work[-1] if work else None

    def begin(self, goal: str, **options: object) -> None:
        """Journal a goal: the steps that follow are its own."""
        self.intent = self.ws.store.boxes.begin(self.box.id, goal, options, self.ws.clock())

    def step(self, name: str, action: Callable[[], T]) -> T:
        """Journal `name`, then run `action`. `on_step` of the workspace sees both ends of it."""
        self.ws.store.boxes.step(self.intent, name, self.ws.clock())
        if name in _STAGES:
            self.ws.on_stage(_STAGES[name])
        self.ws.on_step(name, "before")
        result = action()
        self.ws.on_step(name, "after")
        return result

    def call(self, name: str, action: Callable[[], T]) -> T:
        """A step that calls the provider: passing faults are retried, as the contract allows."""
        return self.step(name, lambda: self.retried(action))

    def retried(self, action: Callable[[], T]) -> T:
        return with_retries(self.ws, action)

    def note(self, kind: str, message: str) -> None:
        """An event of the box."""
        self.ws.store.events.add(self.box.id, kind, message, self.ws.clock())

    def finish(self, outcome: str) -> Box:
        """Close the goal; the box's present row."""
        self.ws.store.boxes.finish(self.intent, outcome, self.ws.clock())
        return self.reload()

    @contextmanager
    def waiting(self, doing: str, limit: float | None = None) -> Iterator[Wait]:
        """Tell what happens inside until it ends: to `ws.on_wait`, or as a line now and then.
        limit: seconds after which the caller gives up."""
        wait = Wait(self.ws, self.box, doing, limit)
        if self.ws.on_wait:
            self.ws.on_wait(wait)
            try:
                yield wait
            finally:
                wait.end()
            return
        thread = threading.Thread(target=wait.tell, daemon=True)
        thread.start()
        try:
            yield wait
        finally:
            wait.end()
            thread.join()

    def cost_line(self) -> str:
        """What the box costs now, for an error about it."""
        return exposure.of(self.ws, self.reload()).sentence

    @contextmanager
    def costing(self) -> Iterator[None]:
        """A stop that is refused says first of all what that costs."""
        try:
            yield
        except Gone:
            raise
        except DevboxError as error:
            error.means = "; ".join(filter(None, (self.cost_line(), error.means)))
            error.fix = "; ".join(filter(None, (error.fix, "devbox reconcile tries again")))
            raise


@contextmanager
def working_on(ws: Workspace, box: Box, intent: int = 0) -> Iterator[BoxOperation]:
    """The box on its present row, held for this process; the lock falls when the process dies. Busy
    when another devbox works on it right now."""
    folder = private_dir(paths.home() / "locks")
    op = BoxOperation(ws, box, intent)
    with ExitStack() as held:
        try:
            held.enter_context(locked(folder / f"{box.id}.lock", timeout=0))
        except Locked as error:
            work = op.open_goal()
            at = f" (process {work.pid}, {work.goal}, step {work.step})" if work else ""
            raise Busy(
                f"another devbox is working on {box.name} right now{at}",
                means="nothing was changed",
                fix=f"watch it with: devbox status {box.name} --wait",
            ) from error
        op.reload()
        yield op


def with_retries(ws: Workspace, action: Callable[[], T]) -> T:
    """Run `action`; Unavailable is tried again with growing waits, honouring Retry-After. Not so
    NoCapacity: hardware does not come free within seconds."""
    wait = _FIRST_WAIT
    for _ in range(_TRIES - 1):
        try:
            return action()
        except NoCapacity:
            raise
        except Unavailable as error:
            pause = min(error.retry_after or wait, _LONGEST_WAIT)
            ws.narrate(f"{error.what}; trying again in {pause:.2g} s")
            ws.sleep(pause)
            wait = min(wait * 2, _LONGEST_WAIT)
    return action()


class Wait:
    """One wait for a box, told every 15 s: for how long it has been, of how much, and what it
    costs. `now` says what it is at, from the thread that waits; the lines come from a thread of
    their own, so that a call that hangs is told of too."""

    def __init__(self, ws: Workspace, box: Box, doing: str, limit: float | None) -> None:
        self._ws, self._name, self._limit = ws, box.name, limit
        self._price = box.price.micro_per_hour
        self._began = ws.clock()
        self._over = threading.Event()
        self.now(doing, ws.store.ledger.current(box.id))

    def now(self, doing: str, interval: Interval | None, limit: float | None = None) -> None:
        """doing: what completes 'b: … for 45s'. interval: the open one, while it costs. limit:
        another one from now on, in seconds."""
        self._at = (doing, interval)
        self._limit = self._limit if limit is None else limit

    def tell(self) -> None:
        """Say it every `ws.tell_every` seconds until the wait is over."""
        while not self._over.wait(self._ws.tell_every):
            self._ws.narrate(self.line())

    def end(self) -> None:
        self._over.set()

    @property
    def is_over(self) -> bool:
        return self._over.is_set()

    def line(self) -> str:
        doing, lasted, cost = self.parts()
        return f"{self._name}: {doing} for {lasted}; {cost}"

    def parts(self) -> tuple[str, str, str]:
        doing, interval = self._at
        now = self._ws.clock()
        of = f" of at most {duration(self._limit)}" if self._limit is not None else ""
        lasted = f"{duration(max(0.0, now - self._began))}{of}"
        if interval is None:
            rate = dollars(self._price, per_hour=True)
            later = f", {rate} once it runs" if self._price else ""
            return doing, lasted, f"no cost recorded yet{later}"
        micro = interval.price.micro_per_hour
        if micro is None:
            return doing, lasted, "it costs, at an unknown price"
        spent = dollars(run_cost([interval], 0, now))
        return doing, lasted, f"{spent} so far at {dollars(micro, per_hour=True)}"
