"""The first sync of a disk that has the project's code from its image already, as a Space has.

What lies there then is of the image: it gives way to what is here, also where its times are newer,
and what only it has is no work of the box's. Other contents are kept (`defaults.REPLACED`)."""

from __future__ import annotations

from devbox.ignore import rules
from devbox.model import Box
from devbox.providers import registry
from devbox.remote.agent_bootstrap import FOLDER
from devbox.remote.exec import Exec
from devbox.sync import remote
from devbox.sync.remote import Listing
from devbox.sync.target import Place

_SYNCED = f"{FOLDER}/synced.json"


def is_new(box: Box) -> bool:
    """Whether the image of the box put code into its work folder, and nothing was synced there yet,
    from whatever computer. SshError."""
    if not box.workdir or box.workdir != registry.code_folder(box.provider):
        return False
    return bool(Exec(box).run(["test", "-e", _SYNCED], check=False).code)


def look(box: Box, where: Place) -> Listing | None:
    """What is in the synced folder of a disk that `is_new`, else None. SshError, SyncError."""
    if not is_new(box):
        return None
    return remote.list_files(box, where.folder, rules.whole(where.sync))
