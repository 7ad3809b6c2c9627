"""Lives of a box, each verb struck at one call and then left to `reconcile`."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from devbox.model import Interval, Price
from devbox.remote.config import include
from devbox.state.costs import run_cost
from tests import warm
from tests.faults.points import UNWRITABLE, Point, on_this_computer, points
from tests.faults.world import Stretch, World

BEFORE_RECONCILE = 1800.0  # seconds that pass between a crash and the user's reconcile
# Seconds that a box continues after that: half a minute past whole ones, so that a bill by the
# minute is not decided by the milliseconds of this machine.
BILLED = 7230.0
ROUNDS = 4
_BETWEEN_ROUNDS = 60.0
ALLOWED = 0.001
_GOALS = {"up": "running", "resume": "running", "pause": "paused", "down": "terminated"}
_OVER = ("terminated", "lost")
ROOT = Path(__file__).parents[2]


class Trial(NamedTuple):
    """What came of one strike. wrong: everything that does not hold; empty for a survivor.
    error: of the ledger against the meter, relative; None where nothing was billed, or so shortly
    that only the difference in seconds says anything."""

    provider: str
    point: Point
    reached: bool
    wrong: tuple[str, ...]
    error: float | None
    seconds: float | None = None


class Devbox:
    """Devbox as a user runs it, in a process of its own for each verb (tests.faults.server).
    home: the DEVBOX_HOME of another computer."""

    def __init__(self, world: World, home: Path | None = None) -> None:
        self._world = world
        self.pid = 0
        elsewhere = {} if home is None else {"DEVBOX_HOME": str(home)}
        self._server = warm.Popen(
            [sys.executable, "-m", "tests.faults.server"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=world.project,
            env={**os.environ, **world.env(), **elsewhere, "PYTHONPATH": str(ROOT)},
            text=True,
        )

    def run(self, op: str, point: Point | None = None) -> dict[str, Any]:
        """{"code", "said"} of one verb. A fault that devbox makes itself is handed along."""
        assert self._server.stdin is not None
        clock, trip = self._world.clock, self._world.trip
        request = {
            "op": op,
            "provider": self._world.name,
            "clock": [clock._base - self._world.ahead, clock._origin, clock.speed],
            "trip": trip,
            "point": msgspec.to_builtins(point) if trip else None,
        }
        self._server.stdin.write(json.dumps(request) + "\n")
        self._server.stdin.flush()
        self.pid = int(self._line()["pid"])
        return self._line()

    def result(self, op: str) -> Any:
        """What a verb that must succeed returned."""
        done = self.run(op)
        said = done["said"] or {}
        if done["code"]:
            raise RuntimeError(f"{op}: {said.get('error')}\n{said.get('trace', '')}")
        return said["result"]

    def close(self) -> None:
        assert self._server.stdin is not None
        self._server.stdin.close()
        self._server.wait(60)

    def _line(self) -> dict[str, Any]:
        assert self._server.stdout is not None
        found: dict[str, Any] = json.loads(self._server.stdout.readline())
        return found


class Campaign:
    """All trials of one world."""

    def __init__(self, world: World) -> None:
        self.world, self.devbox = world, Devbox(world)
        self._bill_before: list[Stretch] = []
        self._costs_before: list[list[Any]] = []

    def plan(self) -> list[Point]:
        """Every point of a clean life: of the second one, since the first also makes the calls
        whose answers are kept (rates, images), and later lives do not come by those."""
        self._life_points()
        self._new_life()
        return self._life_points()

    def _life_points(self) -> list[Point]:
        found: list[Point] = []
        for verb in self.world.verbs:
            before = len(self.world.routes())
            done = self.devbox.run(verb)
            assert done["code"] == 0, done
            routes = done["said"]["routes"] or self.world.routes()[before:]
            found += points(verb, routes, self.world.kinds)
            found += on_this_computer(verb)
        return found

    def run(self, planned: list[Point]) -> Iterator[Trial]:
        """Strike at each point, in lives that run through the verbs as often as it takes."""
        left = {verb: [p for p in planned if p.verb == verb] for verb in self.world.verbs}
        while any(left.values()):
            self._new_life()
            for verb in self.world.verbs:
                if not left[verb]:
                    if self._is_needed(verb, left):
                        self._clean(verb)
                    continue
                trial = self._strike(left[verb].pop(0))
                yield trial
                if trial.wrong:
                    self._clean_up()
                    break
                if self.devbox.result("look")["box"] != _GOALS[verb]:
                    self._clean(verb)  # it was given up, or never begun

    def _is_needed(self, verb: str, left: dict[str, list[Point]]) -> bool:
        """A verb without trials of its own runs only on the way to others."""
        return verb in ("up", "down") or any(left[v] for v in ("pause", "resume") if v in left)

    def _new_life(self) -> None:
        self._bill_before = self.world.bill()
        self._costs_before = self.devbox.result("look").get("costs", [])

    def _strike(self, point: Point) -> Trial:
        world, devbox = self.world, self.devbox
        before = devbox.result("look")["box"]
        self._remember(point.verb)
        wrong = []
        if point.kind == UNWRITABLE:
            done, struck = self._unwritable(point.verb), True
            wrong += self._unguarded(done)
        else:
            reached = world.arm(point, lambda: devbox.pid)
            done = devbox.run(point.verb, point)
            struck = reached() or bool((done["said"] or {}).get("reached")) or done["code"] == -9
            world.disarm()
        if point.kills and struck and done["code"] != -9:
            wrong.append(f"it was not killed: {done}")
        if done["code"] == 2:
            wrong.append(f"it broke: {(done['said'] or {}).get('trace')}")
        world.advance(BEFORE_RECONCILE)
        findings = self._reconcile()
        seen = devbox.result("look")
        wrong += _state_of(seen, before, _GOALS[point.verb], findings)
        wrong += self._lives(seen)
        world.advance(BILLED)
        off, theirs, why = self._ledger()
        wrong += why
        if point.verb == "resume" and world.keeps_files and seen["box"] == "running":
            wrong += self._recall()
        wrong += [f"the emulator does not know {what}" for what in world.unexpected()]
        if wrong and (done["said"] or {}).get("error"):
            wrong.append(f"it had said: {done['said']['error']}")
        if world.slack:
            return Trial(world.name, point, struck, tuple(wrong), None, off * 3600 / 1e6)
        return Trial(world.name, point, struck, tuple(wrong), off / theirs if theirs else None)

    def _unwritable(self, verb: str) -> dict[str, Any]:
        """The verb, while the user's ssh config lacks our line and nobody may add it."""
        folder = self.world.home / ".ssh"
        folder.mkdir(mode=0o700, exist_ok=True)
        include.remove()
        config = include.user_config()
        blocked = not config.exists()
        if blocked:
            config.mkdir()
        else:
            folder.chmod(0o500)
        try:
            return self.devbox.run(verb)
        finally:
            folder.chmod(0o700)
            if blocked:
                config.rmdir()

    def _unguarded(self, done: dict[str, Any]) -> list[str]:
        """Complaints about a box that should be up and guarded although a courtesy failed."""
        if done["code"]:
            return [f"it was stopped: {done['said']}"]
        return (
            [] if self.devbox.run("watchdog")["code"] == 0 else ["no watchdog is armed on the box"]
        )

    def _clean(self, verb: str) -> None:
        """A verb that nothing strikes at."""
        self._remember(verb)
        self.devbox.result(verb)
        self.world.advance(BILLED)

    def _remember(self, verb: str) -> None:
        """Put a file on the box that the pause must not lose."""
        if verb == "pause" and self.world.keeps_files:
            self.devbox.result("remember")

    def _reconcile(self) -> list[dict[str, str]]:
        """Again and again, a minute apart, while something is still to be settled."""
        findings: list[dict[str, str]] = []
        for _ in range(ROUNDS):
            done = self.devbox.run("reconcile")
            if done["code"]:
                findings = [{"kind": "error", "detail": str(done["said"])}]
            else:
                findings = done["said"]["result"]
                if not any(f["kind"] in ("busy", "failed", "stranger") for f in findings):
                    break
            self.world.advance(_BETWEEN_ROUNDS)
        return findings

    def _lives(self, seen: dict[str, Any]) -> list[str]:
        wrong = []
        if self.world.billing() != (seen["box"] == "running"):
            wrong.append(f"{self.world.billing()} boxes bill while ours is {seen['box']}")
        paused_lives = self.world.name != "modal"  # a paused sandbox is an image
        exists = seen["box"] == "running" or (seen["box"] == "paused" and paused_lives)
        if self.world.live() != exists:
            wrong.append(f"{self.world.live()} boxes exist while ours is {seen['box']}")
        if seen["bills"] != (seen["box"] == "running"):
            wrong.append(f"the ledger {'bills' if seen['bills'] else 'does not bill'}")
        return wrong

    def _ledger(self) -> tuple[float, float, list[str]]:
        """Micro-dollars between this life's ledger and the meter, the meter's, and complaints."""
        ours = self.devbox.result("look").get("costs", [])
        now = self.world.clock.now()
        here = now - self.world.ahead
        mine = spent(ours, here) - spent(self._costs_before, here)
        bill = self.world.bill()
        theirs = metered(bill, now) - metered(self._bill_before, now)
        off = abs(mine - theirs) if bill else 0.0
        if off <= max(ALLOWED * theirs, self.world.slack * 1e6, 1.0):
            return off, theirs, []
        since = len(self._costs_before), len(self._bill_before)
        detail = f"ledger {ours[since[0] :]}, meter {bill[since[1] :]}"
        return off, theirs, [f"ledger {mine:.0f} against {theirs:.0f} micro-dollars: {detail}"]

    def _recall(self) -> list[str]:
        try:
            found = self.devbox.result("recall")
        except RuntimeError as error:
            return [f"the file is lost: {error}"]
        return [] if found == "precious" else [f"the file holds {found!r}"]

    def _clean_up(self) -> None:
        """Whatever a failed trial has left goes, so that the next one is its own."""
        self.world.advance(_BETWEEN_ROUNDS)
        for op in ("down", "reconcile", "clear"):
            self.devbox.run(op)


