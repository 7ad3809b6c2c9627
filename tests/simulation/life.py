"""What users do with fifty boxes in three months, and what happens to them, by chance."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from random import Random
from typing import NamedTuple

from modal_proto import api_pb2

from devbox import lifecycle
from devbox.providers.modal.sizes import size_of
from devbox.spec import BoxSpec
from devbox.workspace import Workspace
from tests.emulators.common import Fault
from tests.emulators.modal import prices
from tests.simulation.laptop import Laptop, seams, verbs
from tests.simulation.machine import HELD, Machine, Phase
from tests.simulation.prices import Change
from tests.simulation.world import START, World

MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0
ZONES = ("UTC", "Europe/Berlin", "America/Los_Angeles", "Asia/Kolkata", "Pacific/Auckland")
HARDWARE = ("t4-small", "l4x1", "a10g-small", "a100-large", "cpu-upgrade")
MODALS = ("T4", "L4", "A10", "A100-40GB", "cpu")
UPTIMES = (2, 4, 8, 36)
AFTER = (600, 1800, 3600)
#: calls at which a reply is lost, or the Hub is out of order, and where nothing is to be had
STRUCK = {
    "hf-job": ("run_job", "list_jobs", "inspect_job", "cancel_job"),
    "hf-space": (
        *("create_repo", "commit", "request_hardware", "restart", "pause", "delete_repo"),
        *("repo_info", "get_variables", "space_runtime"),
    ),
    "modal": (
        *("SandboxCreate", "SandboxList", "SandboxTagsGet", "SandboxTagsSet", "SandboxTerminate"),
        *("TaskSnapshotFilesystem", "SandboxGetExitSnapshot", "SandboxGetTunnels"),
        *("ImageGetOrCreate", "ImageFromId", "SecretGetOrCreate"),
    ),
}
REFUSED = ("run_job", "request_hardware", "restart")
PAUSED = "pause"
LOOKS = ("up", "look")  # verbs after which the price of a box is that of the list
SHARED = 6  # boxes that both computers use
_FULL = Fault.error(503, "no capacity: try again later")
_FAULTS = (
    Fault.reply_lost(),
    Fault.reply_lost(),
    Fault.server_error(),
    Fault.rate_limited(2.0),
    Fault.cut_body(),
)
_MODAL_FAULTS = (
    Fault.reply_lost(),
    Fault.reply_lost(),
    Fault.server_error(),
    Fault.error(429, "Too many requests"),
    Fault.reset(),
)
#: how often: Modal's client tries again by itself, three times
_TIMES = (1, 4, 6)
_RESULT, _LEFT = api_pb2.GenericResult, api_pb2.SandboxGetExitSnapshotResponse
#: how sandboxes end by themselves
CRASHES = (
    _RESULT.GENERIC_STATUS_INTERNAL_FAILURE,
    _RESULT.GENERIC_STATUS_MEMORY_MANAGER_EVICTION,
    _RESULT.GENERIC_STATUS_FAILURE,
)


class Size(NamedTuple):
    days: float = 90.0
    boxes: int = 50
    sessions: float = 1.2  # of each box, in the mean
    prices: int = 60  # that change


NINETY_DAYS = Size()


class Life:
    """All of one seed."""

    def __init__(self, seed: int, folder: Path, size: Size = NINETY_DAYS) -> None:
        self.chance, self.seed, self.size = Random(seed), seed, size
        self.world = World(folder, self.chance)
        self.done: Counter[str] = Counter()
        self.price_changes: list[Change] = []
        self.usual = {
            (kind, name): self.world.hub.hub.flavors[kind][name].usd_per_hour
            for kind in ("spaces", "jobs")
            for name in HARDWARE
        }
        self.providers = {
            f"b{index:02d}": "modal" if index % 5 == 4 else "hf-job" if index % 2 else "hf-space"
            for index in range(size.boxes)
        }
        self.budgets = self._budgeted(Random(-seed))
        self.hardware: dict[str, str] = {}
        self._toml = self._written()
        self.shared = set(self.chance.sample(sorted(self.providers), min(SHARED, size.boxes)))

    def run(self) -> None:
        """Live it. The laptops can be asked afterwards, until `close`."""
        self._stack = ExitStack()
        self._stack.enter_context(seams(self.world))
        limits = {"one": {}, "two": self._limits(Random(-self.seed - 1000))}
        self.laptops = [Laptop(n, self.world, self._toml, limits[n]) for n in limits]
        self.home = {
            name: self.laptops[self.chance.random() < 0.3] for name in sorted(self.providers)
        }
        end = START + self.size.days * DAY
        self._plan_sessions(end)
        self._plan_troubles(end)
        for laptop in self.laptops:
            self._plan_laptop(laptop, end)
        self.world.advance_to(end)
        self._settle()

    def close(self) -> None:
        self._stack.close()
        self.world.close()

    def _budgeted(self, chance: Random) -> dict[str, float]:
        """Box → dollars from `up` to `down`, of a third of them."""
        some = chance.sample(sorted(self.providers), len(self.providers) // 3)
        return {name: round(chance.uniform(3.5, 15), 2) for name in some}

    def _limits(self, chance: Random) -> dict[str, float]:
        """Dollars a day and a month, of the user of a computer."""
        return {
            "daily": round(chance.uniform(4, 12), 2),
            "monthly": round(chance.uniform(15, 50), 2),
        }

    def _written(self) -> str:
        """devbox.toml."""
        uptimes = Random(-self.seed - 2000)
        lines = ['project = "p"', "[providers.hf]", 'pause_token = "env:SIMULATED_PAUSE"']
        for name, provider in self.providers.items():
            there = MODALS if provider == "modal" else HARDWARE
            hardware, after = self.chance.choice(there), self.chance.choice(AFTER)
            self.hardware[name] = hardware
            lines += [f"[boxes.{name}]", f'provider = "{provider}"', f'hardware = "{hardware}"']
            lines += [f"budget = {self.budgets[name]}"] if name in self.budgets else []
            if provider == "modal":
                lines += [f'max_uptime = "{uptimes.choice(UPTIMES)}h"', 'start_timeout = "3m"']
            lines += [f"[boxes.{name}.idle]", f'after = "{after}s"', f'warn = "{after // 4}s"']
        return "\n".join(lines) + "\n"

    # What users do -----------------------------------------------------------------

    def _plan_sessions(self, end: float) -> None:
        for name in self.providers:
            when = START + self.chance.expovariate(1) * self.size.days * DAY / self.size.sessions
            while when < end - DAY:
                self.world.at(when, lambda name=name: self._session(name))  # type: ignore[misc]
                gap = self.chance.expovariate(1) * self.size.days * DAY / self.size.sessions
                when += max(HOUR, gap)

    def _session(self, name: str) -> None:
        laptop = self._whose(name)
        if not laptop.awake:
            self._later(3 * HOUR, lambda: self._session(name))
            return
        if self._machine(name) is None:
            self.world.plans[name] = self._work()
        if self.providers[name] == "modal" and self.chance.random() < 0.1:
            self._fill(self.hardware[name])
        self._verb(laptop, "up", name)
        chance, begun = self.chance, self.world.clock.now()
        length = self.world.plans[name][-1].end
        if chance.random() < 0.4:
            end = "down" if self.providers[name] == "hf-job" or chance.random() < 0.3 else "pause"
            self._later(chance.uniform(0.3, 1.3) * length, lambda: self._end(end, name))
        for what, share in (("keep", 0.15), ("look", 0.15), ("up", 0.05)):
            if chance.random() < share:
                moment = chance.uniform(0, 1.2) * length
                self._later(moment, lambda what=what: self._verb(self._whose(name), what, name))  # type: ignore[misc]
        if chance.random() < 0.06:
            step = chance.choice((-1, 1)) * chance.uniform(30, 2 * HOUR)
            self._later(chance.uniform(0, length), lambda: self._jump(name, step, begun))
        if self.providers[name] == "modal" and chance.random() < 0.2:
            self._later(chance.uniform(0, length), lambda: self._crash(name))
        if chance.random() < 0.04:
            self._later(chance.uniform(0, length), lambda: self._kill_watchdog(name))

    def _work(self) -> list[Phase]:
        """Work and rest, from half an hour to half a day."""
        found, at, chance = [], 0.0, self.chance
        kinds = ("job", "gpu", "loading", "download", "typing", "serving")
        for _ in range(chance.randint(1, 6)):
            long_ = chance.uniform(5 * MINUTE, 4 * HOUR)
            found.append(Phase(at, at + long_, chance.choice(kinds)))
            at += long_
            if chance.random() < 0.6:
                rest = chance.uniform(MINUTE, 80 * MINUTE)
                found.append(Phase(at, at + rest, chance.choice(("quiet", "editor", HELD))))
                at += rest
        return found

    def _end(self, what: str, name: str) -> None:
        laptop = self._whose(name)
        if laptop.awake:
            self._verb(laptop, what, name)

    def _verb(self, laptop: Laptop, what: str, name: str) -> None:
        """One verb, in which something may go wrong."""
        if not laptop.awake:
            return
        chance = self.chance
        if chance.random() < 0.15:
            laptop.doom = chance.randint(0, 30)
        struck = ""
        if chance.random() < 0.15:
            provider = self.providers[name]
            struck = chance.choice(STRUCK[provider])
            if provider == "modal":
                fault, times = chance.choice(_MODAL_FAULTS), chance.choice(_TIMES)
                self.world.modal.knobs.set(struck, fault, times=times)
            else:
                self.world.hub.knobs.set(struck, chance.choice(_FAULTS))
            self.done[f"fault {struck}"] += 1
        if chance.random() < 0.08:
            laptop.nap = chance.expovariate(1 / (3 * HOUR))
        self.done[what] += 1
        kills = laptop.kills
        laptop.run(lambda ws: verbs()[what](ws, name), looks=what in LOOKS)
        if laptop.kills > kills:
            self._later(chance.uniform(10 * MINUTE, 5 * HOUR), lambda: self._reconcile(laptop))

    def _reconcile(self, laptop: Laptop) -> None:
        if laptop.awake:
            self.done["reconcile"] += 1
            laptop.run(_reconciled, looks=True)

    # What happens to them ------------------------------------------------------------

    def _plan_troubles(self, end: float) -> None:
        chance, world = self.chance, self.world
        span = end - START
        for _ in range(3):
            start = START + chance.random() * span
            world.receiver.down.append((start, start + chance.uniform(HOUR, 20 * HOUR)))
        for _ in range(4):
            start, route = START + chance.random() * span, chance.choice(REFUSED)
            world.at(start, lambda route=route: world.hub.knobs.set(route, _FULL, times=None))  # type: ignore[misc]
            over = start + chance.uniform(HOUR, 5 * HOUR)
            world.at(over, lambda route=route: world.hub.knobs.clear(route))  # type: ignore[misc]
        for _ in range(self.size.prices):
            world.at(START + chance.random() * span, self._price_changes)
        for _ in range(3):
            start = START + chance.random() * span
            fault = chance.choice((Fault.server_error(), Fault.reply_lost(), Fault.stop_ignored()))
            world.at(start, lambda fault=fault: world.hub.knobs.set(PAUSED, fault))  # type: ignore[misc]

    def _price_changes(self) -> None:
        if self.chance.random() < 0.25:
            self._modal_price_changes()
            return
        kind, name = self.chance.choice(("spaces", "jobs")), self.chance.choice(HARDWARE)
        flavors = self.world.hub.hub.flavors[kind]
        before = flavors[name].micro_usd_per_second * 3600
        dollars = round(self.usual[kind, name] * self.chance.uniform(0.7, 1.4), 2)
        self.world.hub.reprice(kind, name, dollars)
        after = flavors[name].micro_usd_per_second * 3600
        provider = {"spaces": "hf-space", "jobs": "hf-job"}[kind]
        self.price_changes.append(Change(self.world.clock.now(), provider, name, before, after))

    def _modal_price_changes(self) -> None:
        """Of a GPU; what is reserved with it stays as it was."""
        name, modal = self.chance.choice(MODALS[:-1]), self.world.modal
        size = size_of(name, BoxSpec())
        beside = (size.cores * prices.CPU_CORE + size.mib / 1024 * prices.MEMORY_GIB) * 3600
        before = modal.world.gpus[name] * 3600
        after = prices.GPU[name] * 3600 * self.chance.uniform(0.7, 1.4)
        modal.reprice(name, after / 1e6)
        self.price_changes.append(
            Change(self.world.clock.now(), "modal", name, before + beside, after + beside)
        )

    def _plan_laptop(self, laptop: Laptop, end: float) -> None:
        chance, world = self.chance, self.world
        at = START
        while at < end:  # nights, and days when it stays closed
            long_ = chance.uniform(7, 10) * HOUR if chance.random() < 0.95 else 3 * DAY
            world.at(at + 14 * HOUR, lambda until=at + 14 * HOUR + long_: _sleep(laptop, until))  # type: ignore[misc]
            at += 14 * HOUR + long_
        at = START + chance.random() * 5 * DAY
        while at < end:
            world.at(at, lambda: self._reconcile(laptop))
            at += chance.uniform(3, 7) * DAY
        for _ in range(5):
            zone = chance.choice(ZONES)
            world.at(START + chance.random() * (end - START), partial(_move, laptop, zone))
        for _ in range(2):
            start = START + chance.random() * (end - START)
            ahead = chance.choice((-1, 1)) * chance.uniform(5, 900)
            world.at(start, lambda a=ahead: _set_clock(laptop, a))  # type: ignore[misc]
            world.at(start + chance.uniform(HOUR, 2 * DAY), lambda: _set_clock(laptop, 0.0))

    def _jump(self, name: str, seconds: float, begun: float) -> None:
        machine = self._machine(name)
        if machine is not None and machine.watched and machine.booted <= begun:
            self.done["box clock set"] += 1
            machine.jump(seconds)

    def _fill(self, gpu: str) -> None:
        """Modal has none free for a while: what asks for one stays in the queue."""
        self.done["queue"] += 1
        self.world.modal.full.add(gpu)
        over = self.chance.choice((MINUTE, 2 * MINUTE, 10 * MINUTE, HOUR))
        self._later(over, lambda: self.world.modal.full.discard(gpu))

    def _crash(self, name: str) -> None:
        """With its files, for the most part."""
        lost = self.chance.random() < 0.3
        left = _LEFT.ERROR_CODE_FILESYSTEM_INCONSISTENT if lost else 0
        if self.world.crash(name, self.chance.choice(CRASHES), left):
            self.done["sandbox crashed"] += 1

    def _kill_watchdog(self, name: str) -> None:
        machine = self._machine(name)
        if machine is not None:
            self.done["watchdog killed"] += 1
            machine.lose_watchdog()

    # ----------------------------------------------------------------------------------

    def _settle(self) -> None:
        """Nothing goes wrong any more, and both computers look until all is settled."""
        self.world.hub.knobs.clear()
        self.world.modal.knobs.clear()
        self.world.modal.full.clear()
        self.world.receiver.down.clear()
        for laptop in self.laptops:
            _set_clock(laptop, 0.0)
            laptop.asleep_until, laptop.nap, laptop.doom = 0.0, 0.0, None
        for _ in range(5):
            for laptop in self.laptops:
                laptop.run(_reconciled, looks=True)
            self.world.advance_to(self.world.clock.now() + 12 * HOUR)
        for laptop in self.laptops:
            laptop.run(_reconciled)

    def _machine(self, name: str) -> Machine | None:
        self.world._begin_lives()
        return next((m for m in self.world.machines.values() if m.name == name), None)

    def _whose(self, name: str) -> Laptop:
        return self.chance.choice(self.laptops) if name in self.shared else self.home[name]

    def _later(self, seconds: float, act: Callable[[], None]) -> None:
        self.world.at(self.world.clock.now() + seconds, act)


def _reconciled(ws: Workspace) -> object:
    return lifecycle.reconcile(ws)


def _sleep(laptop: Laptop, until: float) -> None:
    laptop.asleep_until = until


def _move(laptop: Laptop, zone: str) -> None:
    laptop.move(zone, laptop.ahead)


def _set_clock(laptop: Laptop, ahead: float) -> None:
    laptop.move(laptop.zone, ahead)
