"""How long boxes took to come up, from the journal and the ledger."""

from __future__ import annotations

from typing import NamedTuple

from devbox.state.database import Database

_LATEST = 20


class Start(NamedTuple):
    """seconds: from asking for a new box until one could log in; paid: those of them that count as
    billed."""

    seconds: float
    paid: float


def of(database: Database, provider: str, hardware: str) -> list[Start]:
    """Of the last boxes that were made there, the newest first."""
    return [Start(*row) for row in database.rows(_STARTS, provider, hardware, _LATEST)]


_STARTS = """
    SELECT n.finished - n.created, n.finished - MAX(i.start, n.created)
    FROM intents n JOIN intervals i ON i.box_id = n.box_id
    WHERE n.goal = 'running' AND n.outcome = 'running' AND i.provider = ? AND i.hardware = ?
        AND n.id = (SELECT MIN(m.id) FROM intents m WHERE m.box_id = n.box_id)
        AND i.id = (SELECT MIN(j.id) FROM intervals j WHERE j.box_id = n.box_id)
        AND i.start <= n.finished
    ORDER BY n.id DESC LIMIT ?
"""
