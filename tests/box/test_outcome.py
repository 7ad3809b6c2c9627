"""How the end of a run is told."""

from __future__ import annotations

import pytest

from devbox.box.runs.outcome import judge
from devbox.box.runs.progress import Tally


@pytest.mark.parametrize(
    ("failed", "total", "said"),
    [
        (1, None, "1 item failed"),
        (2, None, "2 items failed"),
        (1, 1, "1 of 1 item failed"),
        (1, 4, "1 of 4 items failed"),
    ],
)
def test_failed_items_are_counted_in_words(failed: int, total: int | None, said: str) -> None:
    tally = Tally(set(), set())
    tally.total = total
    tally.failed = {str(number): "why" for number in range(failed)}
    assert judge(3, "", None, tally).message == said


@pytest.mark.parametrize(
    ("done", "total", "said"),
    [
        (0, 1, "1 of 1 item was never worked on"),
        (3, 4, "1 of 4 items was never worked on"),
        (1, 3, "2 of 3 items were never worked on"),
    ],
)
def test_items_that_were_never_worked_on_are_counted_in_words(
    done: int, total: int, said: str
) -> None:
    tally = Tally({str(number) for number in range(done)}, set())
    tally.total = total
    assert judge(0, "", None, tally).message == said
