"""When to ask what: often where the user looks or something changes, seldom elsewhere. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from devbox.model import Box, BoxState

# Seconds between questions to the providers about boxes that change, and that do not.
_CHANGING, _CALM = 2.0, 30.0
# After a cut or a word of the watchdog: again this often, growing, until it shows what happened.
_CURIOUS = (0.0, 1.0, 1.0, 1.0, 2.0, 2.0, 5.0, 10.0)
_VERDICT_SELECTED, _VERDICT_VISIBLE = 10.0, 60.0
_RUNS_SHOWN, _RUNS_ELSEWHERE = 2.0, 30.0


class Schedule:
    """Times are the caller's; each `…_asked` sets the next."""

    def __init__(self) -> None:
        self._boxes: dict[str, Box] = {}
        self._provider: dict[str, float] = {}
        self._curious: dict[str, int] = {}
        self._verdict: dict[str, float] = {}
        self._runs: dict[str, float] = {}
        self._selected: str | None = None
        self._visible: Collection[str] = ()
        self._pane = ""

    def boxes(self, boxes: Sequence[Box], now: float) -> None:
        """The boxes there are; new ones are asked about at once, and so are changed ones."""
        for box in boxes:
            before = self._boxes.get(box.id)
            if before is None:
                self._provider.setdefault(box.id, now)
                self._verdict.setdefault(box.id, now)
                self._runs.setdefault(box.id, now)
            elif before.state is not box.state:
                self._curious.pop(box.id, None)
                self._verdict[box.id] = now
        self._boxes = {box.id: box for box in boxes}
        for times in (self._provider, self._verdict, self._runs):
            for box_id in times.keys() - self._boxes.keys():
                del times[box_id]

    def look(self, selected: str | None, visible: Collection[str], pane: str) -> None:
        self._selected, self._visible, self._pane = selected, visible, pane

    def provider_soon(self, box_id: str, now: float) -> None:
        if box_id in self._boxes:
            self._curious[box_id] = 0
            self._provider[box_id] = now

    def verdict_soon(self, box_id: str, now: float) -> None:
        if box_id in self._boxes:
            self._verdict[box_id] = now

    def runs_soon(self, box_id: str, now: float) -> None:
        if box_id in self._boxes:
            self._runs[box_id] = now

    def providers(self, now: float) -> list[str]:
        return [box_id for box_id, at in self._provider.items() if at <= now]

    def providers_asked(self, boxes: Sequence[Box], now: float) -> None:
        for box in boxes:
            known = self._boxes.get(box.id, box)
            tries = self._curious.get(box.id)
            if tries is not None and tries + 1 < len(_CURIOUS):
                self._curious[box.id] = tries + 1
                wait = _CURIOUS[tries + 1]
            else:
                self._curious.pop(box.id, None)
                wait = _CALM if known.state.is_settled else _CHANGING
            self._provider[box.id] = now + wait

    def verdicts(self, now: float) -> list[str]:
        """Those in sight that are due, the selected one first."""
        seen = [self._selected] if self._selected else []
        seen += [box_id for box_id in self._visible if box_id != self._selected]
        return [
            box_id
            for box_id in seen
            if box_id in self._boxes
            and self._boxes[box_id].state is BoxState.RUNNING
            and self._verdict.get(box_id, 0.0) <= now
        ]

    def verdict_asked(self, box_id: str, now: float) -> None:
        selected = box_id == self._selected
        self._verdict[box_id] = now + (_VERDICT_SELECTED if selected else _VERDICT_VISIBLE)

    def runs(self, now: float) -> list[str]:
        return [box_id for box_id, at in self._runs.items() if at <= now]

    def runs_asked(self, box_id: str, open_ones: bool, now: float) -> None:
        shown = box_id == self._selected and self._pane == "jobs" and open_ones
        self._runs[box_id] = now + (_RUNS_SHOWN if shown else _RUNS_ELSEWHERE)
