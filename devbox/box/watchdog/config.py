"""What `arm` was given, in force until the next (config.json), and what `keep` was (keep.json)."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import Mapping, Optional, Tuple

from devbox.box import json_file, processes
from devbox.box.address import is_readable
from devbox.box.files import volume_save
from devbox.box.watchdog import pause_recipe
from devbox.box.watchdog.deadline import Ceiling, Moment
from devbox.wire.codec import convert
from devbox.wire.messages import Arming, Hold, Identity, WatchdogConfig
from devbox.wire.notices import Webhook

FILE = "config.json"


def moment() -> Moment:
    """Now, by this box's clocks."""
    boottime = getattr(time, "CLOCK_BOOTTIME", None)
    mono = time.monotonic() if boottime is None else time.clock_gettime(boottime)
    return Moment(time.time(), mono)


def receive(root: Path, body: Mapping[str, object], now: Moment) -> WatchdogConfig:
    """Check a config that has just arrived and keep it. ValueError says what is wrong."""
    given = convert(body, WatchdogConfig)
    pause_recipe.check(given.pause)
    _check_webhook(given.notify.webhook)
    armed = Arming(os.urandom(8).hex(), now.wall, now.mono, processes.boot_id())
    given = given._replace(armed=armed)
    json_file.write(root / FILE, given)
    return given


def read(root: Path, now: Moment) -> Optional[WatchdogConfig]:
    """The config in force, None without any. On a machine that booted since, the deadline and the
    budget's end are taken from the wall clock once and counted from there."""
    seen = stamp(root)
    given = json_file.load(root / FILE, WatchdogConfig)
    if given is None or given.armed.boot == processes.boot_id():
        return given
    before = ceiling(given)
    left = before.anchored(now).left if before else None
    money = allowance(given)
    allowed = money.anchored(now).left if money else None
    armed = Arming(given.armed.id, now.wall, now.mono, processes.boot_id(), left, allowed)
    given = given._replace(armed=armed)
    try:
        if stamp(root) == seen:  # else a newer one came meanwhile, and is read next
            json_file.write(root / FILE, given)
    except OSError as error:  # a full disk must not keep the box unwatched
        print(f"{FILE}: {error}", file=sys.stderr, flush=True)
    return given


def stamp(root: Path) -> Tuple[int, int]:
    """Changes whenever another config is put there."""
    try:
        found = (root / FILE).stat()
    except FileNotFoundError:
        return (0, 1)
    return found.st_mtime_ns, found.st_ino


def ceiling(given: WatchdogConfig) -> Optional[Ceiling]:
    """max_uptime as this box counts it; None without one."""
    if given.deadline is None:
        return None
    armed, sent = given.armed, _sent(given)
    return Ceiling(
        deadline=given.deadline,
        left=given.deadline - sent if armed.left is None else armed.left,
        armed=Moment(armed.wall, armed.mono),
        span=max(1.0, given.deadline - (sent if given.started is None else given.started)),
        save=_saving(given),
    )


def allowance(given: WatchdogConfig) -> Optional[Ceiling]:
    """When the box has spent what it may; None without a budget. Whole billing units: one that
    begins after that would be paid for."""
    budget, armed, sent = given.budget, given.armed, _sent(given)
    if budget is None:
        return None
    unit = budget.unit or 1
    seconds = float(budget.micro * 3600 // (budget.price * unit) * unit)
    return Ceiling(
        deadline=sent + seconds,
        left=seconds if armed.allowed is None else armed.allowed,
        armed=Moment(armed.wall, armed.mono),
        span=max(1.0, seconds),
        save=_saving(given),
        name=budget.name,
    )


def end(given: WatchdogConfig, now: Moment) -> Optional[Ceiling]:
    """Which of max_uptime and the budget comes first; None without either."""
    both = [each for each in (ceiling(given), allowance(given)) if each]
    return min(both, key=lambda each: each.over(now), default=None)


def _sent(given: WatchdogConfig) -> float:
    return given.armed.wall if given.sent is None else given.sent


def _saving(given: WatchdogConfig) -> float:
    """Seconds the save hooks may take."""
    copying = volume_save.SECONDS if given.volumes and not given.disk_kept else 0.0
    return copying + (given.policy.save_timeout if given.policy.save_command else 0.0)


def _check_webhook(webhook: Optional[Webhook]) -> None:
    """ValueError: notices, which name boxes and runs, would be readable on the way."""
    if webhook is not None and (
        not webhook.url.startswith(("https://", "http://")) or is_readable(webhook.url)
    ):
        raise ValueError("notify.webhook is not an https address")


def wake(root: Path) -> None:
    """Have a running agent look at once."""
    agent = json_file.load(root / "agent.json", Identity)
    if agent and processes.is_alive(agent):
        processes.send([agent.pid], signal.SIGHUP)


def own_traffic(root: Path, until: float) -> None:
    """Until then (wall) ssh traffic is a computer's that works for the user, and no use."""
    json_file.write(root / "syncing.json", {"until": until})


def hold(root: Path, now: Moment) -> Optional[float]:
    """The moment (mono) before which `devbox keep` allows no idle pause."""
    kept = json_file.load(root / "keep.json", Hold)
    if kept is None:
        return None
    is_counted = kept.boot == processes.boot_id()
    return kept.mono if is_counted else now.mono + kept.until - now.wall


def set_hold(root: Path, until: float, now: Moment) -> None:
    """Keep until that moment (mono)."""
    wall = now.wall + until - now.mono
    json_file.write(root / "keep.json", Hold(wall, until, processes.boot_id()))
