"""`make coverage`, `make coverage ROOM=state`: how many branches of the rooms that keep money and
state are taken by these rooms' own tests, and which are not. Fails when a test does, and when a
room is below its figure. Processes that the tests start are measured too, on boxes as well; one
that is killed with -9 tells nothing.
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


class Room(NamedTuple):
    """wanted: per cent of its branches that may not become fewer. tests: what takes them."""

    wanted: int
    tests: tuple[str, ...]


def _core(*names: str) -> tuple[str, ...]:
    return tuple(f"tests/core/test_{name}.py" for name in names)


def _lifecycle() -> tuple[str, ...]:
    """Without those that take minutes, and hardly a branch that the others do not."""
    slow = {"crashes", "lost_key", "noisy_login", "silence", "verbs", "watchdog"}
    files = sorted(Path(ROOT, "tests/lifecycle").glob("test_*.py"))
    quick = (file for file in files if file.stem.removeprefix("test_") not in slow)
    return tuple(str(file.relative_to(ROOT)) for file in quick)


ROOMS = {
    "wire": Room(98, ("tests/wire",)),
    "money": Room(
        95,
        ("tests/money", *_core("billing", "exposure", "money"), "tests/lifecycle/test_enforce.py"),
    ),
    "state": Room(
        97,
        (
            "tests/money",
            "tests/scale/test_batches.py",
            "tests/lifecycle/test_merge.py",
            "tests/lifecycle/test_schema_versions.py",
            *_core("billing", "damaged_state", "lookup", "state"),
        ),
    ),
    "lifecycle": Room(99, _lifecycle()),
    "box/watchdog": Room(100, ("tests/idle",)),
}


class Taken(NamedTuple):
    """Branches of a room. left: "FILE LINE->LINE", a branch that no test took."""

    taken: int
    all: int
    left: tuple[str, ...]

    @property
    def percent(self) -> float:
        return 100 * self.taken / self.all


def main() -> int:
    chosen = sys.argv[1:] or list(ROOMS)
    if unknown := set(chosen) - set(ROOMS):
        sys.exit(f"no room of make coverage: {', '.join(unknown)}; there are {', '.join(ROOMS)}")
    folder = FOLDER / "-".join(chosen).replace("/", "-")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    os.environ["COVERAGE_FILE"] = str(folder / "data")
    tests = dict.fromkeys(test for room in chosen for test in ROOMS[room].tests)
    failed = _coverage(
        "run", "-m", "pytest", "-n", "2", "--dist", "loadgroup", "--timeout", "400", *tests
    )
    _coverage("combine", "-q")
    _coverage("json", "-q", "-o", str(folder / "report.json"))
    report = json.loads((folder / "report.json").read_bytes())
    found = {room: branches(report, room) for room in chosen}
    if len(found) == 1:
        print(*found[chosen[0]].left, sep="\n")
    below = [room for room, taken in found.items() if taken.percent < ROOMS[room].wanted]
    for room, taken in found.items():
        mark = "  below" if room in below else ""
        share = f"{taken.percent:.1f} % of {taken.all} branches"
        print(f"{room:14} {share}, wanted {ROOMS[room].wanted} %{mark}")
    return int(bool(failed or below))


def branches(report: Mapping[str, Any], room: str) -> Taken:
    """Those of a room, of `coverage json`."""
    files = {
        path: file for path, file in report["files"].items() if path.startswith(f"devbox/{room}/")
    }
    sums = [file["summary"] for file in files.values()]
    return Taken(
        sum(each["covered_branches"] for each in sums),
        sum(each["num_branches"] for each in sums),
        tuple(
            f"{path} {' '.join(f'{start}->{end}' for start, end in file['missing_branches'])}"
            for path, file in files.items()
            if file["missing_branches"]
        ),
    )


def _coverage(*words: str) -> int:
    return subprocess.run(
        [sys.executable, "-m", "coverage", *words], cwd=ROOT, check=False
    ).returncode


if __name__ == "__main__":
    sys.exit(main())
