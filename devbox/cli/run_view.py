"""A run on the screen: a bar with the time left on a terminal, calm lines elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from devbox.cli.common import is_interactive, narrate
from devbox.jobs.follow import Ended, Line, Message, Note, Progress, Waiting
from devbox.text import duration, size

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress

_LONGEST = 1 << 20  # characters of one line that are kept together
_EVERY = 10.0  # seconds between progress lines where nothing is redrawn


class View(Protocol):
    def say(self, text: str) -> None:
        """One line above the bar."""

    def progress(self, progress: Progress) -> None: ...


def watch(
    messages: Iterable[Message], title: str, *, quiet: bool, clock: Callable[[], float]
) -> Ended | None:
    """Show a run's messages on stderr; the end, if they go that far."""
    ended = None
    waits = ""
    begun = ""  # of a line that comes in pieces
    with _view(title, quiet, clock) as view:
        for message in messages:
            match message:
                case Line(text, end, dropped):
                    if dropped:
                        view.say(f"… {size(dropped)} of the log were dropped here …")
                    begun += text
                    if end == "" and len(begun) < _LONGEST:
                        continue
                    # What a later redraw replaces is left out, as on a page.
                    if end != "\r":
                        view.say(begun)
                    begun = ""
                case Waiting(text):
                    if text != waits:
                        view.say(text)
                    waits = text
                case Progress():
                    view.progress(message)
                case Note(text):
                    view.say(text)
                case Ended():
                    ended = message
        if begun:
            view.say(begun)
    return ended


def amount(progress: Progress) -> str:
    """'40 of 140 frames', '40 frames', or '' before there is any."""
    if progress.total:
        return f"{progress.done:g} of {progress.total:g} {progress.unit}"
    return f"{progress.done:g} {progress.unit}" if progress.done else ""


class _Quiet:
    def say(self, text: str) -> None: ...

    def progress(self, progress: Progress) -> None: ...


class _Lines:
    """For pipes and files: progress now and then, as whole lines."""

    def __init__(self, title: str, clock: Callable[[], float]) -> None:
        self._title, self._clock = title, clock
        self._said_at = clock()

    def say(self, text: str) -> None:
        narrate(text)

    def progress(self, progress: Progress) -> None:
        now = self._clock()
        shown = amount(progress)
        if not shown or now - self._said_at < _EVERY:
            return
        self._said_at = now
        left = "" if progress.eta is None else f", {duration(progress.eta)} left"
        narrate(f"{self._title}: {shown}{left}")


class _Bar:
    """A redrawn bar. Everything said goes above it, never read as markup."""

    def __init__(self, title: str, bar: RichProgress) -> None:
        self._bar = bar
        self._task = bar.add_task(title, total=None, amount="", left="")

    def say(self, text: str) -> None:
        self._bar.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def progress(self, progress: Progress) -> None:
        left = "" if progress.eta is None else f"{duration(progress.eta)} left"
        note = f"  {progress.message[:40]}" if progress.message else ""
        self._bar.update(
            self._task,
            completed=progress.done,
            total=progress.total,
            amount=amount(progress) + note,
            left=left,
        )


@contextmanager
def _view(title: str, quiet: bool, clock: Callable[[], float]) -> Generator[View, None, None]:
    if quiet:
        yield _Quiet()
    elif not is_interactive():
        yield _Lines(title, clock)
    else:
        from rich.console import Console
        from rich.markup import escape
        from rich.progress import BarColumn, TextColumn
        from rich.progress import Progress as RichProgress

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[amount]}", markup=False),
            TextColumn("{task.fields[left]}", markup=False),
        )
        with RichProgress(*columns, console=Console(stderr=True), transient=True) as bar:
            yield _Bar(escape(title), bar)
