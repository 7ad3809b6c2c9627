"""What the person's machine told this box when it armed it: config.json, and keep.json.

    {"v": 1, "box", "token", "policy": {...}, "deadline": unix|null, "started": unix,
     "sent": unix, "pause": recipe|null, "workdir", "disk_kept": bool, "volumes": [mount]}

`deadline`, `started` and `sent` are by the sender's clock. The box adds "armed": its own clocks
and boot when that arrived, so that neither a wrong nor a changed clock moves the deadline.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any, Dict, NamedTuple, Optional, Tuple

from devbox.box import json_file, processes
from devbox.box.files import volume_save
from devbox.box.watchdog import pause_recipe
from devbox.box.watchdog.deadline import Ceiling, Moment
from devbox.box.watchdog.policy import Policy
from devbox.wire.codec import clean

FILE = "config.json"


class Orders(NamedTuple):
    """id: names one arming. ceiling None: no max_uptime. pause None: it cannot pause itself.
    disk_kept: the files of this box's own disk outlive a pause. volumes: where those are mounted
    that may be written to."""

    id: str
    box: str
    policy: Policy
    ceiling: Optional[Ceiling]
    pause: Optional[Dict[str, Any]]
    workdir: str
    disk_kept: bool = True
    volumes: Tuple[str, ...] = ()


def moment() -> Moment:
    """Now, by this box's clocks."""
    boottime = getattr(time, "CLOCK_BOOTTIME", None)
    mono = time.monotonic() if boottime is None else time.clock_gettime(boottime)
    return Moment(time.time(), mono)


def receive(root: Path, document: Dict[str, Any], now: Moment) -> Orders:
    """Check orders that have just arrived and keep them. ValueError says what is wrong."""
    armed = {"wall": now.wall, "mono": now.mono, "boot": processes.boot_id()}
    document = {**document, "armed": {**armed, "id": os.urandom(8).hex()}}
    orders = _parse(document)
    json_file.write(root / FILE, document)
    return orders


def read(root: Path, now: Moment) -> Optional[Orders]:
    """The orders in force, None without any. On a machine that booted since, the deadline is
    taken from the wall clock once and counted from there."""
    document = json_file.read(root / FILE)
    if document is None:
        return None
    try:
        orders = _parse(document)
    except ValueError:
        return None
    if document["armed"].get("boot") == processes.boot_id():
        return orders
    ceiling = orders.ceiling.anchored(now) if orders.ceiling else None
    left = ceiling.left if ceiling else None
    again = {"wall": now.wall, "mono": now.mono, "boot": processes.boot_id(), "left": left}
    try:
        json_file.write(root / FILE, {**document, "armed": {**document["armed"], **again}})
    except OSError as error:  # a full disk must not keep the box unwatched
        print(f"{FILE}: {error}", file=sys.stderr, flush=True)
    return orders._replace(ceiling=ceiling)


def hold(root: Path, now: Moment) -> Optional[float]:
    """The moment (mono) before which `devbox keep` allows no idle pause."""
    kept = json_file.read(root / "keep.json") or {}
    until, mono = json_file.number(kept.get("until")), json_file.number(kept.get("mono"))
    if mono is not None and kept.get("boot") == processes.boot_id():
        return mono
    return None if until is None else now.mono + until - now.wall


def set_hold(root: Path, until: float, now: Moment) -> None:
    """Keep until that moment (mono)."""
    wall = now.wall + until - now.mono
    note = {"until": wall, "mono": until, "boot": processes.boot_id()}
    json_file.write(root / "keep.json", note)


def _parse(document: Dict[str, Any]) -> Orders:
    armed = document.get("armed")
    if document.get("v") != 1 or not isinstance(armed, dict):
        raise ValueError("these are not orders of a version this box understands")
    policy, workdir = document.get("policy"), document.get("workdir", "work")
    if not isinstance(policy, dict) or not isinstance(workdir, str) or "\0" in workdir:
        raise ValueError("policy or workdir is not what it should be")
    rules = Policy.read(policy)
    mounts = document.get("volumes") or []
    if not isinstance(mounts, list) or not all(isinstance(m, str) and m for m in mounts):
        raise ValueError("volumes are not a list of mounts")
    return Orders(
        id=str(armed.get("id")),
        box=clean(str(document.get("box", "")), 60),
        policy=rules,
        ceiling=_ceiling(document, armed, rules),
        pause=pause_recipe.check(document.get("pause")),
        workdir=workdir,
        disk_kept=document.get("disk_kept") is not False,
        volumes=tuple(mounts),
    )


def _ceiling(document: Dict[str, Any], armed: Dict[str, Any], rules: Policy) -> Optional[Ceiling]:
    if document.get("deadline") is None:
        return None
    deadline = json_file.number(document["deadline"])
    wall, mono = json_file.number(armed.get("wall")), json_file.number(armed.get("mono"))
    if deadline is None or wall is None or mono is None:
        raise ValueError("deadline is not a time")
    sent = json_file.number(document.get("sent"))
    sent = wall if sent is None else sent
    started = json_file.number(document.get("started"))
    left = armed.get("left")
    copies = bool(document.get("volumes")) and document.get("disk_kept") is False
    copying = volume_save.SECONDS if copies else 0.0
    return Ceiling(
        deadline=deadline,
        left=left if isinstance(left, (int, float)) else deadline - sent,
        armed=Moment(wall, mono),
        span=max(1.0, deadline - (sent if started is None else started)),
        save=copying + (rules.save_timeout if rules.save_command else 0.0),
    )
