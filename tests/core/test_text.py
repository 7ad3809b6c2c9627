"""Text for people: harmless, exact, in one form."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devbox.text import clean, dollars, duration, parse_duration, parse_size, size
from tests.core.hostile import ALL

_TEXT = st.text(st.characters(), max_size=300)


@given(_TEXT)
def test_cleaned_text_holds_no_control_character_and_cleaning_twice_changes_nothing(
    text: str,
) -> None:
    out = clean(text)
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", out)
    assert clean(out) == out


@pytest.mark.parametrize("text", ALL, ids=range(len(ALL)))
def test_hostile_text_is_bounded(text: str) -> None:
    assert len(clean(text, 80)) <= 80


def test_escape_sequences_go_whole() -> None:
    assert clean("a\x1b[31mred\x1b[0m b\x1b]52;c;aWQ=\x07c") == "ared bc"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("30m", 1800), ("1h30m", 5400), ("2d", 172800), ("1.5h", 5400)],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "5", "h", "1h 30m", "-1h", "1w", "1h\n", "١h", "9" * 50 + "h"]
)
def test_bad_durations(text: str) -> None:
    with pytest.raises(ValueError, match="not a duration"):
        parse_duration(text)


@pytest.mark.parametrize(("text", "count"), [("512MB", 512 << 20), ("40GB", 40 << 30), ("0B", 0)])
def test_sizes(text: str, count: int) -> None:
    assert parse_size(text) == count


@pytest.mark.parametrize("text", ["", "GB", "-1GB", "1 PB", "1GBs", "x" * 99])
def test_bad_sizes(text: str) -> None:
    with pytest.raises(ValueError, match="not a size"):
        parse_size(text)


def test_money_never_rounds_to_nothing_and_unknown_is_not_zero() -> None:
    assert dollars(0) == "$0.00"
    assert dollars(4_200) == "$0.0042"
    assert dollars(1_234_567_000) == "$1,234.57"
    assert dollars(None) == "unknown"
    assert dollars(600_000, per_hour=True) == "$0.60/h"
    assert dollars(66_700) == "$0.0667"
    assert dollars(1) == "$0.0000"


def test_times_and_sizes_read_well() -> None:
    assert [duration(s) for s in (0, 59.9, 61, 4000, 200000, None)] == [
        "0s",
        "59s",
        "1m01s",
        "1h06m",
        "2d7h",
        "–",
    ]
    assert [duration(s) for s in (1800, 8 * 3600, 86400, 3601)] == ["30m", "8h", "1d", "1h"]
    assert [size(b) for b in (0, 1536, 40 << 30, None)] == ["0 B", "1.5 KB", "40.0 GB", "–"]
