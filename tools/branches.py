"""`make coverage`: how many branches of the rooms that keep money and state are taken by these
rooms' own tests. Fails when a test does, and when a room is below its figure. Processes that the
tests start are measured too; one that is killed with -9 tells nothing.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "build" / "coverage"
#: room of devbox/ → per cent of its branches that may not become fewer
ROOMS = {"money": 85, "state": 60, "wire": 95}
TESTS = (
    "tests/money",
    "tests/wire",
    *(f"tests/core/test_{name}.py" for name in ("billing", "exposure", "lookup", "money", "state")),
)


class Taken(NamedTuple):
    """Branches of a room."""

    taken: int
    all: int

    @property
    def percent(self) -> float:
        return 100 * self.taken / self.all


def main() -> int:
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    os.environ["COVERAGE_FILE"] = str(FOLDER / "data")
    tests = ["-m", "pytest", "--timeout", "400", *TESTS]
    failed = _coverage("run", *tests)
    _coverage("combine", "-q")
    _coverage("json", "-q", "-o", str(FOLDER / "report.json"))
    found = rooms(json.loads((FOLDER / "report.json").read_bytes()))
    below = [room for room, taken in found.items() if taken.percent < ROOMS[room]]
    for room, taken in found.items():
        mark = "  below" if room in below else ""
        share = f"{taken.percent:.1f} % of {taken.all} branches"
        print(f"{room:14} {share}, wanted {ROOMS[room]} %{mark}")
    return int(bool(failed or below))


def rooms(report: Mapping[str, Any]) -> dict[str, Taken]:
    """Room → its branches, of `coverage json`."""
    found = dict.fromkeys(ROOMS, Taken(0, 0))
    for path, file in report["files"].items():
        for room, taken in found.items():
            if path.startswith(f"devbox/{room}/"):
                of_file = file["summary"]
                found[room] = Taken(
                    taken.taken + of_file["covered_branches"], taken.all + of_file["num_branches"]
                )
    return found


def _coverage(*words: str) -> int:
    return subprocess.run(
        [sys.executable, "-m", "coverage", *words], cwd=ROOT, check=False
    ).returncode


if __name__ == "__main__":
    sys.exit(main())
