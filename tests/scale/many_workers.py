"""The batch of the table in docs/scale.md, and the table. `python -m tests.scale.many_workers`."""

from __future__ import annotations

import random

from devbox.scale.plan import LAPTOP
from devbox.scale.simulate import Item, Outcome, World, simulate
from devbox.text import duration

WORKERS = (1, 4, 16, 64, 256)
_MBIT = 1_000_000 / 8
#: a cloud GPU box: seconds until it can work, of which most are paid, and until its model is loaded
_CLOUD = LAPTOP._replace(start=120.0, billed=100.0, load=30.0)
WORLDS: dict[str, World] = {
    "100 Mbit/s": _CLOUD._replace(upload=100 * _MBIT),
    "1 Gbit/s": _CLOUD._replace(upload=1000 * _MBIT),
    "1 Gbit/s, each worker lost after 2 h": _CLOUD._replace(upload=1000 * _MBIT, lost_every=7200.0),
}


def videos() -> list[Item]:
    """2,000 of 30 s in the median, at 1 MB a second of video. A worker takes 2 s for each second,
    give or take a quarter."""
    chance = random.Random(13)
    found = []
    for number in range(2000):
        long = chance.lognormvariate(3.4, 0.6)
        seconds = 2 * long * chance.uniform(0.75, 1.25)
        found.append(Item(f"{number}.mp4", long * 1e6, seconds, round(long * 1e6)))
    return found


def outcomes(name: str) -> dict[int, Outcome]:
    items = videos()
    return {workers: simulate(items, workers, WORLDS[name], seed=13) for workers in WORKERS}


def lines(name: str) -> list[str]:
    """Rows of the table."""
    found = outcomes(name)
    alone = found[1].seconds
    return [
        f"| {name} | {workers} | {duration(each.seconds)} | {alone / each.seconds:.1f}× "
        f"| {sum(each.paid) / 3600:.1f} h | {each.limit} |"
        for workers, each in found.items()
    ]


if __name__ == "__main__":
    items = videos()
    print(len(items), sum(i.seconds for i in items) / 3600, sum(i.bytes for i in items) / 1e9)
    print(max(i.seconds for i in items))
    for each in WORLDS:
        print("\n".join(lines(each)))
