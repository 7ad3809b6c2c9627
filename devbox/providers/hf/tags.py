"""Our tag: variables of a Space, labels of a Job. Read back, it says which box this is."""

from __future__ import annotations

import os
import re
from typing import NamedTuple

TOKEN, NAME = "DEVBOX_TOKEN", "DEVBOX_NAME"
CEILING, ADOPTED = "DEVBOX_MAX_UPTIME", "DEVBOX_ADOPTED"
HARDWARE = "DEVBOX_HARDWARE"
SPACE = "DEVBOX_SPACE"
PAUSE_TOKEN = "DEVBOX_PAUSE_TOKEN"  # noqa: S105 - the name of a secret, not one
#: for the Space's own guard, images/files/serve.py: where to ask, and after how long unarmed
PAUSE_URL, UNARMED = "DEVBOX_PAUSE_URL", "DEVBOX_UNARMED"
ARMED = "/tmp/.devbox-armed"  # noqa: S108 - of the box
OURS = (TOKEN, NAME, CEILING, ADOPTED, HARDWARE, SPACE, PAUSE_URL, UNARMED)
L_TOKEN, L_NAME, L_CEILING = "devbox-token", "devbox-name", "devbox-max-uptime"
L_COMMAND = "devbox-command"
PREFIX = "devbox-"
#: of an emulated Space, which has no root folder of its own
_ELSEWHERE = "DEVBOX_SPACE_CODE"
_TOKEN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def code_folder() -> str:
    """Where a Space has its repository's files: what its app runs. Source: the Hub's documentation
    of Dev Mode."""
    return os.environ.get(_ELSEWHERE) or "/app"


class Tag(NamedTuple):
    """ceiling: max_uptime in seconds, 0 when unknown. adopted: made by someone else. hardware:
    what it is to run on, '' when unknown; it may not have got there yet."""

    token: str
    name: str
    ceiling: int = 0
    adopted: bool = False
    hardware: str = ""


def of_variables(said: object, handle: str, noted: str = "") -> Tag | None:
    """The tag among the variables of the Space `handle`, as `GET …/variables` gives them; None for
    none, and for one that names another repository: variables travel with a duplicate. noted: the
    token that this computer knows the Space by, for a tag of an older version that names none."""
    if not isinstance(said, dict):
        return None

    def value(key: str) -> str:
        entry = said.get(key)
        found = entry.get("value") if isinstance(entry, dict) else None
        return found if isinstance(found, str) else ""

    found = _tag(value(TOKEN), value(NAME), value(CEILING), adopted=value(ADOPTED) == "1")
    if found is None or not _names(value(SPACE), found, handle, noted):
        return None
    hardware = value(HARDWARE)
    known = re.fullmatch(r"[A-Za-z0-9._-]{1,63}", hardware)
    return found._replace(hardware=hardware) if known else found


def _names(space: str, tag: Tag, handle: str, noted: str) -> bool:
    """Whether a tag is this repository's own. space: what it says of that, '' for nothing."""
    if space:
        return space.casefold() == handle.casefold()
    if tag.adopted:
        return tag.token == noted
    return handle.partition("/")[2] == space_name(tag.name)


def of_labels(said: object) -> Tag | None:
    """The tag among a Job's labels; None for none."""
    labels = said if isinstance(said, dict) else {}
    token, name, ceiling = (labels.get(key) for key in (L_TOKEN, L_NAME, L_CEILING))
    return _tag(str(token or ""), str(name or ""), str(ceiling or ""), adopted=False)


def space_name(box: str) -> str:
    """The repository name of a box's Space. The Hub forbids '--', which a box name may hold."""
    return PREFIX + re.sub(r"(?<=-)-", ".-", box)


def _tag(token: str, name: str, ceiling: str, *, adopted: bool) -> Tag | None:
    if not _TOKEN.fullmatch(token):
        return None
    seconds = int(ceiling) if re.fullmatch(r"[0-9]{1,9}", ceiling) else 0
    shown = name if re.fullmatch(r"[a-z][a-z0-9-]{0,39}", name) else "unnamed"
    return Tag(token, shown, seconds, adopted)


def is_token(text: str) -> bool:
    """Whether it could be the token of a tag."""
    return bool(_TOKEN.fullmatch(text))
