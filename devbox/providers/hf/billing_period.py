"""When a Space began and ceased to cost, as exactly as can be known.

The Hub tells a stage and no times. Three things tell better than the moment we look: when we asked
for it ourselves, the times of the build log's lines (the last one is the moment the app starts and
the bill begins), and those of the run log's (an image of ours prints twice a minute).
"""

from __future__ import annotations

from devbox.providers.hf import logs
from devbox.providers.hf.hardware import FREE
from devbox.providers.hf.hub import Hub
from devbox.providers.hf.local_records import Notes
from devbox.providers.hf.stages import Runtime

_SLACK = 1.0  # seconds between the Hub's clock and ours that order nothing
_PATIENCE = 600.0
_LATER = 60.0  # seconds after which what a Space prints is of a life that a pause did not end
_HEARTBEAT = "devbox: "


def follow(
    hub: Hub, handle: str, notes: Notes, runtime: Runtime, now: float, created: float, *, free: bool
) -> bool:
    """Bring `since` and `ended` of `notes` up to the runtime just seen; True when they changed.
    free: the hardware costs nothing, so that times need not be exact."""
    follow_clock(hub, notes)
    if runtime.billed:
        changed, notes.began = notes.began is not None, None
        if notes.since is None:
            notes.since = _began(hub, handle, notes, now, created, free=free)
            notes.ahead, notes.asked_start = hub.times.ahead, None
            changed = True
        elif runtime.current and notes.flavor not in ("", runtime.current):
            notes.since = notes.ended = _moved(hub, handle, notes.since, now)
            changed = True
        notes.flavor = runtime.current or notes.flavor
        if notes.asked_stop is not None:
            notes.asked_stop = now  # asked for and not there yet: it ends no earlier than now
            changed = True
        return changed
    if notes.since is None:
        if not free and _ran_unwatched(hub, handle, notes, runtime, now, created):
            return True
        return _forget_start(notes, runtime, now)
    notes.ended = max(notes.since, _ended(hub, handle, notes, runtime, now, free=free))
    notes.began, notes.since, notes.asked_stop = notes.since, None, None
    return True


def moves(notes: Notes, runtime: Runtime, wanted: str, now: float) -> None:
    """Other hardware was asked for just now, of a Space that showed `runtime`: what runs is billed
    as that from now on, and what has run and stopped did so on the hardware before."""
    if runtime.billed:
        notes.since = notes.ended = now
        notes.asked_start, notes.flavor = None, wanted
    elif runtime.stage in ("PAUSED", "STOPPED"):
        notes.asked_start = None


def _moved(hub: Hub, handle: str, since: float, now: float) -> float:
    """When a Space came to run on other hardware, asked for on its page: its run log
    begins again there."""
    start = logs.first(hub, f"/api/spaces/{handle}/logs/run")
    told = start.at if start else None
    return told if told is not None and since < told <= now else now


def follow_clock(hub: Hub, notes: Notes) -> None:
    """Have what is not over yet by this computer's clock as it is set now."""
    ahead = hub.times.ahead
    later = 0.0 if notes.ahead is None else notes.ahead - ahead
    if later:
        for name in ("since", "asked_start", "asked_stop"):
            at = getattr(notes, name)
            setattr(notes, name, None if at is None else at + later)
    notes.ahead = ahead


def _ran_unwatched(
    hub: Hub, handle: str, notes: Notes, runtime: Runtime, now: float, created: float
) -> bool:
    """Whether what we asked to start has begun and stopped since, as its logs tell: notes then
    have the stretch as `began` and `ended`."""
    if notes.asked_start is None or runtime.stage not in ("PAUSED", "STOPPED"):
        return False
    if runtime.requested in ("", FREE):  # a create that was cut off before it asked for hardware
        return False
    began = _began(hub, handle, notes, now, created, free=False)
    told = _told_end(hub, handle, runtime)
    if told is None or not began < told <= now:
        return False
    notes.began, notes.ended, notes.asked_start, notes.asked_stop = began, told, None, None
    return True


def _forget_start(notes: Notes, runtime: Runtime, now: float) -> bool:
    """A start that we asked for long ago and that never came is not the next one's."""
    stale = notes.asked_start is not None and now - notes.asked_start > _PATIENCE
    if not stale or runtime.stage not in ("PAUSED", "STOPPED"):
        return False
    notes.asked_start = None
    return True


def _began(hub: Hub, handle: str, notes: Notes, now: float, created: float, *, free: bool) -> float:
    asked = notes.asked_start
    earliest = max(notes.ended or 0.0, created if asked is None else asked - _SLACK)
    if not free:
        last = logs.tail(hub, f"/api/spaces/{handle}/logs/build", 1)
        built = last[0].at if last else None
        if built is not None and earliest <= built <= now + _SLACK:
            return min(built, now)
        if asked is None:
            start = logs.first(hub, f"/api/spaces/{handle}/logs/run")
            if start and start.at is not None and earliest <= start.at <= now:
                return start.at
    return now if asked is None else min(asked, now)


def _ended(
    hub: Hub, handle: str, notes: Notes, runtime: Runtime, now: float, *, free: bool
) -> float:
    asked = None if notes.asked_stop is None else min(notes.asked_stop, now)
    if free or (asked is not None and now - asked <= _LATER):
        return now if asked is None else asked
    since, told = notes.since or 0.0, _told_end(hub, handle, runtime)
    if asked is not None:  # where it ran on, it was not that pause that ended it
        return told if told is not None and asked + _LATER < told <= now else asked
    return told if told is not None and since <= told <= now else now


def _told_end(hub: Hub, handle: str, runtime: Runtime) -> float | None:
    """When it stopped, as its logs tell; None when they do not."""
    if runtime.stage == "BUILDING":
        start = logs.first(hub, f"/api/spaces/{handle}/logs/build")
        return start.at if start else None
    last = logs.tail(hub, f"/api/spaces/{handle}/logs/run", 200)
    speaks = runtime.stage == "RUNTIME_ERROR" or any(
        line.text.startswith(_HEARTBEAT) for line in last
    )
    return last[-1].at if last and speaks else None
