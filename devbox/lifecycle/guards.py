"""What really ends or pauses a box when nobody does: its watchdog, and its provider's own timeout.

A max_uptime is promised only where one of them keeps it.
"""

from __future__ import annotations

import msgspec

from devbox import spec
from devbox.model import Box
from devbox.workspace import Workspace


class Guards(msgspec.Struct, frozen=True):
    """lines: what is in force, each a sentence. pauses: the box's watchdog can pause it. ceiling:
    max_uptime is kept, by whichever. fix: what would add the missing one, '' for nothing."""

    lines: tuple[str, ...]
    pauses: bool
    ceiling: bool
    fix: str = ""


def guards(ws: Workspace, box: Box, *, answers: bool = True) -> Guards:
    """The guards of a box that runs, from what is remembered; its provider is not called.
    answers: its watchdog does; one that was asked in vain is no longer counted on."""
    provider = ws.provider_of(box)
    own = tuple(provider.own_guards(box.hardware))
    if spec.is_headless(box):
        return Guards(own, pauses=False, ceiling=provider.keeps_ceiling)
    if not provider.can_arm(box.handle):
        fix = provider.arm_help(box.handle)
        cannot = "this box cannot pause itself: its watchdog only warns"
        unguarded = () if own else ("nothing ends it while this computer is off",)
        lines = (cannot, *own, *unguarded)
        return Guards(lines, pauses=False, ceiling=provider.keeps_ceiling, fix=fix)
    idle = spec.decode_box(box.spec).idle.enabled
    when = "when it is idle and at max_uptime" if idle else "at max_uptime"
    if not answers:
        armed = f"its watchdog was armed to pause it {when}, and does not answer now"
        return Guards((armed, *own), pauses=True, ceiling=provider.keeps_ceiling)
    return Guards((f"its watchdog pauses it {when}", *own), pauses=True, ceiling=True)
