"""An agent with a clock, a sampler and a disk of our own."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from devbox.box import event_log, paths
from devbox.box.probes.terminals import Terminals
from devbox.box.watchdog import config
from devbox.box.watchdog.agent import JUDGE_EVERY, Agent
from devbox.box.watchdog.deadline import Moment
from tests.idle.traces import HOUR, MINUTE, T0, sample
from tests.jobs.conftest import until

ORDERS: dict[str, Any] = {
    "v": 1,
    "box": "gpu1",
    "token": "t",
    "policy": {"after": 1800, "warn": 300},
    "deadline": T0 + 8 * HOUR,
    "started": T0,
    "sent": T0,
    "pause": None,
    "workdir": "work",
}


class Parts:
    """A sampler and a history that fail when told to."""

    def __init__(self) -> None:
        self.sample_now: Callable[[], Any] = sample
        self.kept: list[Any] = []
        self.full = self.closed = False
        self.made = 0

    def make(self) -> Parts:
        self.made += 1
        return self

    def sample(self, now: float) -> dict[str, Any]:
        made = self.sample_now()
        assert isinstance(made, dict)
        return {"v": 1, "boot": "b", "seq": 1, "t": now, **made}

    def append(self, one: Mapping[str, object]) -> bool:
        self.kept.append(dict(one))
        return not self.full

    def close(self) -> None:
        self.closed = True


class World:
    """An agent and its clock. wall is T0 + second, plus what `shift` says."""

    def __init__(self, **changes: Any) -> None:
        self.root, self.parts, self.second, self.shift = paths.root(), Parts(), 0.0, 0.0
        self.pause_file = self.root / "pause-asked"
        recipe = {"kind": "exec", "argv": ["touch", str(self.pause_file)]}
        self.arm(**{"pause": recipe, **changes})
        self.agent = self.start()

    def arm(self, **changes: Any) -> None:
        config.receive(self.root, {**ORDERS, **changes}, self.now())

    def start(self) -> Agent:
        self.agent = Agent(
            self.root, self.parts.make, self.parts, ttys=Terminals(self.root / "no-terminals")
        )
        return self.agent

    def now(self) -> Moment:
        return Moment(T0 + self.second + self.shift, 1000.0 + self.second)

    def live(self, seconds: float, *, step: float = 0.0) -> None:
        """step: seconds between two ticks; by default one, and in a stretch of more than two
        minutes as many as there are between an agent's verdicts."""
        step = step or (JUDGE_EVERY if seconds > 2 * MINUTE else 1.0)
        end = self.second + seconds
        while self.second < end:
            self.second = min(end, self.second + step)
            self.agent.tick(self.now())

    def until_event(self, kind: str) -> None:
        """Let tasks on their threads come to their end, without the clock running far."""

        def there() -> bool:
            self.live(0.01, step=0.01)
            return kind in self.kinds()

        until(there)

    def kinds(self) -> list[str]:
        return [event.kind for event in event_log.read(self.root)]

    def verdict(self) -> dict[str, Any]:
        found = json.loads((self.root / "verdict.json").read_text())
        assert isinstance(found, dict)
        return found