def spent(costs: list[list[Any]], now: float) -> float:
    """Micro-dollars of intervals, as devbox counts them."""
    total = 0.0
    for start, end, micro, unit in costs:
        price = Price(micro, unit=unit)
        total += run_cost([Interval(0, "", "", "", "", price, start, end)], 0, now) or 0
    return total


def metered(bill: list[Stretch], now: float) -> float:
    """Micro-dollars of stretches, as the provider counts them."""
    total = 0.0
    for start, end, rate, unit in bill:
        seconds = max(0.0, (now if end is None else end) - start)
        seconds = math.ceil(round(seconds, 3) / unit) * unit if unit else seconds
        total += seconds * rate / 3600
    return total


def _state_of(
    seen: dict[str, Any], before: str | None, goal: str, findings: list[dict[str, str]]
) -> list[str]:
    """Our state is the provider's, nothing is left to do, and the verb was done or never begun."""
    wrong = []
    box, theirs = seen["box"], seen["seen"]
    if seen["open"]:
        wrong.append(f"open goals {seen['open']} after {findings}")
    if any(finding["kind"] in ("stranger", "failed", "error") for finding in findings):
        wrong.append(f"reconcile ends with {findings}")
    given_up = goal == "running" and box == "terminated"
    if box not in (goal, before) and not given_up:
        wrong.append(f"{box} ({seen.get('message')}), wanted {goal} after {before}: {findings}")
    if box not in (None, *_OVER) and (theirs is None or theirs["state"] != box):
        wrong.append(f"we say {box}, the provider says {theirs}")
    if box in _OVER and theirs is not None and theirs["state"] not in _OVER:
        wrong.append(f"we say {box}, the provider says {theirs}")
    return wrong


@contextmanager
def campaign(world: World) -> Iterator[Campaign]:
    """A campaign over a world that has begun; both are ended afterwards."""
    made = Campaign(world)
    try:
        yield made
    finally:
        made._clean_up()
        made.devbox.close()
        world.close()
