"""up · pause · resume · down · reconcile: the only writer of box state.

Each verb journals a *goal* (running, paused, terminated) and then converges: it runs the steps
that lead there, each idempotent and journalled before it begins. A crash at any point leaves an
open goal, and running the same steps again, from `reconcile` or from the verb, finishes it.
"""

from devbox.lifecycle.asking import observe_now
from devbox.lifecycle.down import down, forget, warnings
from devbox.lifecycle.history import settle as account_unanswered
from devbox.lifecycle.losses import Losses
from devbox.lifecycle.modify import renew, require_can_resize, resize, restart
from devbox.lifecycle.observe import find_lost, refresh, why_silent
from devbox.lifecycle.pause import pause
from devbox.lifecycle.reconcile import reconcile, require_answered, resume_goal
from devbox.lifecycle.repair import repair
from devbox.lifecycle.saving import (
    Stop,
    before_stop,
    ends_disk,
    is_saved_before_pause,
    lost_by_pause,
    save_before_watchdog_pause,
    unsaved_data,
)
from devbox.lifecycle.untracked import Finding, providers_in_use, untracked
from devbox.lifecycle.up import resume, up
from devbox.lifecycle.watchdog import Guards, guards, guards_for, idle_status, keep, save_on_warning

__all__ = [
    "Finding",
    "Guards",
    "Losses",
    "Stop",
    "account_unanswered",
    "before_stop",
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
    "reconcile",
    "refresh",
    "renew",
    "repair",
    "require_answered",
    "require_can_resize",
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
