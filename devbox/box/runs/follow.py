"""`job follow`: a run's events, log and status as JSON lines, resumed without loss or doubling.

Each line is {"v": 1, "at": cursor, "kind": …}; a reader that was cut passes the last `at` it saw
to --after. A cursor is "<event seq>.<log offset>". Kinds:

    event   {"event": {...}}                        as in events.jsonl
    log     {"text": str, "end": "\\n" | "\\r" | "", "dropped": bytes missing just before}; the text
            is one line, or several with a newline between them: a message a line is slow
    status  {"status": {...}, "now": box's clock}   status.json, whenever it has changed
    end     {"status": {...}, "now"}                the run is over and everything was said
    alive   {}                                      nothing else was said for 15 s
"""

from __future__ import annotations

import os
import re
import select
import sys
import time
from typing import Any, Dict, Iterator, List, Optional, Tuple

from devbox.box.runs import log
from devbox.box.runs.folder import OVER, BadRequest, RunFolder
from devbox.box.runs.jsonl import EventReader
from devbox.wire.codec import encode

_TICK = 0.1
_SETTLE_EVERY = 2.0
_ALIVE_EVERY = 15.0
_MAX_LINE = 1 << 15  # bytes of one log line in one message; a longer one comes in pieces
_CHUNK = 1 << 18
_Line = Tuple[bytes, bytes, int]  # text, end and length, as of run_log.lines
_CURSOR = re.compile(r"(\d{1,15})\.(\d{1,18})")


class Follower:
    """after: a cursor, "" from the beginning, or "tail" for the last part of the log."""

    def __init__(self, folder: RunFolder, after: str) -> None:
        self._folder = folder
        self._events = EventReader(folder.events)
        self._seq, self._offset = self._place(after)
        self._status: Optional[Dict[str, Any]] = None

    def news(self) -> Tuple[List[Dict[str, Any]], bool]:
        """What was added since the last call, and whether the run is over with all of it said."""
        # Read first: what is over says nothing more after it.
        status = self._folder.status()
        over = status is None or status["state"] in OVER
        found = self._new_events()
        while True:
            lines = self._new_lines(over)
            found += lines
            if not lines or len(found) > 5000:
                break
        if status != self._status and status is not None and not over:
            self._status = status
            found.append({**self._at(), "kind": "status", "status": status, "now": time.time()})
        if over and not lines:
            found.append({**self._at(), "kind": "end", "status": status, "now": time.time()})
            return found, True
        return found, False

    def _at(self) -> Dict[str, Any]:
        return {"v": 1, "at": f"{self._seq}.{self._offset}"}

    def _new_events(self) -> List[Dict[str, Any]]:
        found = []
        for event in self._events.read():
            if event["seq"] > self._seq:
                self._seq = event["seq"]
                found.append({**self._at(), "kind": "event", "event": event})
        return found

    def _new_lines(self, over: bool) -> List[Dict[str, Any]]:
        piece = log.read(self._folder.path, self._offset, _CHUNK)
        if piece is None:
            return []
        found: List[Dict[str, Any]] = []
        dropped, self._offset = piece.dropped, piece.start
        ended = over and len(piece.data) < _CHUNK
        whole = list(log.lines(piece.data, final=ended))
        if not whole and len(piece.data) >= _CHUNK:
            whole = list(log.lines(piece.data, final=True))  # one line of enormous length
        for text, end, length in _together(whole):
            for part, last in _pieces(text):
                self._offset += length - (len(text) - len(part)) if last else len(part)
                found.append(
                    {
                        **self._at(),
                        "kind": "log",
                        "text": part.decode("utf-8", "replace"),
                        "end": end.decode() if last else "",
                        "dropped": dropped,
                    }
                )
                dropped = 0
        return found

    def _place(self, after: str) -> Tuple[int, int]:
        if after == "tail":
            return 0, self._tail_offset()
        match = _CURSOR.fullmatch(after or "0.0")
        if not match:
            raise BadRequest("bad_request", "--after takes a cursor, or the word tail")
        return int(match[1]), int(match[2])

    def _tail_offset(self) -> int:
        """Where the last 16 KB begin, at the start of a line."""
        begin = max(0, log.size(self._folder.path) - (1 << 14))
        piece = log.read(self._folder.path, begin)
        if begin == 0 or piece is None:
            return 0
        return piece.start + piece.data.find(b"\n") + 1


def follow(folder: RunFolder, after: str, *, wait: bool) -> int:
    """Print until the run is over, or stdin ends (the reader is gone). wait False: print what
    there is and stop."""
    folder.require()
    follower = Follower(folder, after)
    settled_at = said_at = time.monotonic()
    while True:
        lines, over = follower.news()
        if not lines and time.monotonic() - said_at > _ALIVE_EVERY:
            lines = [{"v": 1, "kind": "alive"}]
        if lines:
            said_at = time.monotonic()
            sys.stdout.buffer.write(b"".join(encode(line) for line in lines))
            sys.stdout.buffer.flush()
        if over or (not wait and not lines):
            return 0
        if wait and _reader_left(0.0 if len(lines) > 5000 else _TICK):
            return 0
        if time.monotonic() - settled_at > _SETTLE_EVERY:
            settled_at = time.monotonic()
            folder.settled()


def _reader_left(patience: float) -> bool:
    ready, _, _ = select.select([sys.stdin], [], [], patience)
    return bool(ready) and not os.read(sys.stdin.fileno(), 4096)


def _together(lines: List[_Line]) -> Iterator[_Line]:
    """Runs of lines that end in a bare newline as one, as far as a message holds them."""
    block: List[bytes] = []
    room = _MAX_LINE
    for text, end, length in lines:
        plain = end == b"\n" and length == len(text) + 1
        if block and (not plain or len(text) >= room):
            yield _joined(block)
            block, room = [], _MAX_LINE
        if plain and len(text) < room:
            block.append(text)
            room -= length
        else:
            yield text, end, length
    if block:
        yield _joined(block)


def _joined(block: List[bytes]) -> _Line:
    text = b"\n".join(block)
    return text, b"\n", len(text) + 1


def _pieces(text: bytes) -> List[Tuple[bytes, bool]]:
    """(part, is the last) of a line, none longer than a message may hold."""
    parts = []
    while len(text) > _MAX_LINE:
        cut = _MAX_LINE
        while cut > _MAX_LINE - 4 and text[cut] & 0xC0 == 0x80:
            cut -= 1  # not within a character of UTF-8
        parts.append((text[:cut], False))
        text = text[cut:]
    return [*parts, (text, True)]
