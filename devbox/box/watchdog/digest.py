"""What the box did, by the half-minute: kept for weeks, where its history of seconds is kept for
hours. Each digest is a sample that stands for those since the one before, with the idle policy's
verdict, so that the policy can be replayed over it and the bill be split into busy and idle.
"""

from __future__ import annotations

from typing import List, Mapping, Optional, Protocol, Sequence

from devbox.box.json_file import number
from devbox.wire.messages import Verdict

EVERY = 30.0  # seconds; well below the minute that the policy takes for a gap
FOLDER = "usage"
_LATEST = ("v", "boot", "seq", "t", "ssh", "tty", "requests", "waiting")
_GPU_PARTS = ("index", "uuid", "name", "lost", "mem_total")


class History(Protocol):
    def append(self, sample: Mapping[str, object]) -> bool: ...

    def close(self) -> None: ...


class Digests:
    """Folds samples and stores a digest when one is full."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._samples: List[Mapping[str, object]] = []

    def add(self, sample: Mapping[str, object], verdict: Optional[Verdict]) -> None:
        """Without a verdict nothing is stored: that time is unknown. OSError when the disk does
        not take it."""
        if verdict is None:
            self._samples = []
            return
        self._samples.append(sample)
        seconds = _time(sample) - _time(self._samples[0])
        if 0 <= seconds < EVERY - 1 and len(self._samples) <= EVERY:
            return
        samples, self._samples = self._samples, []
        use = {
            "state": verdict.state,
            "idle_for": round(verdict.idle_for, 1),
            "seconds": round(max(0.0, seconds) + 1, 1),
        }
        if not self._history.append({**folded(samples), "use": use}):
            raise OSError("the disk does not take it")

    def close(self) -> None:
        self._history.close()


def folded(samples: List[Mapping[str, object]]) -> Mapping[str, object]:
    """One sample for several: means of loads, the most of a GPU's utilisation and memory, and the
    latest of what counts up, and of who waits."""
    last = samples[-1]
    return {
        **{key: last.get(key) for key in _LATEST},
        "cpu": {**_part(last, "cpu"), "util": _mean(samples, "cpu", "util")},
        "mem": {**_part(last, "mem"), "used": _most(samples, "mem", "used")},
        "net": {name: _mean(samples, "net", name) for name in ("rx_bps", "tx_bps")},
        "in_flight": _largest([sample.get("in_flight") for sample in samples]),
        "jobs": _jobs(samples),
        "gpus": _gpus(samples),
    }


def _time(sample: Mapping[str, object]) -> float:
    return number(sample.get("t")) or 0.0


def _part(sample: Mapping[str, object], name: str) -> Mapping[str, object]:
    found = sample.get(name)
    return found if isinstance(found, dict) else {}


def _numbers(samples: List[Mapping[str, object]], part: str, name: str) -> List[float]:
    found = (number(_part(sample, part).get(name)) for sample in samples)
    return [value for value in found if value is not None]


def _mean(samples: List[Mapping[str, object]], part: str, name: str) -> Optional[float]:
    found = _numbers(samples, part, name)
    return round(sum(found) / len(found), 2) if found else None


def _most(samples: List[Mapping[str, object]], part: str, name: str) -> Optional[int]:
    found = _numbers(samples, part, name)
    return int(max(found)) if found else None


def _largest(values: Sequence[object]) -> Optional[int]:
    found = [value for value in map(number, values) if value is not None]
    return int(max(found)) if found else None


def _jobs(samples: List[Mapping[str, object]]) -> Optional[List[str]]:
    known = [jobs for jobs in (sample.get("jobs") for sample in samples) if isinstance(jobs, list)]
    return sorted({job for jobs in known for job in jobs})[:100] if known else None


def _gpus(samples: List[Mapping[str, object]]) -> Optional[List[Mapping[str, object]]]:
    latest = samples[-1].get("gpus")
    if not isinstance(latest, list):
        return None
    found: List[Mapping[str, object]] = []
    for place, gpu in enumerate(latest):
        lists = (sample.get("gpus") for sample in samples)
        rows = [rows[place] for rows in lists if isinstance(rows, list) and place < len(rows)]
        # Processes say who holds the memory, which the policy reads where the GPU tells none.
        kept = {key: gpu.get(key) for key in (*_GPU_PARTS, "processes")}
        for name in ("util", "mem_used"):
            values = [
                value for value in (number(row.get(name)) for row in rows) if value is not None
            ]
            kept[name] = max(values) if values else None
        if kept["mem_used"] is not None:
            kept["mem_used"] = int(kept["mem_used"])
        found.append(kept)
    return found
