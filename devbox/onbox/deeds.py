"""What the ladder really does on a box: events, lines on terminals, the save command, the pause."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Callable

from devbox.onbox import hooks, journal, pausing, unsynced, volume_save
from devbox.onbox.orders import Orders
from devbox.onbox.terminals import Terminals
from devbox.onbox.watchdog import Report

_GLANCE = 3.0  # seconds that a warning may take to look what is unsynced


class Deeds:
    """spoke: called whenever a line went to the terminals."""

    def __init__(
        self, root: Path, given: Orders, ttys: Terminals, spoke: Callable[[], None]
    ) -> None:
        self._root, self._orders, self._ttys, self._spoke = root, given, ttys, spoke

    def event(self, kind: str, message: str) -> None:
        """A disk that is full must not stop the ladder: the log tells it then."""
        try:
            journal.append(self._root, kind, message)
        except OSError as error:
            print(f"event {kind} not written: {error}: {message}", file=sys.stderr, flush=True)

    def say(self, message: str) -> None:
        if self._ttys.say(message):
            self._spoke()

    def at_risk(self) -> str:
        if self._orders.disk_kept:
            return ""
        found = unsynced.find(self._root, unsynced.workdir(self._orders.workdir), seconds=_GLANCE)
        if not found.files:
            return ""
        end = "are copied to a volume first" if self._orders.volumes else "WILL BE LOST"
        return f"{found.sentence()} in {self._orders.workdir} {end}: the pause keeps no disk"

    def save(self) -> Report:
        """The save command in the workdir, then what is only here, which is copied into a volume
        where this box's disk is not kept."""
        folder = unsynced.workdir(self._orders.workdir)
        policy = self._orders.policy
        ok, detail = True, "no save command"
        if policy.save_command:
            done = hooks.run(
                policy.save_command,
                timeout=policy.save_timeout,
                cwd=folder if folder.is_dir() else None,
            )
            ok, detail = done.ok, "the save command ended well"
            if done.code is None:
                detail = f"the save command was killed after {policy.save_timeout:.0f} s"
            elif not ok:
                detail = f"the save command ended with code {done.code}: {done.tail.strip()[-200:]}"
        losses = unsynced.find(self._root, folder).sentence()
        if not self._orders.disk_kept:
            saved = volume_save.save(self._root, folder, self._orders.volumes, self._orders.box)
            losses += f", {saved.sentence()}" if saved else ", which this pause does not keep"
        return Report(ok, detail, losses)

    def pause(self) -> Report:
        if self._orders.pause is None:
            return Report(False, "this box cannot pause itself")
        outcome = pausing.attempt(self._orders.pause, os.environ)
        return Report(outcome.ok, outcome.detail)
