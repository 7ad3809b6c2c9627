"""The verbs of a box that ask its watchdog: `keep` and `verdict`."""

from __future__ import annotations

import argparse
import sys
import time
from typing import List

from devbox.box import event_log, json_file, paths, processes
from devbox.box.files import unsynced
from devbox.box.format import brief
from devbox.box.watchdog import config
from devbox.wire.codec import encode
from devbox.wire.messages import Identity, Kept, Verdict

_GLANCE = 1.0  # seconds to look what is unsynced
_STALE = 60.0  # seconds without a new verdict after which the watchdog does not run properly


def keep(args: List[str]) -> int:
    """`keep --until UNIX --now UNIX`: no idle pause before then. Both are by the caller's clock.

    Prints a `Kept` by the same clock. Neither max_uptime nor a budget moves: a time past it is
    cut to it, and `capped` says so. A keep never shortens one that is in force; a time that is not
    in the future ends it. Exit code 3: this box was never armed.

    `keep --syncing SECONDS`: ssh traffic of so long belongs to the pause that is coming (the laptop
    fetches what would be lost), so it does not count as use; 0 ends that.
    """
    options = _parser().parse_args(args)
    root, now = paths.root(), config.moment()
    if options.syncing is not None:
        config.own_traffic(root, now.wall + options.syncing)
        sys.stdout.buffer.write(encode(Kept(now.wall + options.syncing)))
        return 0
    given = config.read(root, now)
    if given is None:
        print("this box was never armed", file=sys.stderr)
        return 3
    wanted = options.until - options.now
    if wanted <= 0:
        (root / "keep.json").unlink(missing_ok=True)
        granted, capped = 0.0, False
        message = "kept no longer"
    else:
        before = config.hold(root, now)
        granted = max(wanted, (before or 0.0) - now.mono)
        ceiling = config.end(given, now)
        left = ceiling.due(now) + ceiling.lead - now.mono if ceiling else granted
        capped = granted > left
        granted = max(0.0, min(granted, left))
        config.set_hold(root, now.mono + granted, now)
        until = f", until {ceiling.name} ends it" if ceiling and capped else ""
        message = f"kept for {brief(granted)}{until}"
    event_log.append(root, "keep", message)
    config.wake(root)
    sys.stdout.buffer.write(encode(Kept(options.now + granted, capped)))
    return 0


def verdict(args: List[str]) -> int:
    """`verdict`: the watchdog's present `Verdict` on stdout, its times by this box's clock.

    `verdict unsynced` counts what is only here as well. Exit code 3: no watchdog runs on this box.
    """
    root, now = paths.root(), time.time()
    if not processes.is_alive(json_file.load(root / "agent.json", Identity)):
        print("no watchdog runs on this box", file=sys.stderr)
        return 3
    given = config.read(root, config.moment())
    found = json_file.load(root / "verdict.json", Verdict)
    if found is None:
        deadline = given.deadline if given else None
        started = ("the watchdog has just started",)
        found = Verdict("active", 0.0, None, started, deadline=deadline, now=now)
    age = now - (found.now or now)
    if age > _STALE:
        reasons = (f"the watchdog has said nothing for {age:.0f} s", *found.reasons)
        found = found._replace(silent=age, reasons=reasons)
    if given and "unsynced" in args:
        folder = unsynced.workdir(given.workdir)
        found = found._replace(unsynced=unsynced.summary(root, folder, seconds=_GLANCE))
    sys.stdout.buffer.write(encode(found._replace(now=now)))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="devbox-box keep")
    parser.add_argument("--until", type=_time, default=0.0)
    parser.add_argument("--now", type=_time, default=0.0)
    parser.add_argument("--syncing", type=_time)
    return parser


def _time(text: str) -> float:
    found = json_file.number(float(text))
    if found is None:
        raise ValueError(text)
    return found
