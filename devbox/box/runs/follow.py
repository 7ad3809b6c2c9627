"""`job follow`: a run's events, log and status as JSON lines, resumed without loss or doubling.

A line is one of these; a reader that was cut passes the last `at` it saw to --after. A cursor is
"<event seq>.<log offset>".

    JobEvent    something happened (events.jsonl)
    LogPiece    the next part of the log; a message a line is slow
    JobAnswer   the status, whenever it has changed; the last line when the run is over
    Heartbeat   nothing else was said for 15 s
"""

from __future__ import annotations

import os
import re
import select
import sys
import time
from typing import Iterator, List, Optional, Tuple, Union

from devbox.box import event_log
from devbox.box.runs import log
from devbox.box.runs.folder import BadRequest, RunFolder
from devbox.wire.codec import encode
from devbox.wire.jobs import JobAnswer, JobEvent, JobStatus, LogPiece
from devbox.wire.messages import BoxEvent, Heartbeat

_TICK = 0.1
_SETTLE_EVERY = 2.0
_ALIVE_EVERY = 15.0
_MAX_LINE = 1 << 15  # bytes of one log line in one message; a longer one comes in pieces
_CHUNK = 1 << 18
_Line = Tuple[bytes, bytes, int]  # text, end and length, as of run_log.lines
Message = Union[JobEvent, LogPiece, JobAnswer, Heartbeat]
_CURSOR = re.compile(r"(\d{1,15})\.(\d{1,18})")


class Follower:
    """after: a cursor, "" from the beginning, or "tail" for the last part of the log."""

    def __init__(self, folder: RunFolder, after: str) -> None:
        self._folder = folder
        self._seq, self._offset = self._place(after)
        self._events_stamp = (0, 0)
        self._status: Optional[JobStatus] = None

    def news(self) -> Tuple[List[Message], bool]:
        """Messages of what was added since the last call, and whether the run is over with all of
        it said. BadRequest when its folder is gone."""
        # Read first: what is over says nothing more after it.
        status = self._folder.known(self._folder.status())
        found: List[Message] = []
        for event in self._new_events():
            self._seq = event.seq
            found.append(JobEvent(self._at(), event))
        while True:
            lines = self._new_lines(status.is_over)
            found += lines
            if not lines or len(found) > 5000:
                break
        ended = status.is_over and not lines
        if ended or (status != self._status and not status.is_over):
            self._status = status
            found.append(JobAnswer(status, time.time(), self._at()))
        return found, ended

    def _at(self) -> str:
        return f"{self._seq}.{self._offset}"

    def _new_events(self) -> List[BoxEvent]:
        try:
            seen = (self._folder.path / event_log.FILE).stat()
        except FileNotFoundError:
            return []
        if self._events_stamp == (seen.st_mtime_ns, seen.st_size):
            return []
        self._events_stamp = (seen.st_mtime_ns, seen.st_size)
        return event_log.read(self._folder.path, self._seq)

    def _new_lines(self, over: bool) -> List[LogPiece]:
        piece = log.read(self._folder.path, self._offset, _CHUNK)
        if piece is None:
            return []
        found: List[LogPiece] = []
        dropped, self._offset = piece.dropped, piece.start
        ended = over and len(piece.data) < _CHUNK
        whole = list(log.lines(piece.data, final=ended))
        if not whole and len(piece.data) >= _CHUNK:
            whole = list(log.lines(piece.data, final=True))  # one line of enormous length
        for text, end, length in _together(whole):
            for part, last in _pieces(text):
                self._offset += length - (len(text) - len(part)) if last else len(part)
                shown, ending = part.decode("utf-8", "replace"), end.decode() if last else ""
                found.append(LogPiece(self._at(), shown, ending, dropped))
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
            lines = [Heartbeat(time.time())]
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
