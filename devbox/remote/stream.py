"""One stream of a box over as many ssh connections as it takes: each continues where the last one
was cut."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable
from typing import NamedTuple, Protocol, TypeVar

from devbox.errors import NameUnknown, SshError
from devbox.model import Box
from devbox.remote import refusal
from devbox.remote.exec import GUEST, Program
from devbox.text import clean

_SHORT = 2.0  # seconds; a connection that ends sooner did not work, whatever was heard on it
M = TypeVar("M")
M_co = TypeVar("M_co", covariant=True)


class Reader(Protocol[M_co]):
    """Turns lines into messages, and keeps the place to continue from. heard: something that could
    be read came over this connection."""

    heard: bool

    def words(self) -> list[str]:
        """The command of the box half that continues there, for a new connection."""
        ...

    def feed(self, line: bytes) -> Iterable[M_co]: ...


class Cut(NamedTuple):
    """The end of a connection. failures: of them in a row. heard: it brought something that could
    be read."""

    box: Box
    failures: int
    heard: bool
    err: str


def resumed(
    box: Callable[[], Box],
    reader: Reader[M],
    *,
    silence: float,
    over: Callable[[int | None], bool],
    cut: Callable[[Cut], Iterable[M]],
    sleep: Callable[[float], None],
) -> Generator[M, None, None]:
    """Messages of `reader`. Closing it ends its ssh process, and with it the program on the box.

    box: asked for before each connection. silence: seconds without a byte after which a connection
    is dead. over: gets ssh's exit code (None: it was stopped), whether that was the end. cut: may
    raise, or tell something, before the next connection. Raises as `Attempts.ended`.
    """
    attempts = Attempts()
    while True:
        target, began = box(), time.monotonic()
        with Program(target, reader.words(), options=GUEST) as program:
            for line in program.lines(silence):
                yield from reader.feed(line)
            code = program.close()
        if over(code):
            return
        heard, lasted = reader.heard, time.monotonic() - began
        wait = attempts.ended(target, code, program.err, heard=heard, lasted=lasted)
        yield from cut(Cut(target, attempts.failures, heard, program.err))
        sleep(wait)


class Attempts:
    """The connections of one stream, one after the other. failures: those in a row that did not
    work."""

    def __init__(self) -> None:
        self.failures = 0
        self._was_heard = False

    def ended(self, box: Box, code: int | None, err: str, *, heard: bool, lasted: float) -> float:
        """A connection ended after `lasted` seconds with ssh's exit code (None: it was stopped).
        Returns the seconds to wait before the next; SshError when trying again cannot help."""
        self._was_heard = self._was_heard or heard
        if not heard:
            self._check(box, code, err)
        self.failures = 1 if heard and lasted >= _SHORT else self.failures + 1
        return refusal.wait(self.failures)

    def _check(self, box: Box, code: int | None, err: str) -> None:
        if code == refusal.FAILED:
            refused = refusal.error(box, err)
            nameless = isinstance(refused, NameUnknown) and not self._was_heard
            if nameless or refusal.is_final(refused):
                raise refused
        elif code is not None and 0 < code < 128:  # above: it was ended by a signal
            raise SshError(
                f"devbox's program on {box.name} does not run: "
                + (clean(err.strip()[-400:], 400) or f"code {code}"),
                means="the box is not watched by it; its provider's own timeout still holds",
                fix=f"put it back with: devbox up {box.name}",
            )
