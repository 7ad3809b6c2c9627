"""rsync's output, line by line, as amounts, rate and time left."""

from __future__ import annotations

import pytest

from devbox.cli.transfer import progress_text
from devbox.sync.progress import Amount, Item, Meter, Newer, Progress, parse, unescape


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"     52428802  99%  310.56MB/s    0:00:00 (xfr#2, to-chk=5/8)", Amount(52428802, 99)),
        (b"      1,234,567   7%   10.00MB/s    0:00:10  ", Amount(1234567, 7)),
        (b"@<f+++++++++@12@a/b.txt", Item(b"a/b.txt", 12, False, True)),
        (b"@>f.st......@12@a@b@c", Item(b"a@b@c", 12, False, True)),
        (b"@<f+++++++@12@mac.txt", Item(b"mac.txt", 12, False, True)),
        (b"@cd+++++++++@4096@d/", Item(b"d", 4096, True, False)),
        (b"@cL+++++++++@4@link", Item(b"link", 4, False, False)),
        (b"@.f...p.....@4@mode-only", None),
        (b"@*deleting  @0@gone", None),
        (b"new\\#012line is newer", Newer(b"new\nline")),
        (b"sending incremental file list", None),
        (b"", None),
        (
            b"@<f+++++++++@99999999999999999999999999@x",
            Item(b"x", 9999999999999999999, False, True),
        ),
    ],
)
def test_lines(line: bytes, expected: object) -> None:
    assert parse(line) == expected


def test_escaped_names_come_back() -> None:
    assert unescape(b"a\\#012b\\#303\\#251\\#134#012") == b"a\nb\xc3\xa9\\#012"


def test_rate_and_time_left_come_from_the_last_seconds() -> None:
    now = [100.0]
    meter = Meter(lambda: now[0], lambda: 1000)
    for second in range(1, 11):
        now[0] = 100.0 + second
        meter.amount(Amount(second * 50, 5))
        progress = meter.progress()
    assert progress.bytes_done == 500
    assert progress.bytes_total == 1000
    assert progress.rate == pytest.approx(50)
    assert progress.eta == pytest.approx(10)


def test_after_a_cut_what_was_done_stays_done() -> None:
    meter = Meter(lambda: 0.0, lambda: 1000)
    meter.amount(Amount(400, 40))
    meter.cut()
    meter.amount(Amount(100, 10))
    assert meter.progress().bytes_done == 500


def test_without_a_known_total_rsyncs_per_cent_tells_it() -> None:
    meter = Meter(lambda: 0.0, lambda: None)
    assert meter.progress().bytes_total is None
    meter.amount(Amount(500, 50))
    assert meter.progress().bytes_total == 1000


def test_the_line_a_person_sees() -> None:
    now = Progress(512 << 20, 1 << 30, 10 << 20, 51.2, "a\x1b[31m.bin", 3)
    assert progress_text(now) == "512.0 MB of 1.0 GB (50%)  10.0 MB/s  51s left  a.bin"
