"""What really ends or pauses a box when nobody does: its watchdog, and its provider's own timeout.

A max_uptime is promised only where one of them keeps it.
"""

from __future__ import annotations

import msgspec

from devbox import spec
from devbox.model import Box, BoxState
from devbox.providers.base import CanPause, Provider
from devbox.workspace import Workspace


class Guards(msgspec.Struct, frozen=True):
    """lines: what is in force, each a sentence. pauses: the box's watchdog can pause it. ceiling:
    max_uptime is kept, by whichever. fix: what would add the missing one, '' for nothing."""

    lines: tuple[str, ...]
    pauses: bool
    ceiling: bool
    fix: str = ""


def guards(ws: Workspace, box: Box, *, answers: bool = True) -> Guards:
    """The guards of a box that lives, from what is remembered; its provider is not called.
    answers: its watchdog does; one that was asked in vain is no longer counted on."""
    provider, wanted = ws.provider_of(box), spec.decode_box(box.spec)
    arms = provider.can_arm(box.handle)
    runs = box.state is BoxState.RUNNING
    return _guards(provider, wanted, box.hardware, box.handle, arms, answers=answers, runs=runs)


def guards_for(ws: Workspace, wanted: spec.BoxSpec) -> Guards:
    """The guards that a box of this spec will have."""
    provider = ws.provider(wanted.provider)
    arms = provider.can_arm("") or bool(wanted.pause_command)
    return _guards(provider, wanted, wanted.hardware, "", arms, answers=True, runs=False)


def _guards(
    provider: Provider,
    wanted: spec.BoxSpec,
    hardware: str,
    handle: str,
    arms: bool,
    *,
    answers: bool,
    runs: bool,
) -> Guards:
    own = tuple(provider.own_guards(hardware))
    if wanted.command:
        return Guards(own, pauses=False, ceiling=provider.keeps_ceiling)
    if not arms:
        cannot = "this box cannot pause itself: its watchdog only warns"
        unguarded = () if own else ("nothing ends it while this computer is off",)
        lines, fix = (cannot, *own, *unguarded), provider.arm_help(handle)
        return Guards(lines, pauses=False, ceiling=provider.keeps_ceiling, fix=fix)
    verb = "pause" if isinstance(provider, CanPause) else "end"
    when = "when it is idle and at max_uptime" if wanted.idle.enabled else "at max_uptime"
    if runs and not answers:
        armed = f"its watchdog was armed to {verb} it {when}, and does not answer now"
        return Guards((armed, *own), pauses=True, ceiling=provider.keeps_ceiling)
    once = "" if runs else "once it runs, "
    return Guards((f"{once}its watchdog {verb}s it {when}", *own), pauses=True, ceiling=True)
