"""The part of the guard that stays: it waits, and starts a round when one is due. Standard library
only, so that it stays small."""

from __future__ import annotations

import json
import os
import resource
import select
import signal
import subprocess
import sys
import time
from contextlib import suppress
from types import FrameType

from devbox.guard import place

#: seconds between rounds while something costs, or may; a round says when it takes longer
EVERY = 300.0
#: seconds between looks at the clock, which notice a computer that slept
TICK = 15.0
#: seconds by which the clock and the time since the start must part to count as a jump
_JUMP = 5.0
#: seconds for the part of a round that answers, and for the look at the providers after it
_ROUND, _LOOK = 300.0, 3600.0
_LAST_WORD = 0.5  # seconds for what is asked to end
_SHORTEST = 5.0  # seconds between rounds, whatever they say
_MOST = 1 << 16  # bytes of an answer
#: the share of a core that rounds may take: a longer one is followed by a longer wait, up to this
_SHARE, _LONGEST = 0.0018, 1800.0


class Watch:
    """every: seconds between rounds until one says otherwise."""

    def __init__(self, *, every: float = EVERY) -> None:
        self._every = every
        self._over = False
        self._offset = time.time() - time.monotonic()
        self._due = time.monotonic()  # of the next round
        self._next = float("inf")  # the same by the clock on the wall: of what has a time
        self._round: _Round | None = None
        self._looks: list[_Round] = []
        self._awake, self._wake = os.pipe()  # which no child inherits
        for end in (self._awake, self._wake):
            os.set_blocking(end, False)

    def run(self) -> None:
        """Until SIGTERM, SIGINT or SIGHUP. SIGUSR1: a round now."""
        signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)
        for number in (
            signal.SIGTERM,
            signal.SIGINT,
            signal.SIGHUP,
            signal.SIGUSR1,
            signal.SIGCHLD,
        ):
            signal.signal(number, self._on_signal)
        say(f"guard: process {os.getpid()} looks every {self._every / 60:.0f} minutes")
        while not self._over:
            self._step()
            self._wait()
        for each in [*self._looks, *([self._round] if self._round else [])]:
            each.end()

    def _on_signal(self, number: int, _: FrameType | None) -> None:
        if number == signal.SIGUSR1:
            self._due = time.monotonic()
        elif number != signal.SIGCHLD:
            self._over = True

    def _step(self) -> None:
        now, wall = time.monotonic(), time.time()
        if abs(wall - now - self._offset) > _JUMP:  # it slept, or its clock was set
            self._offset, self._due = wall - now, now
        before = _taken()
        ended = [each for each in self._looks if each.is_over(_LOOK)]
        self._looks = [each for each in self._looks if each not in ended]
        if ended and self._due > now:
            rest = min((_taken() - before) / _SHARE, _LONGEST)
            self._due = max(self._due, ended[-1].began + rest)
        if self._round is None and (now >= self._due or wall >= self._next):
            self._due, self._next = now + self._every, float("inf")
            self._round = _Round.begin(look=not self._looks)
        elif self._round is not None and self._round.answered():
            self._take(self._round, now)
            self._looks.append(self._round)
            self._round = None
        elif self._round is not None and self._round.is_over(_ROUND):
            self._round = None

    def _take(self, done: _Round, now: float) -> None:
        """When a round said that the next is due. One that said nothing failed, and told why."""
        with suppress(ValueError, TypeError, KeyError):
            said = json.loads(done.said)
            if self._due > now:  # else one was asked for meanwhile
                self._due = max(now + _SHORTEST, done.began + float(said["every"]))
            if said["next"] is not None:
                self._next = max(float(said["next"]), time.time() + _SHORTEST)

    def _wait(self) -> None:
        left = min(TICK, self._due - time.monotonic(), self._next - time.time())
        reading = [self._awake] + ([self._round.out] if self._round else [])
        with suppress(InterruptedError):
            select.select(reading, [], [], max(0.05, TICK if self._round else left))
        with suppress(BlockingIOError):
            os.read(self._awake, 4096)


class _Round:
    """A round that runs in a process of its own, with a group of its own."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout
        self._process, self.out = process, process.stdout.fileno()
        self.began, self.said = time.monotonic(), b""

    @classmethod
    def begin(cls, *, look: bool) -> _Round | None:
        """None when this computer cannot start one now."""
        argv = [sys.executable, "-P", "-m", "devbox.guard.round"] + ["--no-look"] * (not look)
        try:
            return cls(
                subprocess.Popen(
                    argv,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    start_new_session=True,
                    cwd=place.folder(),
                )
            )
        except OSError as error:
            say(f"guard: a round could not begin: {error.strerror}")
            return None

    def answered(self) -> bool:
        """Whether it has said all it says; what comes after that is its look at the providers."""
        while select.select([self.out], [], [], 0)[0]:
            block = os.read(self.out, _MOST)
            self.said = (self.said + block)[-_MOST:]
            if not block:
                return True
        return False

    def is_over(self, limit: float) -> bool:
        """Whether it ended; one that took longer than `limit` seconds is ended."""
        if self._process.poll() is None and time.monotonic() - self.began > limit:
            say(f"guard: a round took over {limit:.0f} s and was ended")
            self.end()
        if self._process.poll() is None:
            return False
        if self._process.stdout:
            self._process.stdout.close()
        return True

    def end(self) -> None:
        for number, patience in ((signal.SIGTERM, _LAST_WORD), (signal.SIGKILL, None)):
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, number)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(patience)
                return


def _taken() -> float:
    """Processor seconds of the rounds that ended, with what they started."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def say(line: str) -> None:
    """One line for whoever reads the log; a full disk or a terminal that is gone stops nothing."""
    with suppress(OSError, ValueError):
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()
