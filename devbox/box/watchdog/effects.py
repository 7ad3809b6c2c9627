"""What the ladder really does on a box: events, lines on terminals, the save command, the pause."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Callable, Tuple

from devbox.box import event_log, run_command
from devbox.box.files import unsynced, volume_save
from devbox.box.files.losses import Losses
from devbox.box.notices import about, courier, outbox
from devbox.box.probes.terminals import Terminals
from devbox.box.runs import then
from devbox.box.watchdog import config, pause_recipe
from devbox.box.watchdog.escalation import Report
from devbox.box.with_timeout import within
from devbox.wire.messages import WatchdogConfig

_GLANCE = 3.0  # seconds that a warning may take to look what is unsynced
_LOOK = 25.0  # seconds that the save may take for that, where the disk is kept
_LEAST = 10.0  # seconds of copying, however near the end is
_KILLED = 15.0  # seconds that killing the save command may take


class BoxEffects:
    """spoke: called whenever a line went to the terminals."""

    def __init__(
        self, root: Path, given: WatchdogConfig, ttys: Terminals, spoke: Callable[[], None]
    ) -> None:
        self._root, self._orders, self._ttys, self._spoke = root, given, ttys, spoke

    def event(self, kind: str, message: str) -> None:
        """A disk that is full must not stop the ladder: the log tells it then."""
        try:
            event = event_log.append(self._root, kind, message)
            notify = self._orders.notify
            outbox.put(self._root, notify, about.event(event, self._orders.box, notify))
        except OSError as error:
            print(f"event {kind} not written: {error}: {message}", file=sys.stderr, flush=True)

    def say(self, message: str) -> None:
        if self._ttys.say(message):
            self._spoke()

    def at_risk(self) -> str:
        if self._orders.disk_kept:
            return ""
        found = self._losses()
        within(_GLANCE + 1, lambda: sum(1 for _ in found.look(_GLANCE)))
        if found.none:
            return ""
        end = "are copied to a volume first" if self._orders.volumes else "WILL BE LOST"
        where = found.where(self._orders.workdir)
        return f"{found.sentence()} in {where} {end}: the pause keeps no disk"

    def save(self) -> Report:
        """The save command in the workdir, then what is only here, which is copied into volumes
        where this box's disk is not kept. It ends in time although a volume hangs."""
        ok, detail = self._command()
        if self._orders.disk_kept:
            folder = unsynced.workdir(self._orders.workdir)
            found = within(_LOOK, lambda: unsynced.summary(self._root, folder))
            return Report(ok, detail, found or "")
        volumes, box = self._orders.volumes, self._orders.box
        saved = volume_save.save(self._losses(), volumes, box, seconds=self._copying())
        lost = bool(saved.left) or not saved.found.complete
        return Report(ok and saved.ok, detail, saved.sentence(), lost)

    def pause(self) -> Report:
        if self._orders.pause is None:
            return Report(False, "this box cannot pause itself")
        courier.post_now(self._root, time.time())  # what says so must leave before the box stops
        outcome = pause_recipe.attempt(self._orders.pause, os.environ)
        if outcome.ok:  # at once: from now on this box may stop at any time
            self.dismiss()
        return Report(outcome.ok, outcome.detail)

    def dismiss(self) -> None:
        then.end(self._root)

    def _losses(self) -> Losses:
        folder = unsynced.workdir(self._orders.workdir)
        return Losses(self._root, folder, self._orders.volumes)

    def _copying(self) -> float:
        """Seconds that the copying may take: less where max_uptime or the budget's end is near."""
        now = config.moment()
        ceiling = config.end(self._orders, now)
        if ceiling is None:
            return volume_save.COPYING
        left = ceiling.over(now) - now.mono - ceiling.asking - volume_save.GRACE
        return min(volume_save.COPYING, max(_LEAST, left))

    def _command(self) -> Tuple[bool, str]:
        """Whether the save command ended well, and what to say of its end."""
        policy, folder = self._orders.policy, unsynced.workdir(self._orders.workdir)
        if not policy.save_command:
            return True, "no save command"
        done = within(
            policy.save_timeout + _KILLED,
            lambda: run_command.run(
                policy.save_command,
                timeout=policy.save_timeout,
                cwd=folder if folder.is_dir() else None,
            ),
        )
        if done is None:
            return False, "the save command did not end and could not be killed"
        if done.code is None:
            return False, f"the save command was killed after {policy.save_timeout:.0f} s"
        if not done.ok:
            tail = done.tail.strip()[-200:]
            return False, f"the save command ended with code {done.code}: {tail}"
        return True, "the save command ended well"
