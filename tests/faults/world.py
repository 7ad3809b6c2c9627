"""A provider's side of a campaign, and how a call of it goes wrong: what every world is made of."""

from __future__ import annotations

import os
import resource
import signal
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar, NamedTuple

from devbox import spec
from tests.emulators.common import Calls, Clock, Fault, Knobs, Meter
from tests.emulators.common.calls import Phase
from tests.faults.points import (
    CUT,
    ERRORS,
    FULL,
    HTML,
    KILL_AFTER,
    KILL_BEFORE,
    KINDS,
    LIMITED,
    LOST,
    RETRY_AFTER,
    Point,
)

LIFE = ("up", "pause", "resume", "down")


class Stretch(NamedTuple):
    """One billed stretch. rate: micro-dollars an hour. unit: seconds that are billed whole."""

    start: float
    end: float | None
    rate: float
    unit: int = 0


class World(ABC):
    """One provider, as the campaign drives it. Made with HOME and DEVBOX_HOME set."""

    name: ClassVar[str]
    verbs: ClassVar[tuple[str, ...]] = LIFE
    #: what may go wrong with each call
    kinds: ClassVar[tuple[str, ...]] = KINDS
    #: seconds by which the provider's clock is ahead of this computer's
    ahead: ClassVar[float] = 0.0
    #: how it is asked for and shown, where that is not the provider's name
    title: ClassVar[str] = ""
    #: files on the box outlive a pause
    keeps_files: ClassVar[bool] = False
    #: where a Tripwire goes; None: faults are the emulator's to make
    trip: ClassVar[str | None] = None
    #: dollars by which ledger and meter may differ in a world whose time cannot be advanced
    slack: ClassVar[float] = 0.0
    #: seconds from the request until the box runs, the provider's calls aside
    stages: ClassVar[float] = 0.0
    box: ClassVar[str] = ""
    section: ClassVar[str] = ""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.clock = Clock()
        self.project = home / f"project-{self.name}"
        self.project.mkdir(exist_ok=True)
        (self.project / "main.py").write_text("print('hello')\n")

    @classmethod
    def label(cls) -> str:
        return cls.title or cls.name

    def write_toml(self, settings: str = "") -> None:
        text = f'project = "p"\n[boxes.b]\nprovider = "{self.name}"\n{self.box}\n'
        (self.project / "devbox.toml").write_text(f"{text}{self.section}\n{settings}\n")
        spec.trust_file(self.project / "devbox.toml")

    def env(self) -> dict[str, str]:
        """What devbox's process needs besides HOME and DEVBOX_HOME."""
        return {}

    def arm(self, point: Point, pid: Callable[[], int]) -> Callable[[], bool]:
        """Make one call go wrong in the process `pid()`; the result says whether it was reached."""
        del point, pid
        return lambda: False

    def disarm(self, *, everything: bool = False) -> None:  # noqa: B027 - most have nothing to do
        """Everything goes right again; with `everything` listings do not lag either."""

    def routes(self) -> list[str]:
        """All calls so far, as the provider's side saw them."""
        return []

    def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @abstractmethod
    def live(self) -> int:
        """Boxes that exist, paused ones too."""

    @abstractmethod
    def billing(self) -> int:
        """Boxes that cost now."""

    @abstractmethod
    def bill(self) -> list[Stretch]:
        """Everything ever billed."""

    def close(self) -> None:  # noqa: B027 - most worlds have nothing to do
        """End it all."""

    def unexpected(self) -> list[str]:
        """What the emulator was asked and does not know."""
        return []


class Emulated(World):
    kinds: ClassVar[tuple[str, ...]] = (*KINDS, FULL)
    calls: Calls
    knobs: Knobs
    meter: Meter

    def arm(self, point: Point, pid: Callable[[], int]) -> Callable[[], bool]:
        seen = {"before": 0, "after": 0}

        def on_call(route: str, phase: Phase) -> bool | None:
            if route != point.route:
                return None
            seen[phase] += 1
            if seen[phase] != point.nth:
                return None
            if (phase, point.kind) in (("before", KILL_BEFORE), ("after", KILL_AFTER)):
                os.kill(pid(), signal.SIGKILL)
                return False
            if (phase, point.kind) == ("before", FULL):
                fill_disk(pid())
            elif phase == "before" and not point.kills:
                fault, times = _FAULTS[point.kind]
                self.knobs.set(route, fault, times=times)
            return None

        self.calls.on_call = on_call
        phase = "after" if point.kind == KILL_AFTER else "before"
        return lambda: seen[phase] >= point.nth

    def disarm(self, *, everything: bool = False) -> None:
        self.calls.on_call = None
        if everything:
            self.knobs.clear()
        for route, faults in self.knobs.armed().items():
            if any(fault in [f for f, _ in _FAULTS.values()] for fault in faults):
                self.knobs.clear(route)

    def routes(self) -> list[str]:
        return self.calls.routes

    def billing(self) -> int:
        return len(self.meter.billing())

    def bill(self) -> list[Stretch]:
        return [
            Stretch(each.start, each.end, each.rate * 3600, each.unit)
            for each in self.meter.intervals()
        ]


def fill_disk(pid: int) -> None:
    """Have every write of a regular file by that process refused from now on, which is stricter
    than a full disk: that lets a file be written over (setrlimit(2), RLIMIT_FSIZE)."""
    _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, hard))


_FAULTS = {
    LOST: (Fault.reply_lost(), 1),
    ERRORS: (Fault.server_error(), 3),
    LIMITED: (Fault.rate_limited(RETRY_AFTER), 1),
    HTML: (Fault.html(), 1),
    CUT: (Fault.cut_body(), 1),
}
