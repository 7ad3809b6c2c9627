"""Cost reports over millions of intervals, and the page."""

from __future__ import annotations

import datetime as dt
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import get_args

from devbox.money import page, report
from devbox.money.period import Period
from devbox.spec import Spec
from devbox.state.database import Database
from devbox.state.spending import By
from devbox.state.spending import report as lines
from devbox.state.store import Store
from tests.bench.rows import Row, median, ms

_YEAR = 365 * 86400.0


def rows(folder: Path) -> list[Row]:
    """The slowest of the groupings counts."""
    found = [_plan(folder)]
    one = _database(folder / "million.db", 1_000_000)
    found += [_reports(one, "1,000,000", 1.2), _page(one)]
    one.close()
    ten = _database(folder / "millions.db", 10_000_000)
    found.append(_reports(ten, "10,000,000", 12.0))
    ten.close()
    return found


def _reports(database: Database, count: str, goal: float) -> Row:
    now = time.time()
    took = {by: median(lambda: lines(database, by, now), runs=3) for by in get_args(By)}  # noqa: B023
    worst = max(took.values())
    detail = ", ".join(f"{by} {ms(value)}" for by, value in took.items())
    name = f"cost report, {count} intervals"
    return Row(name, detail, "", ms(worst), f"≤ {goal:g} s", worst <= goal)


def _page(database: Database) -> Row:
    config = Spec(project="p")
    made = page.render(report.build(Store(database), config, Period(zone=dt.UTC), time.time()))
    size = len(made.encode()) / 1e6
    took = median(
        lambda: page.render(
            report.build(Store(database), config, Period(zone=dt.UTC), time.time())
        ),
        runs=3,
    )
    ok = took <= 3 and size <= 2
    name = "cost --html, 1,000,000 intervals"
    return Row(name, f"{ms(took)}, {size:.2f} MB", "", ms(took), "≤ 3 s, ≤ 2 MB", ok)


def _plan(folder: Path) -> Row:
    """The whole verb, for a job with 5,000 earlier runs, after the providers were asked once."""
    project = folder / "project"
    project.mkdir()
    (project / "devbox.toml").write_text('[boxes.gpu]\nprovider = "modal"\ngpu = "L40S"\n')
    store, now = Store.open(), time.time()
    with store.database.write() as connection:
        connection.execute(
            "INSERT INTO intervals (box_id, box_name, provider, hardware, micro_per_hour, "
            "price_source, unit, start, end) VALUES ('b', 'b', 'modal', 'L4', 1, '', 0, ?, ?)",
            (now - 9e5, now),
        )
        request = '{"request": {"module": "devbox.box.jobs.depth", "args": {}}}'
        connection.executemany(
            "INSERT INTO runs VALUES (?, 'b', 'b', 'depth', 'succeeded', ?, ?, ?, 0, ?, '{}')",
            ((f"r{n}", now - 8e5 + n, now - 8e5 + n, now - 8e5, request) for n in range(5000)),
        )
    store.close()
    devbox = str(Path(sys.executable).with_name("devbox"))

    def plan() -> None:
        subprocess.run([devbox, "plan", "depth"], cwd=project, check=True, capture_output=True)

    took = median(plan, runs=9)
    return Row("devbox plan, from cache", ms(took), "", ms(took), "≤ 300 ms", took <= 0.3)


def _database(file: Path, count: int) -> Database:
    """200 boxes over a year, each with stretches that do not overlap; every other one is billed by
    the minute, a quarter at an unknown price; 5,000 runs."""
    database = Database(file)
    now, boxes = time.time(), 200
    slot = _YEAR / (count // boxes)
    rng = random.Random(4)
    with database.write() as connection:
        connection.execute(
            """
            WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < ?)
            INSERT INTO intervals (box_id, box_name, provider, hardware, micro_per_hour,
                                   price_source, unit, start, end)
            SELECT 'b' || i % 200, 'box-' || i % 200, 'cloud', 'hw' || i % 12,
                   CASE i / 200 % 4 WHEN 0 THEN 400000 WHEN 1 THEN 1000000 WHEN 2 THEN 80000 END,
                   'live', i % 2 * 60, ? + i / 200 * ?, ? + i / 200 * ? + (i * 7919 % 1000) * ?
            FROM n
            """,
            (count, now - _YEAR, slot, now - _YEAR, slot, slot / 1000),
        )
        connection.executemany(
            "INSERT INTO runs VALUES (?, ?, 'box', ?, 'succeeded', ?, ?, ?, 0, '', '')",
            (
                (f"r{index}", f"b{index % 200}", f"job{index % 9}", start, start, start + 1800)
                for index in range(5000)
                for start in (now - rng.random() * _YEAR,)
            ),
        )
    return database
