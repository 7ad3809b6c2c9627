"""up · pause · resume · down · reconcile: the only writer of box state.

Each verb journals a *goal* (running, paused, terminated) and then converges: it runs the steps
that lead there, each idempotent and journalled before it begins. A crash at any point leaves an
open goal, and running the same steps again, from `reconcile` or from the verb, finishes it.
"""

from devbox.lifecycle.abandon import forget, warnings
from devbox.lifecycle.guards import Guards, guards, guards_for
from devbox.lifecycle.modify import renew, resize, restart
from devbox.lifecycle.observe import find_lost, refresh
from devbox.lifecycle.reconcile import (
    Finding,
    providers_in_use,
    reconcile,
    require_answered,
    untracked,
)
from devbox.lifecycle.repair import repair
from devbox.lifecycle.saving import (
    Losses,
    ends_disk,
    is_saved_before_pause,
    lost_by_pause,
    question,
    save_before_watchdog_pause,
    unsaved_data,
)
from devbox.lifecycle.silence import why_silent
from devbox.lifecycle.verbs import down, keep, observe_now, pause, resume, resume_goal, up
from devbox.lifecycle.watchdog_events import idle_status, save_on_warning

__all__ = [
    "Finding",
    "Guards",
    "Losses",
    "down",
    "ends_disk",
    "find_lost",
    "forget",
    "guards",
    "guards_for",
    "idle_status",
    "is_saved_before_pause",
    "keep",
    "lost_by_pause",
    "observe_now",
    "pause",
    "providers_in_use",
    "question",
    "reconcile",
    "refresh",
    "renew",
    "repair",
    "require_answered",
    "resize",
    "restart",
    "resume",
    "resume_goal",
    "save_before_watchdog_pause",
    "save_on_warning",
    "unsaved_data",
    "untracked",
    "up",
    "warnings",
    "why_silent",
]
