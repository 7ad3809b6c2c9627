"""What a box's folder says of it: files and locks → an Observation. Changes nothing."""

from __future__ import annotations

from typing import NamedTuple

from devbox.model import BoxState, Endpoint
from devbox.providers.base import Observation
from devbox.providers.local.box_dir import PAUSED, TERMINATED, BoxDir, Goal, Life
from devbox.text import clean

_STARTING = 20.0  # seconds a server may take until it listens


class Look(NamedTuple):
    """needs_end: server and guard were killed; nobody has ended its processes or the bill."""

    observation: Observation
    needs_end: bool = False


def at(folder: BoxDir, now: float) -> Look | None:
    """The box's state at `now` (unix seconds); None when its folder is gone."""
    alive = folder.alive()
    goal, settings = folder.goal(), folder.settings()
    life = folder.life(goal.life) if goal else None
    if not folder.path.is_dir():
        return None
    token = folder.path.name
    if settings is None or goal is None or goal.want == TERMINATED:
        seen = Observation(
            token,
            settings.name if settings else "",
            token,
            BoxState.STOPPING,
            stage="removing",
            billed=_is_open(life),
            billed_since=life.began if life else None,
            ended_at=life.ended if life else None,
        )
        return Look(seen)
    base = Observation(
        token, settings.name, token, BoxState.STARTING, "starting", hardware=settings.hardware
    )
    if life is None:
        return Look(_before(base, folder, goal, alive, now))
    if life.ended is not None and not alive:
        return Look(_ended(base, folder, life, goal))
    base = base._replace(billed=True, billed_since=life.began)
    server = folder.server()
    serving = goal.want != PAUSED and folder.holds("server.lock")
    listening = server is not None and server.life == goal.life and life.began is not None
    if not serving or server is None or not listening:
        coming = alive and goal.want != PAUSED and not listening and not folder.stop.exists()
        stopping = base._replace(state=BoxState.PAUSING, stage="stopping")
        return Look(base if coming else stopping, needs_end=not alive)
    return Look(
        base._replace(
            state=BoxState.RUNNING,
            stage="running",
            endpoint=Endpoint("127.0.0.1", server.port, host_keys=(settings.host_key,)),
            deadline=(life.began or now) + settings.uptime,
        )
    )


def _before(base: Observation, folder: BoxDir, goal: Goal, alive: bool, now: float) -> Observation:
    """A life that has not begun."""
    if alive or (goal.want != PAUSED and now - goal.at <= _STARTING):
        return base
    if goal.want == PAUSED:
        return base._replace(state=BoxState.PAUSED, stage="paused")
    return _failed(base, folder, "its server did not start")


def _is_open(life: Life | None) -> bool:
    return life is not None and life.began is not None and life.ended is None


def _ended(base: Observation, folder: BoxDir, life: Life, goal: Goal) -> Observation:
    if goal.want != PAUSED and (life.failed or life.began is None):
        return _failed(base, folder, life.reason)._replace(ended_at=life.ended)
    return base._replace(
        state=BoxState.PAUSED,
        stage="paused",
        message=clean(life.reason, 300),
        billed_since=life.began,
        ended_at=life.ended,
    )


def _failed(base: Observation, folder: BoxDir, reason: str) -> Observation:
    message = clean(f"{reason}\n{folder.log_tail()}".strip(), 1200)
    return base._replace(state=BoxState.FAILED, stage="failed", message=message)
