"""The [notify] table, with what its references name."""

from __future__ import annotations

import re

from devbox import secrets, spec
from devbox.box.address import is_readable
from devbox.errors import DevboxError, SpecError
from devbox.model import Box
from devbox.text import clean
from devbox.wire.notices import Notify, Webhook
from devbox.workspace import Workspace

_REFERENCE = re.compile(r"(env|file|keyring|hf):(?!//)")


def webhook(wanted: spec.Notify) -> Webhook | None:
    """Where notices are posted, and what signs them. AuthError for a reference to nothing;
    SpecError for one to another thing than an https address."""
    if not wanted.webhook:
        return None
    url = value(wanted.webhook)
    if not url.startswith(("https://", "http://")) or is_readable(url):
        raise SpecError(
            f"what notify.webhook names ({clean(wanted.webhook, 60)}) is not an https address",
            means="no notice was posted",
            fix="put the whole https:// address there, then: devbox notify test",
        )
    return Webhook(url, secrets.resolve(wanted.secret) if wanted.secret else "")


def value(written: str) -> str:
    """An address, or what a reference to one names. AuthError when that is nothing."""
    return secrets.resolve(written) if _REFERENCE.match(written) else written


def of_box(ws: Workspace, box: Box) -> Notify:
    """What a box is told to post by itself. A webhook that cannot be had is narrated: it is no
    reason to leave a box unguarded."""
    try:
        found = webhook(ws.spec.notify)
    except DevboxError as error:
        ws.narrate(f"{box.name} posts no notices: {error.what}")
        found = None
    return Notify(found, ws.spec.notify.events, box.id, box.project)
