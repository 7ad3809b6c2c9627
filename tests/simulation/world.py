"""The emulated Hub, what runs on it, and what is due next."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from devbox.providers.hf import job_command, tags
from tests.emulators.common import Clock
from tests.emulators.hf import HfEmulator, Times
from tests.simulation.machine import Machine, Phase
from tests.simulation.receiver import Receiver

START = 1_790_000_000.0
PAUSE_TOKEN = "hf_pause"


class _Due(NamedTuple):
    when: float
    order: int
    act: Callable[[], None]


class World:
    """plans: box name → what its user does in its next life, in seconds after it began."""

    def __init__(self, folder: Path, chance: Random) -> None:
        self.folder, self.chance = folder, chance
        self.clock = Clock.manual(START)
        self.hub = HfEmulator(
            clock=self.clock,
            times=Times(build=0.6, start=0.3, schedule=0.3),
            state_dir=folder / "hub",
        )
        self.hub.hub.hollow, self.hub.hub.on_boot = True, self._booted
        self.hub.account.ssh_keys = None
        self.hub.account.add_token(PAUSE_TOKEN)
        self.hub.__enter__()
        self.receiver = Receiver(chance, self.clock.now)
        self.plans: dict[str, list[Phase]] = {}
        #: handle at the Hub (without the namespace of a Job) → its present life
        self.machines: dict[str, Machine] = {}
        self.past: list[Machine] = []
        self._boots: list[tuple[float, str]] = []
        self._queue: list[_Due] = []
        self._order = itertools.count()
        self._lives = itertools.count()

    def close(self) -> None:
        self.hub.__exit__(None, None, None)

    def at(self, when: float, act: Callable[[], None]) -> None:
        heapq.heappush(self._queue, _Due(when, next(self._order), act))

    def advance_to(self, moment: float) -> None:
        """Everything that is due until then, each at its own time. Callable from within one."""
        while True:
            due = self._queue[0].when if self._queue else moment
            timers = self.clock._timers
            stage = timers[0].when if timers else moment
            target = min(due, stage, moment)
            now = self.clock.now()
            if target > now or stage <= now:
                self.clock.advance(max(0.0, target - now))
            self._begin_lives()
            if self._queue and self._queue[0].when <= self.clock.now():
                heapq.heappop(self._queue).act()
            elif self.clock.now() >= moment:
                return

    # Lives of boxes --------------------------------------------------------------

    def machine(self, handle: str) -> Machine | None:
        """What answers for a handle of devbox's."""
        key = handle if handle in self.hub.spaces else handle.partition("/")[2]
        found = self.machines.get(key)
        return found if found and self._lives_on(key) else None

    def _booted(self, key: str) -> None:
        self._boots.append((self.clock.now(), key))

    def _begin_lives(self) -> None:
        for key in [key for key in self.machines if not self._lives_on(key)]:
            self.past.append(self.machines.pop(key))
        boots, self._boots = self._boots, []
        for at, key in boots:
            if key in self.machines:
                self.past.append(self.machines.pop(key))
            if self._lives_on(key):
                self._begin(at, key)

    def _lives_on(self, key: str) -> bool:
        if key in self.hub.spaces:
            return self.hub.spaces[key].container is not None
        return key in self.hub.jobs and not self.hub.jobs[key].over

    def _begin(self, at: float, key: str) -> None:
        told = self._told(key)
        name, token = told[tags.NAME], told[tags.TOKEN]
        plan = [Phase(at + p.start, at + p.end, p.what) for p in self.plans.get(name, [])]
        machine = Machine(
            name,
            self.folder / "machines" / str(next(self._lives)),
            self.clock.now,
            plan,
            post=self.receiver.post,
            touch=lambda path: self._touched(key, token, path),
            environ={tags.PAUSE_TOKEN: PAUSE_TOKEN},
            wake=self._wake,
        )
        self.machines[key] = machine
        unarmed = float(told.get(tags.UNARMED) or 1800.0)
        self.at(at + unarmed, lambda: self._end_unarmed(key, machine))

    def _told(self, key: str) -> dict[str, str]:
        """What devbox wrote on it."""
        if key in self.hub.spaces:
            return {name: each.value for name, each in self.hub.spaces[key].variables.items()}
        tag = tags.of_labels(self.hub.jobs[key].labels)
        assert tag is not None
        return {tags.NAME: tag.name, tags.TOKEN: tag.token}

    def _end_unarmed(self, key: str, machine: Machine) -> None:
        """What a box does of itself when nobody armed it (devbox.providers.guarded, serve.py)."""
        if self.machines.get(key) is machine and not machine.armed:
            self._end(key)

    def _end(self, key: str) -> None:
        if key in self.hub.spaces:
            self.hub.pause_space(key)
        else:
            self.hub.leave(key)

    def _touched(self, key: str, token: str, path: str) -> bool:
        if path != job_command.stop_file(token):
            return False
        self.hub.leave(key)
        return True

    def _wake(self, machine: Machine, when: float) -> None:
        """Have the machine looked at again; an earlier appointment falls."""
        machine.appointment += 1
        mine = machine.appointment

        def look() -> None:
            if machine in self.machines.values() and machine.appointment == mine:
                if not machine.watched:
                    return
                following = machine.step()
                self._begin_lives()
                if machine.appointment == mine:
                    self._wake(machine, following)

        self.at(when, look)

    def tracked(self) -> dict[str, Any]:
        """Everything that lives at the Hub, by devbox's handle."""
        spaces: dict[str, Any] = dict(self.hub.spaces)
        jobs = {f"{job.namespace}/{key}": job for key, job in self.hub.jobs.items() if not job.over}
        return spaces | jobs
