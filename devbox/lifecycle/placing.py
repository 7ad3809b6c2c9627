"""Which of its choices a box is asked for: each in turn until one has hardware free. What was asked
for before is taken back, and its end confirmed, before the next is asked for: two never bill."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from msgspec import structs

from devbox import spec
from devbox.errors import BudgetError, DevboxError, NoCapacity
from devbox.lifecycle.down import to_terminated
from devbox.lifecycle.operation import BoxOperation
from devbox.lifecycle.settling import keep_trying
from devbox.model import BoxState, Offer
from devbox.money import exposure, known, offers
from devbox.money.fit import Candidate, candidates
from devbox.providers.base import Provider
from devbox.text import duration
from devbox.workspace import Workspace

# Seconds between rounds over the choices: twice as long after each.
_FIRST_PAUSE, _LONGEST_PAUSE = 15.0, 5 * 60.0
#: option of the goal that takes a request back, so that `up` finishes it and continues
_MOVES = "moves"


class Search:
    """The way through the choices of one box. wanted: the box with all of them. seconds: for how
    long to go round them; None for once."""

    def __init__(
        self, ws: Workspace, name: str, wanted: spec.BoxSpec, seconds: float | None
    ) -> None:
        self._ws, self._name, self._wanted, self._seconds = ws, name, wanted, seconds
        self._began, self._pause = ws.clock(), _FIRST_PAUSE
        self._refused: dict[str, DevboxError] = {}
        self._agreed: set[tuple[str, str, int | None]] = set()

    def candidates(self) -> list[Candidate]:
        """What to ask for, in order, by what its providers offer now. A provider that cannot be
        asked, or that is not there, is left out and told where there are others."""
        found: dict[tuple[str, str], Offer] = {}
        failed: dict[str, DevboxError] = {}
        asks: dict[str, Callable[[], list[Offer]]] = {}
        for choice in spec.choices(self._wanted):
            try:
                provider = self._ws.provider(choice.provider)
            except DevboxError as error:
                failed[choice.provider] = error
                continue
            asks[choice.provider] = partial(_offers, self._wanted, provider)
        for name, answer in offers.ask(self._ws, asks).items():
            if isinstance(answer, DevboxError):
                failed[name] = answer
                continue
            known.remember(answer)
            for offer in answer:
                found.setdefault((offer.provider, offer.hardware.name), offer)
        asked = {choice.provider for choice in spec.choices(self._wanted)}
        if failed.keys() == asked:
            raise next(iter(failed.values()))
        for name, why in failed.items():
            self._ws.narrate(f"{self._name}: {name} is left out: {why.what}")
        left = tuple(each for each in self._wanted.providers if each not in failed)
        return candidates(
            structs.replace(self._wanted, providers=left),
            found.values(),
            lambda at, named: self._ws.provider(at).hardware_name(named),
        )

    def patience(self, choices: int) -> float | None:
        """Seconds that a choice may wait for hardware; None when there is nothing else to try and
        nobody asked to."""
        if choices < 2 and self._seconds is None:
            return None
        longest = self._wanted.capacity_timeout if choices > 1 else self._wanted.start_timeout
        return longest if self._seconds is None else min(longest, self._left())

    def is_new(self, offer: Offer) -> bool:
        """Whether that is asked for at that price for the first time, so that its user is asked."""
        key = offer.provider, offer.hardware.name, offer.price.micro_per_hour
        new = key not in self._agreed
        self._agreed.add(key)
        return new

    def refused(self, what: str, error: NoCapacity | BudgetError) -> None:
        """One choice could not be had. what: its provider and hardware."""
        self._refused[what] = error
        if self._seconds is not None or len(spec.choices(self._wanted)) > 1:
            self._ws.narrate(error.what)

    def next_round(self) -> None:
        """Wait until all choices are asked for again. NoCapacity when the time is over; BudgetError
        when that is what refused each of them."""
        errors = list(self._refused.values())
        if all(isinstance(error, BudgetError) for error in errors):
            raise errors[0]
        if self._seconds is None or self._left() <= 0:
            raise self._over()
        pause = min(self._pause, self._left())
        self._pause = min(self._pause * 2, _LONGEST_PAUSE)
        waited = self._ws.clock() - self._began
        self._ws.narrate(
            f"{self._name}: waiting for capacity ({', '.join(self._refused)}) for "
            f"{duration(waited)} of {duration(self._seconds)}; {self._costs()}; asking again in "
            f"{duration(pause)}"
        )
        self._refused.clear()
        self._ws.sleep(pause)

    def _left(self) -> float:
        return max(0.0, self._began + (self._seconds or 0.0) - self._ws.clock())

    def _over(self) -> DevboxError:
        errors = list(self._refused.values())
        if len(errors) == 1 and self._seconds is None:
            return errors[0]
        tried = "" if self._seconds is None else f" within {duration(self._seconds)}"
        why = "; ".join(error.what for error in errors)
        return NoCapacity(
            f"no choice of {self._name} had hardware free{tried}: {why}",
            means=self._costs(),
            fix=keep_trying(self._name),
            no_effect=True,
        )

    def _costs(self) -> str:
        box = self._ws.store.boxes.own(self._name, self._ws.here)
        return "it costs nothing now" if box is None else exposure.of(self._ws, box).sentence


def is_first_try(op: BoxOperation) -> bool:
    """The box was made for the goal that is open and has not run: nothing on it can be lost, and it
    is not another computer's."""
    goal = op.open_goal()
    return goal is not None and goal.goal == "running" and goal.options.get("token") == op.box.token


def first_goal(token: str) -> dict[str, object]:
    """Options of the goal that a box is made for."""
    return {"token": token}


@contextmanager
def taken_back(op: BoxOperation, patience: float | None) -> Iterator[None]:
    """When there is no hardware for a box that has not run, or nobody waits for it any more, end
    it, and wait until that is confirmed. patience None: that is for others
    to decide."""
    try:
        yield
    except NoCapacity:
        if patience is not None and is_first_try(op):
            _take_back(op)
        raise
    except KeyboardInterrupt:
        box = op.reload()
        waits = box.handle and (
            box.state is BoxState.PROVISIONING or op.provider.lacks_hardware(box.stage, box.message)
        )
        if patience is not None and waits and is_first_try(op):
            _take_back(op)
        raise


def finish_taking_back(op: BoxOperation) -> bool:
    """Finish what an earlier `up` began, which was cut off between two choices; whether there was
    something to finish."""
    goal = op.open_goal()
    if goal is None or not goal.options.get(_MOVES):
        return False
    op.intent = goal.id
    to_terminated(op)
    return True


def _take_back(op: BoxOperation) -> None:
    op.narrate(f"taking back what was asked of {op.box.provider}")
    op.begin("terminated", **{_MOVES: True})
    to_terminated(op)


def _offers(wanted: spec.BoxSpec, provider: Provider) -> list[Offer]:
    """What it offers for each of its choices."""
    own = (choice for choice in spec.choices(wanted) if choice.provider == provider.name)
    return [offer for choice in own for offer in provider.offers_for(_named(choice, provider))]


def _named(choice: spec.BoxSpec, provider: Provider) -> spec.BoxSpec:
    return structs.replace(choice, hardware=provider.hardware_name(choice.first_hardware))
