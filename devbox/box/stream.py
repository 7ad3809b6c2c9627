"""`stream`: samples and events of this box as JSON lines on stdout.

    stream [--follow] [--history SECONDS] [--after BOOT:SEQ]
           [--events-after SEQ | --events-since TIME] [--usage]

Lines are samples as stored, oldest first; {"v":1,"event":{"seq","t","kind","message"}}; and, when
there is nothing to begin with or for 10 s, {"v":1,"hb":unix time,"agent":is the sampler alive}.
--after resumes behind that sample: nothing is lost or sent twice while the history holds it; when
it no longer does, all of the history follows. --history starts that many seconds back instead.
Events start behind --events-after, or at the time --events-since or --history names, or now.

--usage sends the digests of half-minutes, which are kept for weeks, in place of the samples.

A follower ends when its stdin does or nobody reads its stdout, so keep stdin open: a client that
died leaves no process here.
"""

from __future__ import annotations

import argparse
import os
import select
import time
from pathlib import Path
from typing import Callable, List, Optional, Sequence

from devbox.box import event_log, json_file, paths, processes
from devbox.box.history import Position, Tail
from devbox.box.probes.system.streams import Account
from devbox.box.watchdog.digest import FOLDER
from devbox.wire import codec
from devbox.wire.messages import BoxEvent, EventLine, Heartbeat, Identity

HEARTBEAT = 10.0  # seconds
_POLL = 0.25
_RECENT = 2.0  # seconds back a stream without --history starts, to show something at once
_BLOCK = 1 << 16


def main(args: Sequence[str]) -> int:
    """The verb."""
    options = _parser().parse_args(args)
    account = Account(paths.root(), os.getpid())
    try:
        stream = Stream(
            paths.root(),
            lambda data: _send(data, account),
            after=options.after,
            history=options.history,
            events_after=options.events_after,
            events_since=options.events_since,
            usage=options.usage,
            now=time.time(),
        )
        stream.step(time.time())
        while options.follow and not _left():
            stream.step(time.time())
    except BrokenPipeError:
        # nobody reads any more; closing stdout at exit must not fail over it either
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return 0


class Stream:
    """What one reader has yet to get. send: writes bytes to it."""

    def __init__(
        self,
        root: Path,
        send: Callable[[bytes], None],
        *,
        now: float,
        after: Optional[Position] = None,
        history: Optional[float] = None,
        events_after: Optional[int] = None,
        events_since: Optional[float] = None,
        usage: bool = False,
    ) -> None:
        self._root, self._send = root, send
        since = now - (_RECENT if history is None else history)
        self._tail = Tail(
            root / (FOLDER if usage else "history"), after=after, since=None if after else since
        )
        self._event = events_after
        begun = now if history is None else since
        self._events_since = begun if events_since is None else events_since
        self._events_stamp = (0, 0)
        self._sent_at: Optional[float] = None

    def step(self, now: float) -> None:
        """Send what is new."""
        block: List[bytes] = []
        size = 0
        for row in self._tail.poll():
            block.append(row.line + b"\n")
            size += len(row.line)
            if size >= _BLOCK:
                self._flush(block, now)
                block, size = [], 0
        block += [codec.encode(EventLine(event)) for event in self._events()]
        quiet = self._sent_at is None or not 0 <= now - self._sent_at < HEARTBEAT
        if not block and quiet:
            alive = processes.is_alive(json_file.load(self._root / "agent.json", Identity))
            block = [codec.encode(Heartbeat(round(now, 3), alive))]
        self._flush(block, now)

    def _flush(self, block: List[bytes], now: float) -> None:
        if block:
            self._send(b"".join(block))
            self._sent_at = now

    def _events(self) -> List[BoxEvent]:
        try:
            seen = (self._root / event_log.FILE).stat()
        except OSError:
            return []
        stamp = (seen.st_mtime_ns, seen.st_size)
        if stamp == self._events_stamp:
            return []
        self._events_stamp = stamp
        found = event_log.read(self._root, self._event or 0)
        if self._event is None:
            found = [event for event in found if event.t >= self._events_since]
        if found:
            self._event = found[-1].seq
        return found


def _send(data: bytes, account: Account) -> None:
    account.add(len(data))
    while data:
        data = data[os.write(1, data) :]


def _left() -> bool:
    """Wait for the next look; whether the reader closed our stdin meanwhile."""
    ready, _, _ = select.select([0], [], [], _POLL)
    return bool(ready) and not os.read(0, 4096)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="devbox-box stream")
    parser.add_argument("--follow", action="store_true")
    parser.add_argument("--history", type=float, metavar="SECONDS")
    parser.add_argument("--after", type=_position, metavar="BOOT:SEQ")
    parser.add_argument("--usage", action="store_true")
    parser.add_argument("--events-after", type=int, metavar="SEQ")
    parser.add_argument("--events-since", type=float, metavar="TIME")
    return parser


def _position(text: str) -> Position:
    boot, _, seq = text.rpartition(":")
    return boot, int(seq)
