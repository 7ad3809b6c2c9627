"""`devbox cost --idle`: what of the bill was use, and what another `idle.after` had saved."""

from __future__ import annotations

from typing import TYPE_CHECKING

from devbox.cli.common import echo, print_json
from devbox.errors import UsageError
from devbox.state.spending import Sum
from devbox.text import brief, counted, dollars, duration, parse_duration
from devbox.text_layout import plain, table

if TYPE_CHECKING:
    from devbox.money.period import Period
    from devbox.money.usage import Saved, Split
    from devbox.workspace import Workspace

_LEAST = 120.0  # seconds; what is kept of boxes is too coarse for less


def tell(
    ws: Workspace, by_day: bool, asked: Period, now: float, *, after: str | None, as_json: bool
) -> None:
    """Print the split by box or by day."""
    from devbox.money import usage

    stop = min(asked.end, now)
    seconds = None if after is None else _after(after)
    boxes = usage.by_box(ws.store, asked.begin, stop)
    splits = usage.days(ws.store, asked.begin, stop, asked.zone) if by_day else boxes
    saved = None if seconds is None else usage.saved(ws.store, seconds, asked.begin, stop)
    if as_json:
        rows = [_fields("day" if by_day else "box", split) for split in splits]
        found = saved._asdict() if saved else None
        print_json("cost-idle", as_of=now, timezone=asked.name, rows=rows, saved=found)
        return
    _print(splits, boxes, "DAY" if by_day else "BOX")
    if saved and seconds is not None:
        _print_saved(saved, seconds)


def _after(text: str) -> float:
    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise UsageError(f"--after: {error}", fix="devbox cost --idle --after 10m") from None
    if seconds < _LEAST:
        raise UsageError(
            f"--after {brief(seconds)} is too short: boxes keep what they did by the half-minute",
            fix="devbox cost --idle --after 2m",
        )
    return seconds


def _fields(by: str, split: Split) -> dict[str, object]:
    fields: dict[str, object] = {by: split.key}
    for kind, part in split.parts():
        fields[f"{kind}_seconds"] = round(max(0.0, part.seconds), 3)
        fields[f"{kind}_micro"] = round(max(0.0, part.micro))
        fields[f"{kind}_unpriced_seconds"] = round(max(0.0, part.unknown), 3)
    return fields


def _print(splits: list[Split], boxes: list[Split], head: str) -> None:
    rows = [(head, "BUSY", "IDLE", "HELD", "UNKNOWN")]
    rows += [(plain(s.key), *(_cost(part) for _, part in s.parts())) for s in splits]  # type: ignore[misc]
    for row in table(rows, right=[1, 2, 3, 4]):
        echo(row)
    idle = sum(split.idle.micro for split in boxes)
    total = sum(part.micro for split in boxes for _, part in split.parts())
    unknown = sum(max(0.0, split.unknown.seconds) for split in boxes)
    told = f"; what {duration(unknown)} were used for is not known" if unknown >= 60 else ""
    echo(f"idle: {dollars(round(idle))} of {dollars(round(total))}{told}")
    if any(part.unknown >= 1 for split in boxes for _, part in split.parts()):
        echo("+? has time at an unknown price")


def _cost(part: Sum) -> str:
    if part.seconds < 1:
        return "–"
    more = " +?" if part.unknown >= 1 else ""
    return f"{dollars(round(max(0.0, part.micro)))} {duration(part.seconds)}{more}"


def _print_saved(saved: Saved, after: float) -> None:
    times = counted(saved.pauses, "pause")
    resumes = counted(saved.resumes, "resume")
    echo(
        f"idle.after = {brief(after)} would have saved {dollars(saved.cost)}: {times}, "
        f"{duration(saved.seconds)} off; {resumes} would have been needed"
    )
