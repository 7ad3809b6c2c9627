"""Cost reports over a million intervals."""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import get_args

from devbox.state.database import Database
from devbox.state.spending import By, report
from tests.bench.rows import Row, median, ms

_YEAR = 365 * 86400.0


def rows(folder: Path) -> list[Row]:
    """The slowest of the four groupings counts."""
    database = Database(folder / "million.db")
    now = time.time()
    _fill(database, now)
    took = {by: median(lambda: report(database, by, now), runs=3) for by in get_args(By)}  # noqa: B023
    slowest = max(took, key=lambda by: took[by])
    detail = ", ".join(f"{by} {ms(value)}" for by, value in took.items())
    worst = took[slowest]
    name = "cost report, 1,000,000 intervals"
    return [Row(name, detail, "", ms(worst), "≤ 1.5 s", worst <= 1.5)]


def _fill(database: Database, now: float) -> None:
    """200 boxes over a year, each with 5,000 stretches that do not overlap."""
    rng = random.Random(4)
    prices = (400_000, 1_000_000, 80_000, None)
    slot = _YEAR / 5000
    with database.write() as connection:
        connection.executemany(
            "INSERT INTO intervals (box_id, box_name, provider, hardware, micro_per_hour, "
            "price_source, start, end) VALUES (?, ?, 'hf-space', ?, ?, 'live', ?, ?)",
            (
                (
                    f"b{box}",
                    f"box-{box}",
                    f"hw{box % 12}",
                    rng.choice(prices),
                    start,
                    start + length,
                )
                for box in range(200)
                for index in range(5000)
                for start in (now - _YEAR + index * slot,)
                for length in (rng.random() * slot,)
            ),
        )
        connection.executemany(
            "INSERT INTO runs VALUES (?, ?, 'box', ?, 'succeeded', ?, ?, ?, 0, '', '')",
            (
                (f"r{index}", f"b{index % 200}", f"job{index % 9}", start, start, start + 1800)
                for index in range(5000)
                for start in (now - rng.random() * _YEAR,)
            ),
        )
