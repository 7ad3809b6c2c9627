"""Where a trial strikes, and how: the nth call of one route during one verb."""

from __future__ import annotations

import msgspec

KILL_BEFORE, KILL_AFTER = "kill before", "kill after"
LOST, ERRORS, LIMITED = "reply lost", "three 5xx", "429"
HTML, CUT = "HTML page", "cut JSON"
FULL = "disk full"  # from this call on nothing more can be written on this computer
KINDS = (KILL_BEFORE, KILL_AFTER, LOST, ERRORS, LIMITED)
RETRY_AFTER = 1.0
#: not at a call of the provider: the user's ssh config cannot be extended while the verb runs
UNWRITABLE, SSH_CONFIG = "unwritable", "ssh config"


class Point(msgspec.Struct, frozen=True):
    """route: as the provider's side names its calls. nth: 1 is the first one in the verb."""

    verb: str
    route: str
    nth: int
    kind: str

    @property
    def kills(self) -> bool:
        return self.kind in (KILL_BEFORE, KILL_AFTER)

    def __str__(self) -> str:
        nth = f" #{self.nth}" if self.nth > 1 else ""
        return f"{self.verb}: {self.kind} {self.route}{nth}"


def on_this_computer(verb: str) -> list[Point]:
    """What can go wrong beside the provider's calls while a box comes up."""
    return [Point(verb, SSH_CONFIG, 1, UNWRITABLE)] if verb in ("up", "resume") else []


def points(
    verb: str, routes: list[str], kinds: tuple[str, ...] = KINDS, *, most: int = 3
) -> list[Point]:
    """Every kind at every call of a clean run. How often a poll repeats is chance, so of one route
    only the first `most` calls count."""
    found: list[Point] = []
    seen: dict[str, int] = {}
    for route in routes:
        seen[route] = seen.get(route, 0) + 1
        if seen[route] <= most:
            found += [Point(verb, route, seen[route], kind) for kind in kinds]
    return found
