"""A file in ranges over several connections: whole, resumed, and of one version."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from devbox.box.checkpoints import pieces, source, web
from devbox.box.checkpoints.source import Source

DATA = os.urandom(1_000_003)
PIECE = 1 << 16  # 16 pieces, the last a short one


class Ranges:
    """A server that sends ranges. cut: bytes after which the next so many answers are cut; lies:
    it ignores `Range`; asked: ranges so far; most: how many were open at once."""

    def __init__(self) -> None:
        self.data, self.tag = DATA, '"one"'
        self.cuts: list[int] = []
        self.lies = False
        self.status = 0
        self.asked: list[str | None] = []
        self.open = self.most = 0
        self.gate: threading.Barrier | None = None
        self.lock = threading.Lock()
        ranges = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                ranges.answer(self)

            def log_message(self, *_: object) -> None:
                return

            def handle(self) -> None:
                try:
                    super().handle()
                except ConnectionError:
                    return  # the client went away, which some tests are about

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()

    @property
    def source(self) -> Source:
        return Source(source.WEB, f"http://127.0.0.1:{self.server.server_address[1]}/w.pt?s=hush")

    def answer(self, call: BaseHTTPRequestHandler) -> None:
        asked = call.headers.get("Range")
        with self.lock:
            self.asked.append(asked)
            self.open += 1
            self.most = max(self.most, self.open)
            cut = self.cuts.pop(0) if self.cuts and asked else None
            status = self.status if asked else 0
        if self.gate and asked:
            self.gate.wait(10)
        same = call.headers.get("If-Range") in (None, self.tag)
        ranged = asked is not None and same and not self.lies
        first, last = 0, len(self.data) - 1
        if ranged and asked:
            first, last = map(int, asked[6:].split("-"))
        body = self.data[first : last + 1]
        call.send_response(status or (206 if ranged else 200))
        call.send_header("ETag", self.tag)
        call.send_header("Accept-Ranges", "bytes")
        call.send_header("Content-Length", "0" if status else str(len(body)))
        if ranged and not status:
            call.send_header("Content-Range", f"bytes {first}-{last}/{len(self.data)}")
        call.end_headers()
        if not status:
            call.wfile.write(body if cut is None else body[:cut])
        with self.lock:
            self.open -= 1

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def ranges() -> Iterator[Ranges]:
    found = Ranges()
    yield found
    found.close()


def fetch(ranges: Ranges, part: Path) -> bytes:
    waits: list[float] = []
    found = web.fetch(ranges.source, part, "", sleep=waits.append, piece=PIECE)
    assert sorted(path.name for path in part.iterdir()) == ["file"]
    return found.read_bytes()


def test_all_pieces_arrive_over_eight_connections_at_once(home: Path, ranges: Ranges) -> None:
    ranges.gate = threading.Barrier(8)  # no piece is sent unless eight are asked for together
    found = web.fetch(ranges.source, home, "", sleep=lambda _: None, piece=PIECE)
    assert found.read_bytes() == DATA
    assert sorted(map(str, ranges.asked[1:])) == sorted(
        f"bytes={at}-{min(at + PIECE, len(DATA)) - 1}" for at in range(0, len(DATA), PIECE)
    )


def test_what_was_cut_is_asked_for_again_and_the_rest_is_not(home: Path, ranges: Ranges) -> None:
    ranges.cuts = [10] * 3
    assert fetch(ranges, home) == DATA
    assert len(ranges.asked) <= 1 + 16 + 3 * 8


def test_a_later_attempt_takes_only_what_is_missing(home: Path, ranges: Ranges) -> None:
    plan = pieces.begin(home / "file", len(DATA), PIECE, '"one"')
    with plan.target.open("r+b") as stream:
        stream.write(DATA[: 9 * PIECE])
    with plan.target.with_suffix(".pieces").open("a") as note:
        note.write("".join(f"{index}\n" for index in range(9)) + "1")  # the last line is torn
    assert pieces.arrived(plan.target) == 9 * PIECE
    assert fetch(ranges, home) == DATA
    assert len(ranges.asked) == 16 - 9
    assert all(ranges.asked)


def test_a_version_that_changes_on_the_way_is_fetched_anew(home: Path, ranges: Ranges) -> None:
    pieces.begin(home / "file", len(DATA), PIECE, '"older"')
    assert fetch(ranges, home) == DATA
    ranges.data = DATA[::-1] + b"x"
    pieces.begin(home / "file", len(DATA), PIECE, ranges.tag)
    assert hashlib.md5(fetch(ranges, home)).digest() == hashlib.md5(ranges.data).digest()


def test_a_server_that_ignores_ranges_is_not_taken_at_its_word(home: Path, ranges: Ranges) -> None:
    ranges.lies = True
    with pytest.raises(OSError, match=r"/w\.pt: the server has another file now"):
        fetch(ranges, home)
    assert not (home / "file").exists()


def test_a_refusal_ends_it_and_keeps_what_came(home: Path, ranges: Ranges) -> None:
    ranges.status = 403
    with pytest.raises(OSError, match=r"/w\.pt answers 403") as caught:
        fetch(ranges, home)
    assert "hush" not in str(caught.value)
    assert pieces.read(home / "file") is not None


def test_a_disk_that_is_full_is_said_and_not_tried_again(home: Path, ranges: Ranges) -> None:
    def full(size: int) -> None:
        raise RuntimeError(f"{size} bytes do not fit")

    with pytest.raises(RuntimeError, match="1000003 bytes do not fit"):
        web.fetch(ranges.source, home, "", full, piece=PIECE)
    assert len(ranges.asked) == 1
    assert not (home / "file").exists()
    Path(home / "file").symlink_to("/dev/full")  # every write to it fails with ENOSPC
    plan = pieces.Plan(home / "file", len(DATA), PIECE, '"one"', set())
    (home / "file.pieces").write_text("")
    with pytest.raises(OSError, match="No space left on device"):
        pieces.fetch(plan, lambda h: web._opened(ranges.source.place, "", h))
    assert len(ranges.asked) <= 9
