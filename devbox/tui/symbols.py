"""States as shape, word and style: the shape and the word say it without the colour. Pure."""

from __future__ import annotations

from devbox.model import BoxState, RunState

BOX = {
    BoxState.PROVISIONING: ("◌", "busy"),
    BoxState.BUILDING: ("◔", "busy"),
    BoxState.STARTING: ("◑", "busy"),
    BoxState.RUNNING: ("●", "good"),
    BoxState.PAUSING: ("◒", "busy"),
    BoxState.PAUSED: ("○", "info"),
    BoxState.STOPPING: ("▽", "busy"),
    BoxState.TERMINATED: ("□", "dim"),
    BoxState.FAILED: ("✖", "bad bold"),
    BoxState.LOST: ("?", "bad bold"),
}

RUN = {
    RunState.QUEUED: ("◌", "busy"),
    RunState.RUNNING: ("▶", "good"),
    RunState.SUCCEEDED: ("✔", "good"),
    RunState.FAILED: ("✖", "bad bold"),
    RunState.CANCELLED: ("■", "dim"),
    RunState.UNKNOWN: ("?", "warn"),
}

LEVEL = {
    "ok": ("✔", "good"),
    "warn": ("▲", "warn"),
    "fail": ("✖", "bad bold"),
    "unknown": ("?", "dim"),
}

# The steps of each goal in `devbox.lifecycle`, by their place, for "3/5".
STEPS = {
    "running": {
        "create": 1,
        "resume": 1,
        "observe": 2,
        "ssh": 3,
        "login": 4,
        "arm": 5,
    },
    "paused": {"pause": 1, "confirm": 2, "forget": 3},
    "terminated": {"seek": 1, "terminate": 1, "twins": 2, "confirm": 2, "forget": 3},
}


def progress(goal: str, step: str) -> str:
    """'3/5' for a step of a goal; '' for one that has no place."""
    places = STEPS.get(goal, {})
    return f"{places[step]}/{max(places.values())}" if step in places else ""
