"""A cost report as one HTML page that opens offline: charts by ECharts, which is shipped here with
its notice, and the same figures as tables for print and screen readers.

Every name in it is untrusted: tables are escaped by the template, the charts' data is JSON with no
character that ends a script, and the page's own policy runs no script but the two it came with.
"""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import json
from pathlib import Path

from devbox.money.report import Report, daily_limit
from devbox.money.usage import KINDS, Split
from devbox.state.run_spending import RunCost
from devbox.state.spending import Line
from devbox.text import clean, dollars, duration

_HERE = Path(__file__).parent
_MOST_ROWS = 500
_NAME = 100  # characters of a name


def render(report: Report) -> str:
    """The page. Opened from a file, it reads nothing else."""
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    library = (_HERE / "echarts.common.min.js").read_text(encoding="utf-8")
    script = (_HERE / "page.js").read_text(encoding="utf-8")
    template = (_HERE / "page.html").read_text(encoding="utf-8")
    made = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True).from_string(
        template
    )
    return made.render(
        # Texts of ours, and JSON that is made harmless here.
        library=Markup(library),  # noqa: S704
        script=Markup(script),  # noqa: S704
        data=Markup(_harmless(_chart(report))),  # noqa: S704
        hashes=" ".join(f"'sha256-{_hash(text)}'" for text in (library, script)),
        total=_cost(report.total),
        span=_span(report),
        as_of=_moment(report.as_of, report),
        zone=report.period.name,
        budget=_budget(report),
        days=[_row(line) for line in report.by_slice if line.seconds],
        tables=[
            ("Cost by box", "Box", _rows(report.by_box)),
            ("Cost by project", "Project", _rows(report.by_project)),
            ("Cost by hardware", "Hardware", _rows(report.by_hardware)),
        ],
        use=_idle_of(report),
        uses=[
            ("Busy and idle by day", "Day", [_use(split) for split in report.use_by_slice]),
            ("Busy and idle by box", "Box", [_use(s) for s in report.use_by_box[:_MOST_ROWS]]),
        ],
        runs=[_run(run) for run in report.runs],
        more_runs=report.more_runs,
        other=[(clean(o.name, _NAME), o.kind, dollars(o.cost)) for o in report.other],
        whole=_whole(report),
        notice=(_HERE / "ECHARTS-NOTICE.txt").read_text(encoding="utf-8").split("\n\n")[0],
    )


def _chart(report: Report) -> dict[str, object]:
    limit = daily_limit(report.budget, report.period.zone, report.as_of)
    by_day = all(len(each.label) == 10 for each in report.slices)
    return {
        "days": [each.label for each in report.slices],
        "series": [
            {"name": clean(each.name, _NAME), "values": [round(v / 1e6, 4) for v in each.values]}
            for each in report.stacked
        ],
        "use": [
            {
                "name": kind,
                "values": [
                    round(max(0.0, dict(split.parts())[kind].micro) / 1e6, 4)
                    for split in report.use_by_slice
                ],
            }
            for kind in (*KINDS, "unknown")
        ],
        "limit": {"dollars": round(limit[0], 4), "name": limit[1]} if limit and by_day else None,
        "runs": [
            {"name": clean(f"{run.job} {run.id}", _NAME), "dollars": round(run.micro / 1e6, 4)}
            for run in report.runs[:20]
        ],
    }


def _harmless(data: object) -> str:
    """JSON that no HTML parser reads as anything else inside a script element."""
    text = json.dumps(data, ensure_ascii=True, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _rows(lines: list[Line]) -> list[tuple[str, str, str]]:
    rows = [_row(line) for line in lines[:_MOST_ROWS]]
    rest = lines[_MOST_ROWS:]
    if rest:
        rows.append(
            _row(
                Line(
                    f"{len(rest):,} others",
                    sum(line.seconds for line in rest),
                    sum(line.cost for line in rest),
                    sum(line.unknown_seconds for line in rest),
                )
            )
        )
    return rows


def _row(line: Line) -> tuple[str, str, str]:
    return clean(line.key, _NAME), duration(line.seconds), _cost(line)


def _cost(line: Line) -> str:
    known = dollars(line.cost)
    if line.unknown_seconds <= 0:
        return known
    return f"{known} + unknown price for {duration(line.unknown_seconds)}"


def _use(split: Split) -> tuple[str, ...]:
    return clean(split.key, _NAME), *(dollars(max(0.0, part.micro)) for _, part in split.parts())


def _idle_of(report: Report) -> str:
    idle = sum(split.idle.micro for split in report.use_by_box)
    unknown = sum(max(0.0, split.unknown.seconds) for split in report.use_by_box)
    told = f"; what {duration(unknown)} were used for is not known" if unknown >= 60 else ""
    return f"Idle: {dollars(idle)} of {_cost(report.total)}{told}."


def _run(run: RunCost) -> tuple[str, str, str, str, str, str]:
    per_item = dollars(run.micro / run.items) if run.items and run.cost is not None else "–"
    job, box = clean(run.job, _NAME), clean(run.box_name, _NAME)
    return job, run.id, box, dollars(run.cost), f"{run.items:,}" if run.items else "–", per_item


def _whole(report: Report) -> str:
    if report.total.total is None:
        return f"{dollars(report.total.cost + sum(o.cost for o in report.other))} + unknown"
    return dollars(report.total.cost + sum(o.cost for o in report.other))


def _budget(report: Report) -> str:
    named = {
        "a day": report.budget.daily,
        "a month": report.budget.monthly,
        "a box": report.budget.per_box,
    }
    parts = [f"${limit:,.2f} {name}" for name, limit in named.items() if limit is not None]
    return ", ".join(parts)


def _span(report: Report) -> str:
    if report.end <= report.begin:
        return "nothing was billed yet"
    return f"{_moment(report.begin, report)} to {_moment(report.end, report)}"


def _moment(at: float, report: Report) -> str:
    return dt.datetime.fromtimestamp(at, report.period.zone).strftime("%Y-%m-%d %H:%M")


__all__ = ["render"]
