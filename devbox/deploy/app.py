"""The app of a Space in Dev Mode, restarted inside its container: edits made there stay."""

from __future__ import annotations

from devbox.box.app import NO_SUPERVISOR
from devbox.deploy.target import PROVIDER
from devbox.errors import Conflict, SshError
from devbox.model import Box
from devbox.providers.hf.repository import SpaceRepository
from devbox.remote import agent_bootstrap
from devbox.remote.exec import Exec
from devbox.workspace import Workspace


def restart(ws: Workspace, box: Box) -> None:
    """Restart the app over ssh. Conflict when nothing on the box can do that: then nothing was
    changed. The container and its disk stay either way."""
    done = agent_bootstrap.run(Exec(box), "app", "restart")
    if done.code == NO_SUPERVISOR:
        raise Conflict(
            f"{box.name}: its app was not started by devbox's supervisor, so devbox cannot restart "
            "it in place",
            means="nothing was changed; edits on it are as they were",
            fix=_fix(ws, box),
        )
    if done.code:
        raise SshError(
            f"{box.name}: its app could not be restarted: {agent_bootstrap.said(done)}",
            means="its container and the edits on it are as they were",
            fix=f"look at it with: devbox ssh {box.name}",
        )


def _fix(ws: Workspace, box: Box) -> str:
    own = f"restart your program yourself: devbox ssh {box.name}"
    if box.provider != PROVIDER or not box.handle:
        return own
    page = SpaceRepository(ws.settings_of(box), box.handle).page
    return (
        f"press Refresh in the Dev Mode window at {page}; or {own}; `devbox restart {box.name}` "
        "starts a new container, without the edits"
    )
