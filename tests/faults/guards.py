"""The trial "watchdog killed": `kill -9` of a box's agent, and then a user's reconcile."""

from __future__ import annotations

from tests.faults.campaign import Campaign, Trial
from tests.faults.points import Point

KILLED = Point("reconcile", "watchdog", 1, "killed")


def watchdog_killed(each: Campaign) -> Trial:
    """One box, from up to down. A reconcile finds the box guarded: by a watchdog that the box
    started again by itself, or that reconcile armed and told of."""
    each.devbox.result("up")
    killed = each.devbox.result("kill watchdog")
    findings = each._reconcile()
    wrong = [f"reconcile ends with {f}" for f in findings if f["kind"] not in ("armed", "changed")]
    try:
        if each.devbox.result("watchdog") == killed:
            wrong.append(f"the watchdog that was killed, {killed}, still answers")
    except RuntimeError as error:
        wrong.append(f"nobody guards the box: {error}")
    seen = each.devbox.result("look")
    if seen["box"] != "running" or not seen["bills"]:
        wrong.append(f"the box is {seen}")
    each.devbox.result("down")
    return Trial(each.world.name, KILLED, True, tuple(wrong), None)
