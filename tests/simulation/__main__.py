"""`python -m tests.simulation`: lives by seeds; what does not hold of them, and how much they were.

Exit code 1 when something does not hold.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from tests.simulation import checks
from tests.simulation.life import NINETY_DAYS, Life, Size


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation")
    parser.add_argument("--seed", type=int, action="append", help="default: 1 to 20")
    parser.add_argument("--days", type=float, default=Size().days)
    parser.add_argument("--boxes", type=int, default=Size().boxes)
    parser.add_argument("--sessions", type=float, default=Size().sessions)
    chosen = parser.parse_args()
    failed = 0
    for seed in chosen.seed or range(1, 21):
        began = time.process_time()
        wrong, told = lived(seed, Size(chosen.days, chosen.boxes, chosen.sessions))
        print(f"seed {seed}: {told}, {time.process_time() - began:.1f} CPU s", flush=True)
        for each in wrong:
            print(f"    {each}", flush=True)
        failed += bool(wrong)
    return int(failed > 0)


def lived(seed: int, size: Size = NINETY_DAYS) -> tuple[list[str], str]:
    """What does not hold of a seed's life, and what there was of it."""
    memory = Path("/dev/shm")  # where there is one: no disk has to turn for a ledger
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        life = Life(seed, Path(folder), size)
        try:
            life.run()
            return checks.all_wrong(life), _told(life)
        finally:
            life.close()


def _told(life: Life) -> str:
    machines = checks.machines(life)
    hours = sum(((each.end or 0.0) - each.start) / 3600 for _, each in life.world.metered())
    calls = len(life.world.hub.calls.records) + len(life.world.modal.calls.records)
    verbs = sum(life.done[name] for name in ("up", "pause", "down", "keep", "look", "reconcile"))
    stops = [stop for machine in machines for stop in machine.stops]
    capped = sum(stop.cause == "budget" for stop in stops)
    kills = sum(laptop.kills for laptop in life.laptops)
    refused = sum(laptop.errors.get("BudgetError", 0) for laptop in life.laptops)
    return (
        f"{verbs} verbs ({kills} killed), {calls} calls, "
        f"{len(machines)} lives of boxes, {len(stops)} pauses by the box, "
        f"{capped} pauses at a budget, "
        f"{refused} refused by a budget, {hours:.0f} box-hours, "
        f"{len(life.world.receiver.told)} notices, ledger off by {checks.error(life):+.4%}"
    )


if __name__ == "__main__":
    sys.exit(main())
