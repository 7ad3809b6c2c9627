"""An emulator run by hand, as ``python -m tests.emulators`` shows it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Running:
    """``env`` is to be exported by the client; ``notes`` are lines for the user."""

    env: dict[str, str]
    notes: Sequence[str] = field(default_factory=tuple)
