"""Rounds that are worked on twice (`--speculate`): whose, and which to begin again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from devbox.model import WorkerState
from devbox.scale import schedule
from devbox.scale.schedule import Going, Load
from devbox.scale.slot import Slot

Key = tuple[int, int]  # worker, round


class Twins:
    """Rounds that two workers hold, with the same pieces."""

    def __init__(self) -> None:
        self._other: dict[Key, Key] = {}
        self._twice: set[Key] = set()  # also those of which one is gone: once is enough

    def __contains__(self, key: Key) -> bool:
        return key in self._other

    def join(self, first: Key, second: Key) -> None:
        self._other |= {first: second, second: first}
        self._twice |= {first, second}

    def part(self, key: Key) -> Key | None:
        """That round is no longer worked on; the one that is left of the two, if it was one."""
        other = self._other.pop(key, None)
        if other:
            del self._other[other]
        return other

    def again(self, slots: Mapping[int, Slot]) -> int:
        """How many pieces are held a second time."""
        held = sum(len(slots[number].held[round_]) for number, round_ in self._other)
        return held // 2

    def find(
        self, slots: Mapping[int, Slot], loads: Iterable[Load], worker: int, lag: float, now: float
    ) -> Going | None:
        """The round that `worker`, which has nothing, begins as well; None where that would not end
        sooner."""
        return schedule.to_repeat(loads, self._going(slots, now), worker, lag=lag)

    def may_come(self, slots: Mapping[int, Slot]) -> bool:
        """Whether a worker that has nothing is to stay: no more of them than there are rounds that
        may turn out to be slow, also of those that were not seen to begin yet."""
        there = {n: s for n, s in slots.items() if s.worker.state is WorkerState.OPEN}
        idle = sum(not slot.held for slot in there.values())
        held = [(n, round_) for n, s in there.items() for round_, names in s.held.items() if names]
        return idle <= sum(key not in self._twice for key in held)

    def _going(self, slots: Mapping[int, Slot], now: float) -> list[Going]:
        """What the workers hold, each in the order of its rounds. May be repeated: what is begun,
        or cannot be asked back because its worker does not answer."""
        found = []
        for number, slot in slots.items():
            if slot.worker.state is not WorkerState.OPEN:
                continue
            for round_, names in sorted(slot.held.items()):
                begun = round_ in slot.begun
                may = bool(names) and (begun or not slot.reachable)
                may = may and (number, round_) not in self._twice
                seconds = max(0.0, now - slot.since) if begun and slot.since is not None else 0.0
                found.append(Going(number, round_, slot.weigh(round_), seconds, may))
        return found
