"""How much of a sequence has a pose, from its records (`result.record`)."""

from __future__ import annotations

from typing import Dict, Iterable, List, Mapping, TypedDict

from devbox.box.json_file import number
from devbox.box.pose.coverage import SOURCES

_SHOWN = 20  # gaps listed


class Summary(TypedDict):
    """sources: how many frames of each; detected, covered: shares of all frames, covered being all
    but none; sequential: whether frames were 0, 1, 2 and so on; people: tracks and how many frames
    each has; gaps: the longest runs of frames without a detection, [first, last], in order;
    longest_gap: frames; errors: frames that could not be looked at."""

    frames: int
    sources: Dict[str, int]
    detected: float
    covered: float
    sequential: bool
    people: Dict[str, int]
    gaps: List[List[int]]
    longest_gap: int
    errors: int


class Report:
    """Fed record by record, in any number."""

    def __init__(self) -> None:
        self._sources = dict.fromkeys(SOURCES, 0)
        self._gaps: List[List[int]] = []
        self._tracks: Dict[str, int] = {}
        self._out_of_order = self._errors = 0
        self._last = -1

    def add(self, record: Mapping[str, object]) -> None:
        """The next record of the sequence."""
        frame, source = int(number(record["frame_number"]) or 0), str(record["source"])
        self._sources[source] += 1
        self._out_of_order += frame != self._last + 1
        self._last = frame
        self._errors += bool(record.get("error"))
        if record.get("track_id"):
            track = str(record["track_id"])
            self._tracks[track] = self._tracks.get(track, 0) + 1
        if source != "detected":
            if self._gaps and self._gaps[-1][1] == frame - 1:
                self._gaps[-1][1] = frame
            else:
                self._gaps.append([frame, frame])

    def result(self) -> Summary:
        total = sum(self._sources.values())
        longest = sorted(self._gaps, key=lambda gap: gap[0] - gap[1])[:_SHOWN]
        return {
            "frames": total,
            "sources": dict(self._sources),
            "detected": _share(self._sources["detected"], total),
            "covered": _share(total - self._sources["none"], total),
            "sequential": not self._out_of_order,
            "people": dict(self._tracks),
            "gaps": sorted(longest),
            "longest_gap": max((last - first + 1 for first, last in self._gaps), default=0),
            "errors": self._errors,
        }


def report(records: Iterable[Mapping[str, object]]) -> Summary:
    """`Report.result` of all of them."""
    made = Report()
    for record in records:
        made.add(record)
    return made.result()


def _share(part: int, total: int) -> float:
    return round(part / total, 4) if total else 0.0
