"""Whether it makes sense to try a login, and what to type when it does not."""

from __future__ import annotations

from devbox.errors import Conflict, NotFound
from devbox.model import Box, BoxState
from devbox.remote import keys
from devbox.spec import is_headless


def check_running(box: Box) -> None:
    """Raise unless a login can work, as far as we last knew: NotFound for a box that is over,
    Conflict for one in another state, SshError without a key, each with the command to type."""
    state, name = box.state, box.name
    if state.is_over:
        raise NotFound(f"box {name} is {state}", fix=f"make it again with: devbox up {name}")
    if state is BoxState.RUNNING and box.endpoint:
        keys.require_identity(box)
        return
    if state is BoxState.RUNNING and is_headless(box):
        raise Conflict(
            f"box {name} is a command, and has no ssh",
            fix=f"read what it prints with: devbox logs --box {name} -f",
        )
    if state is BoxState.PAUSED:
        fix = f"bring it back with: devbox resume {name}"
    elif state is BoxState.FAILED:
        fix = f"see why with: devbox status {name}; end it with: devbox down {name}"
    else:
        fix = f"wait for it with: devbox status {name} --wait"
    stands = "has no ssh address yet" if state is BoxState.RUNNING else f"is {state}, not running"
    raise Conflict(f"box {name} {stands}", fix=fix)
