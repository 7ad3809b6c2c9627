"""The emulated Hub and Modal workspace, what runs on them, and what is due next."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from random import Random
from typing import NamedTuple

from devbox.providers.hf import job_command, tags
from devbox.providers.modal import entrypoint
from tests.emulators.common import Clock, Interval
from tests.emulators.hf import HfEmulator, Times
from tests.emulators.modal import ModalEmulator, Sandbox, Stages
from tests.simulation.machine import Machine, Phase
from tests.simulation.receiver import Receiver

START = 1_790_000_000.0
PAUSE_TOKEN = "hf_pause"
_SANDBOX = "sb-"
#: of Modal. A call that waits for a stage would wait for ever, as time stands still meanwhile
_STAGES = Stages(image_build=0.0, scheduling=0.3, stopping=0.3, snapshot=0.0, queue=60.0)


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
        self.modal = ModalEmulator(clock=self.clock, stages=_STAGES, hollow=True)
        self.modal.world.on_boot = self._booted
        self.modal.__enter__()
        self.receiver = Receiver(chance, self.clock.now)
        self.plans: dict[str, list[Phase]] = {}
        #: Space, Job (without its namespace) or sandbox → its present life
        self.machines: dict[str, Machine] = {}
        self.past: list[Machine] = []
        self._boots: list[tuple[float, str]] = []
        self._queue: list[_Due] = []
        self._order = itertools.count()
        self._lives = itertools.count()

    def close(self) -> None:
        self.modal.__exit__(None, None, None)
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
                self.modal.settle()
            self._begin_lives()
            if self._queue and self._queue[0].when <= self.clock.now():
                heapq.heappop(self._queue).act()
            elif self.clock.now() >= moment:
                return

    # Lives of boxes --------------------------------------------------------------

    def machine(self, handle: str) -> Machine | None:
        """What answers for a handle of devbox's."""
        key = self._key(handle)
        found = self.machines.get(key)
        return found if found and self._lives_on(key) else None

    def _key(self, handle: str) -> str:
        if handle.startswith(_SANDBOX):
            return handle.partition(":")[0]
        return handle if handle in self.hub.spaces else handle.partition("/")[2]

    def sandbox(self, key: str) -> Sandbox:
        return self.modal.world.sandboxes[key]

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
        if key.startswith(_SANDBOX):
            return self.sandbox(key).state == "running"
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
            execute=lambda argv: self._executed(key, token, argv),
            environ={tags.PAUSE_TOKEN: PAUSE_TOKEN},
            wake=self._wake,
        )
        self.machines[key] = machine
        if key.startswith(_SANDBOX):
            self._enter(self.sandbox(key), machine)
            return
        unarmed = float(told.get(tags.UNARMED) or 1800.0)
        self.at(at + unarmed, lambda: self._end_unarmed(key, machine))

    def _told(self, key: str) -> dict[str, str]:
        """What devbox wrote on it."""
        if key.startswith(_SANDBOX):
            written = self.sandbox(key).tags
            return {tags.NAME: written["devbox-name"], tags.TOKEN: written["devbox-token"]}
        if key in self.hub.spaces:
            return {name: each.value for name, each in self.hub.spaces[key].variables.items()}
        tag = tags.of_labels(self.hub.jobs[key].labels)
        assert tag is not None
        return {tags.NAME: tag.name, tags.TOKEN: tag.token}

    def _enter(self, sandbox: Sandbox, machine: Machine) -> None:
        """What the main process of a sandbox does first (devbox.providers.modal.entrypoint)."""
        latest = int(sandbox.definition.entrypoint_args[-1])
        if self.clock.now() > latest:
            self.modal.leave(sandbox, entrypoint.TOO_LATE)
        else:
            machine.guard(sandbox.env[entrypoint.ORDERS].encode())

    def crash(self, name: str, status: int, left: int) -> bool:
        """The sandbox of a box ends at once with that `GenericStatus`; left: the error that Modal
        answers instead of what is left of its files, 0 for none. Whether there was one."""
        for key, machine in self.machines.items():
            if machine.name == name and key.startswith(_SANDBOX) and self._lives_on(key):
                machine.cut()
                self.sandbox(key).exit_error = left
                self.modal.end(self.sandbox(key), status)
                self.modal.settle()
                self._begin_lives()
                return True
        return False

    def _end_unarmed(self, key: str, machine: Machine) -> None:
        """What a box does of itself when nobody armed it (devbox.providers.guarded, serve.py)."""
        if self.machines.get(key) is machine and not machine.armed:
            self._end(key)

    def _end(self, key: str) -> None:
        if key in self.hub.spaces:
            self.hub.pause_space(key)
        else:
            self.hub.leave(key)

    def _executed(self, key: str, token: str, argv: Sequence[str]) -> bool:
        if key.startswith(_SANDBOX):
            ends = list(argv) == list(entrypoint.stop().argv)
            if ends:
                self.modal.leave(self.sandbox(key))
        else:
            ends = list(argv) == ["touch", job_command.stop_file(token)]
            if ends:
                self.hub.leave(key)
        return ends

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

    # What is there, and what it costs ----------------------------------------------

    def tracked(self) -> dict[str, str]:
        """Everything that lives, by devbox's handle: its name at the meter."""
        spaces = {key: key for key in self.hub.spaces}
        jobs = {f"{job.namespace}/{key}": key for key, job in self.hub.jobs.items() if not job.over}
        sandboxes = self.modal.world.sandboxes.items()
        return spaces | jobs | {key: key for key, each in sandboxes if each.result is None}

    def billing(self) -> set[str]:
        return {*self.hub.meter.billing(), *self.modal.meter.billing()}

    def metered(self) -> Iterator[tuple[str, Interval]]:
        """Name of a box and one of its intervals, by the providers' meters."""
        for each in (*self.hub.meter.intervals(), *self.modal.meter.intervals()):
            yield self._name(each.handle), each

    def _name(self, key: str) -> str:
        if key.startswith(_SANDBOX) or key in self.hub.spaces:
            return self._told(key)[tags.NAME]
        if key not in self.hub.jobs:  # a Space that is deleted
            return key.partition("/")[2].removeprefix(tags.PREFIX)
        tag = tags.of_labels(self.hub.jobs[key].labels)
        return tag.name if tag else ""
