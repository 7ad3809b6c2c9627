"""`devbox cost --reconcile`: the providers' own bills beside the ledger."""

from __future__ import annotations

from typing import TYPE_CHECKING

from devbox.cli.common import echo, print_json
from devbox.errors import DevboxError, Unanswered
from devbox.text import dollars
from devbox.text_layout import plain, table

if TYPE_CHECKING:
    from devbox.money.bill import Compared
    from devbox.money.period import Period
    from devbox.workspace import Workspace


def tell(ws: Workspace, asked: Period, now: float, *, as_json: bool) -> None:
    """Ask each provider for its report and print what differs. Unanswered, once all was printed,
    when one did not give it."""
    from devbox.money import bills

    found = bills.reconcile(ws, asked, now)
    if as_json:
        print_json(
            "cost-reconcile",
            as_of=now,
            timezone=asked.name,
            rows={name: [_fields(row) for row in rows] for name, rows in found.rows.items()},
            without=found.without,
            failed={name: error.what for name, error in found.failed.items()},
        )
    else:
        _print(found.rows)
    for name in found.without:
        echo(f"{name}: bills are not its provider's to tell; nothing was compared", err=True)
    if found.failed:
        raise _unanswered(found.failed)


def _unanswered(failed: dict[str, DevboxError]) -> Unanswered:
    name, error = next(iter(failed.items()))
    return Unanswered(
        f"{name} gave no report: {error.what}",
        means=error.means or "the ledger is as it was; only the comparison is missing",
        fix=error.fix or "try again: devbox cost --reconcile",
    )


def _print(found: dict[str, list[Compared]]) -> None:
    if not found:
        echo("nothing was billed by a provider that tells its bill in that time", err=True)
        return
    rows = [("PROVIDER", "DAY", "BOX", "LEDGER", "BILLED", "DIFFERENCE", "WHY")]
    for name, compared in found.items():
        for row in compared:
            rows.append(
                (
                    name,
                    row.day,
                    plain(row.box, 60) or "–",
                    dollars(row.ledger),
                    dollars(row.billed),
                    dollars(row.difference),
                    plain(row.why, 80),
                )
            )
        known = [row for row in compared if row.difference is not None]
        ledger, billed = sum(row.ledger or 0 for row in known), sum(row.billed for row in known)
        ends = (dollars(ledger), dollars(billed), dollars(billed - ledger), "")
        rows.append((name, "", "together", *ends))
    for line in table(rows, right=[3, 4, 5]):
        echo(line)


def _fields(row: Compared) -> dict[str, object]:
    return {
        "day": row.day,
        "box": row.box or None,
        "ledger_micro": row.ledger,
        "billed_micro": row.billed,
        "difference_micro": row.difference,
        "why": row.why,
    }
