"""up · pause · resume · down · reconcile: the only writer of box state.

Each verb journals a *goal* (running, paused, terminated) and then converges: it runs the steps
that lead there, each idempotent and journalled before it begins. A crash at any point leaves an
open goal, and running the same steps again, from `reconcile` or from the verb, finishes it.
"""

from devbox.lifecycle.absorb import find_lost, refresh
from devbox.lifecycle.changes import change_hardware, restart, succeed
from devbox.lifecycle.forgetting import forget, warnings
from devbox.lifecycle.guards import Guards, guards, guards_for
from devbox.lifecycle.happenings import stand_by, verdict
from devbox.lifecycle.reconcile import Finding, places, reconcile, require_answered, strangers
from devbox.lifecycle.repair import repair
from devbox.lifecycle.saving import Losses, ends_disk, losses, lost_by_pause, question, rescue
from devbox.lifecycle.silence import why_silent
from devbox.lifecycle.verbs import down, keep, looked, pause, resume, settle, up

__all__ = [
    "Finding",
    "Guards",
    "Losses",
    "change_hardware",
    "down",
    "ends_disk",
    "find_lost",
    "forget",
    "guards",
    "guards_for",
    "keep",
    "looked",
    "losses",
    "lost_by_pause",
    "pause",
    "places",
    "question",
    "reconcile",
    "refresh",
    "repair",
    "require_answered",
    "rescue",
    "restart",
    "resume",
    "settle",
    "stand_by",
    "strangers",
    "succeed",
    "up",
    "verdict",
    "warnings",
    "why_silent",
]
