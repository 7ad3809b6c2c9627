"""A box's watchdog is armed; one that died, or says nothing, is armed again by whatever verb meets
the box."""

from __future__ import annotations

from devbox import spec
from devbox.errors import DevboxError, NoAnswer, NotFound, SshError
from devbox.model import Box, BoxState
from devbox.remote.connection import Connection, connect
from devbox.telemetry import arming
from devbox.workspace import Workspace


def arm(ws: Workspace, box: Box, connection: Connection) -> None:
    """Have the box's watchdog follow its spec as it is now. SshError when it does not."""
    provider = ws.provider_of(box)
    kept = provider.pause_keeps(spec.decode_box(box.spec)).disk
    arming.arm(connection, box, provider.watchdog(box.handle), disk_kept=kept)


def ensure_watchdog(ws: Workspace, box: Box, connection: Connection) -> bool:
    """See that a watchdog follows the box's orders; where none does, arm one and say so. True
    when it had to be armed. SshError when that fails: the box runs unguarded then."""
    why = _missing(connection)
    if not why:
        return False
    arm(ws, box, connection)
    message = f"{why}; it was armed again, and its idle clock began again"
    ws.store.events.add(box.id, "armed", message, ws.clock())
    ws.narrate(f"{box.name}: {message}")
    return True


def see_to(ws: Workspace, box: Box, connection: Connection) -> bool:
    """`ensure_watchdog`, where the verb's own work does not depend on it: what stops it is
    narrated. NoAnswer still says that the box cannot be reached."""
    try:
        return ensure_watchdog(ws, box, connection)
    except NoAnswer:
        raise
    except DevboxError as error:
        ws.narrate(f"{box.name}: {'; '.join(filter(None, (error.what, error.means)))}")
        return False


def look(ws: Workspace, box: Box) -> bool:
    """`see_to` over a connection of its own, for a box that runs and has ssh. One that cannot be
    reached is narrated."""
    if box.state is not BoxState.RUNNING or not box.endpoint or spec.is_headless(box):
        return False
    try:
        with connect(box) as connection:
            return see_to(ws, box, connection)
    except DevboxError as error:
        ws.narrate(f"{box.name}: its watchdog could not be asked: {error.what}")
        return False


def _missing(connection: Connection) -> str:
    """Why the watchdog counts as missing; '' when it is at work."""
    try:
        silent = arming.verdict(connection).silent
    except NotFound:
        return "its watchdog did not run"
    except SshError:
        return "its watchdog could not be asked"
    return f"its watchdog had said nothing for {silent:.0f} s" if silent else ""
