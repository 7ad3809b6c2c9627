"""What the providers' client libraries log, such as a retry of theirs, goes through our narration:
one place for it, cleaned, and nothing with `--quiet`."""

from __future__ import annotations

import logging
from collections.abc import Callable

from devbox.text import clean


def _nobody(_: str) -> None:
    """Before anybody listens."""


class _Telling(logging.Handler):
    """Warnings of one library, as lines of narration."""

    listener: Callable[[str], None] = staticmethod(_nobody)

    def emit(self, record: logging.LogRecord) -> None:
        said = " ".join(record.getMessage().split())
        type(self).listener(f"{record.name.partition('.')[0]}: {clean(said, 300)}")


_HANDLER = _Telling(logging.WARNING)


def tell(listener: Callable[[str], None]) -> None:
    """Who hears of it from now on: the workspace that was used last."""
    _Telling.listener = staticmethod(listener)


def take(name: str) -> None:
    """Take over what the library of that logger writes to stderr by itself. Called once it has
    been imported, as it sets itself up then; may be called again."""
    logger = logging.getLogger(name)
    logger.handlers = [_HANDLER]
    logger.propagate = False
