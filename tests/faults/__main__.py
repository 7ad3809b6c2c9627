"""`make faults`: every provider, every provider call of up, pause, resume and down, every kind of
fault, and once `kill -9` of the box's watchdog (tests.faults.guards), answers that come late,
listings that lag and someone else who answers (tests.faults.held).
`python -m tests.faults local modal` runs some; `--every N` takes each Nth trial.

Prints each failure, then per provider: trials, survivors, the ledger's worst error against the
provider's meter. Exit code 1 when a trial did not survive, or there were fewer than 500 in all.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

from tests.faults import held
from tests.faults.campaign import Trial, campaign
from tests.faults.guards import KILLED, watchdog_killed
from tests.faults.points import Point
from tests.faults.world import World
from tests.faults.worlds import WORLDS

LEAST = 500


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults")
    parser.add_argument("providers", nargs="*", default=[each.label() for each in WORLDS])
    parser.add_argument("--every", type=int, default=1, help="take each Nth trial")
    parser.add_argument("--only", default="", help="trials whose name holds this text")
    chosen = parser.parse_args()
    trials: list[Trial] = []
    for world in WORLDS:
        if world.label() in chosen.providers:
            trials += _provider(world, chosen.every, chosen.only)
    survivors = sum(not trial.wrong for trial in trials)
    whole = chosen.every == 1 and len(chosen.providers) == len(WORLDS) and not chosen.only
    print(f"all: {_words(trials)}")
    return int(survivors < len(trials) or (whole and len(trials) < LEAST))


def _provider(made: type[World], every: int, only: str) -> list[Trial]:
    began = time.monotonic()
    trials = []
    with Isolated() as home, campaign(made(home)) as each:
        planned = [point for point in each.plan() if only in str(point)]
        for trial in each.run(planned[::every]):
            if trial.wrong:
                print(f"{made.label()}: {trial.point}", *trial.wrong, sep="\n    ", flush=True)
            if trial.reached:
                trials.append(trial)
            if sys.stderr.isatty():
                print(f"\r{made.label()}: {len(trials)}/{len(planned)}", end="", file=sys.stderr)
        if only in str(KILLED):
            each._new_life()
            trial = watchdog_killed(each)
            if trial.wrong:
                print(f"{made.label()}: {trial.point}", *trial.wrong, sep="\n    ", flush=True)
            trials.append(trial)
    trials += _held(made, only) if every == 1 else []
    took = time.monotonic() - began
    print(f"{made.label()}: {_words(trials)}, {took:.0f} s", flush=True)
    return trials


def _held(made: type[World], only: str) -> list[Trial]:
    """The trials of `held` that fit, each in a world of its own."""
    trials = []
    for name, (_, worlds) in held.TRIALS.items():
        if made.name not in worlds or only not in name:
            continue
        with Isolated() as home:
            world = made(home)
            try:
                wrong = held.attempt(name, world)
            finally:
                world.close()
        if wrong:
            print(f"{made.name}: {name}", *wrong, sep="\n    ", flush=True)
        trials.append(Trial(made.name, Point("held", name, 1, "held"), True, wrong, None))
    return trials


def _words(trials: list[Trial]) -> str:
    survivors = sum(not trial.wrong for trial in trials)
    said = f"{len(trials)} trials, {survivors} survivors"
    if errors := [trial.error for trial in trials if trial.error is not None]:
        said += f", worst ledger error {max(errors):.4%}"
    if seconds := [trial.seconds for trial in trials if trial.seconds is not None]:
        said += f", worst ledger difference in real time {max(seconds) * 1000:.0f} ms"
    return said


class Isolated:
    """A HOME and DEVBOX_HOME of its own; short, because unix socket paths are."""

    def __enter__(self) -> Path:
        self._before = dict(os.environ)
        self._folder = tempfile.TemporaryDirectory(
            prefix="dbxf", dir="/tmp", ignore_cleanup_errors=True
        )
        home = Path(self._folder.name).resolve()
        for key in list(os.environ):
            if key.startswith(("HF_", "MODAL_", "DEVBOX_", "SSH_")):
                del os.environ[key]
        os.environ.update(HOME=str(home), DEVBOX_HOME=str(home / ".devbox"))
        return home

    def __exit__(self, *_: object) -> None:
        os.environ.clear()
        os.environ.update(self._before)
        self._folder.cleanup()


if __name__ == "__main__":
    sys.exit(main())
