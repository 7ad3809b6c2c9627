"""then.json: what this box does with itself once a run, and every other one here, has ended.

One order a box: a later one takes the place of the one before. It outlives logins, armings and
boots. A pause that was accepted ends it (devbox.box.watchdog.effects), and so does a new life of
the box: who starts one again means to use it.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NamedTuple, Optional

from devbox.box import event_log, json_file, paths, processes
from devbox.box.watchdog import config
from devbox.wire.codec import Time, Word
from devbox.wire.messages import End, WatchdogConfig

FILE = "then.json"
# Seconds by which a provider's time of a start may be late by the clock of the box.
_SKEW = 10.0


class Order(NamedTuple):
    """given: when, by the box's wall clock; mono: in that boot, by the one that never jumps."""

    do: End
    run: Word
    given: Time
    mono: float
    boot: Word


def give(do: End, run: str) -> Optional[Order]:
    """From now on this is the order; the one before. OSError when the disk does not take it."""
    now = config.moment()
    before = read(paths.root())
    order = Order(do, run, now.wall, now.mono, processes.boot_id())
    json_file.write(paths.root() / FILE, order, durable=True)
    event_log.append(paths.root(), "then", f"{do} ordered for when run {run} has ended")
    config.wake(paths.root())
    return before


def put_back(before: Optional[Order]) -> None:
    """Undo a `give` whose run did not start."""
    if before is None:
        (paths.root() / FILE).unlink(missing_ok=True)
    else:
        json_file.write(paths.root() / FILE, before, durable=True)


def take_back() -> Optional[Order]:
    """There is no order from now on; the one there was."""
    order = read(paths.root())
    if order is not None:
        (paths.root() / FILE).unlink(missing_ok=True)
        what = f"the {order.do} after run {order.run} was taken back"
        event_log.append(paths.root(), "then", what)
        config.wake(paths.root())
    return order


def read(root: Path) -> Optional[Order]:
    """The order in force."""
    return json_file.load(root / FILE, Order)


def end(root: Path) -> None:
    """It was carried out, or cannot be."""
    (root / FILE).unlink(missing_ok=True)


def forget_older(root: Path, given: WatchdogConfig) -> None:
    """Drop an order from before this life of the box, which orders that have just arrived tell."""
    order = read(root)
    if order is None or given.started is None or given.sent is None:
        return
    began = given.armed.wall - (given.sent - given.started)
    if order.given < began - _SKEW:
        end(root)
        what = f"the box was started again since, so that run {order.run} no longer stops it"
        try:
            event_log.append(root, "then", what)
        except OSError as error:
            print(f"{what}: {error}", file=sys.stderr, flush=True)
