"""A box's watchdog is armed; one that died, or says nothing, is armed again by whatever verb meets
the box."""

from __future__ import annotations

from typing import Literal

from devbox import spec
from devbox.errors import DevboxError, HostKeyRefused, KeyRefused, NoAnswer, NotFound, SshError
from devbox.model import Box, BoxState
from devbox.money import limits
from devbox.notify import settings
from devbox.remote import agent
from devbox.remote.agent_bootstrap import Runs
from devbox.remote.exec import Exec
from devbox.telemetry import arming
from devbox.workspace import Workspace


def arm(ws: Workspace, box: Box, line: Runs, *, until: float | None = None) -> None:
    """Have the box's watchdog follow its spec as it is now. until: when its budgets end it, as was
    decided with the boxes that share them. SshError when it does not."""
    provider = ws.provider_of(box)
    kept = provider.pause_keeps(spec.decode_box(box.spec)).disk
    recipe = provider.watchdog(box.handle)
    notify = settings.of_box(ws, box)
    budget, until = limits.allowance(ws, box, until)
    given = arming.config(box, recipe, ws.clock(), disk_kept=kept, notify=notify, budget=budget)
    armed, known = ws.store.budgets.armed(), ws.store.budgets
    if until is None and not armed.get(box.id):
        agent.arm(line, given)
        return
    # Others may count on what is on record: at no moment is it less than what was armed.
    before = armed.get(box.id)
    if before is not None and (until is None or until > before):
        known.set_armed(box.id, until)
    agent.arm(line, given)
    known.set_armed(box.id, until)


def ensure_watchdog(ws: Workspace, box: Box, line: Runs) -> bool:
    """See that a watchdog follows the box's orders; where none does, arm one and say so. True
    when it had to be armed. SshError when that fails: the box runs unguarded then. NoAnswer,
    KeyRefused, HostKeyRefused: nobody could ask, and nothing was changed."""
    why = _missing(line)
    if not why:
        return False
    arm(ws, box, line)
    message = f"{why}; it was armed again, and its idle clock began again"
    ws.store.events.add(box.id, "armed", message, ws.clock())
    ws.narrate(f"{box.name}: {message}")
    return True


def see_to(ws: Workspace, box: Box, line: Runs) -> bool:
    """`ensure_watchdog`, where the verb's own work does not depend on it: what stops it is
    narrated. NoAnswer still says that the box cannot be reached."""
    try:
        return ensure_watchdog(ws, box, line)
    except NoAnswer:
        raise
    except DevboxError as error:
        ws.narrate(f"{box.name}: {'; '.join(filter(None, (error.what, error.means)))}")
        return False


def look(ws: Workspace, box: Box) -> Literal["", "armed", "silent"]:
    """`see_to` for a box that runs and has ssh. silent: it could not be asked, or armed again; why
    is narrated."""
    if box.state is not BoxState.RUNNING or not box.endpoint or spec.is_headless(box):
        return ""
    try:
        return "armed" if ensure_watchdog(ws, box, Exec(box)) else ""
    except NoAnswer as error:
        ws.narrate(f"{box.name}: its watchdog could not be asked: {error.what}")
    except DevboxError as error:
        ws.narrate(f"{box.name}: {'; '.join(filter(None, (error.what, error.means)))}")
    return "silent"


def _missing(line: Runs) -> str:
    """Why the watchdog counts as missing; '' when it is at work."""
    try:
        silent = agent.verdict(line).silent
    except NotFound:
        return "its watchdog did not run"
    except (NoAnswer, KeyRefused, HostKeyRefused):
        raise
    except SshError:
        return "its watchdog could not be asked"
    return f"its watchdog had said nothing for {silent:.0f} s" if silent else ""
