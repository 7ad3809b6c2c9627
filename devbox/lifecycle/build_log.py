"""A box's build log, narrated while we wait for the box."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

from devbox.errors import DevboxError
from devbox.model import Box, BoxState
from devbox.providers.base import HasBuildLogs, Provider
from devbox.text import clean

_LONGEST_LINE = 300


class BuildLog:
    """Follows the log from the first look at which the box is being built, on a thread of its
    own: what the log is late with must not hold up what the state says."""

    def __init__(self, provider: Provider, narrate: Callable[[str], None]) -> None:
        self._provider, self._narrate = provider, narrate
        self._thread: threading.Thread | None = None
        self._over = threading.Event()

    def look(self, box: Box) -> None:
        """Tell of one look at the box."""
        if box.state is BoxState.BUILDING and not self._thread and self._can(self._provider):
            self._thread = threading.Thread(target=self._follow, args=(box,), daemon=True)
            self._thread.start()

    def finish(self, patience: float = 0.5) -> None:
        """The box is past its build: give the last lines a moment, then say no more."""
        if self._thread:
            self._thread.join(patience)
        self._over.set()

    def _follow(self, box: Box) -> None:
        try:
            for line in self._lines(box.handle):
                if self._over.is_set():
                    return
                self._narrate(f"{box.name} | {clean(line, _LONGEST_LINE)}")
        except DevboxError as error:
            if not self._over.is_set():
                self._narrate(f"{box.name}: its build log cannot be read: {error.what}")

    def _lines(self, handle: str) -> Iterator[str]:
        assert isinstance(self._provider, HasBuildLogs)
        return self._provider.build_logs(handle, follow=True)

    @staticmethod
    def _can(provider: Provider) -> bool:
        return isinstance(provider, HasBuildLogs)
