"""An image to a registry, with its progress."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, TypedDict

from devbox.errors import AuthError, NotFound, ProviderError, UsageError
from devbox.text import clean, size

if TYPE_CHECKING:
    from docker import APIClient

_TARGET = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9._/:-]{0,254}")
_DENIED = re.compile(r"denied|unauthorized|authentication required|no basic auth", re.IGNORECASE)


def push(
    api: APIClient,
    reference: str,
    target: str,
    *,
    say: Callable[[str], None] = lambda _: None,
) -> str:
    """Push an image of the engine as `target`, REGISTRY/REPOSITORY[:TAG] (default tag: its content
    hash); returns its digest. Layers that the registry has are not sent again.

    NotFound when the engine has no such image, AuthError when the registry wants a login.
    """
    repository, tag = split(target)
    tag = tag or split(reference)[1] or "latest"
    from docker.errors import ImageNotFound

    try:
        api.tag(reference, repository, tag)
    except ImageNotFound as error:
        raise NotFound(
            f"the engine has no image {clean(reference, 100)}",
            means="nothing was pushed; another file or --arg makes another image",
            fix="build it as it is now, with the same --arg and --without: devbox image build",
        ) from error
    digest = ""
    for message in api.push(repository, tag, stream=True, decode=True):
        _told(message, repository, say)
        digest = (message.get("aux") or {}).get("Digest", digest)
    return f"{repository}@{digest}" if digest else f"{repository}:{tag}"


def split(reference: str) -> tuple[str, str]:
    """(repository, tag) of a reference; a port is no tag. UsageError when it is none."""
    if not _TARGET.fullmatch(reference) or "//" in reference:
        raise UsageError(
            f"{clean(reference, 80)!r} is no image reference",
            fix="write REGISTRY/REPOSITORY:TAG, such as registry.example/me/work:1",
        )
    head, colon, tail = reference.rpartition(":")
    if not colon or "/" in tail:
        return reference, ""
    return head, tail


class _Progress(TypedDict, total=False):
    current: int
    total: int


class _Message(TypedDict, total=False):
    """Of the engine, while it pushes."""

    id: str
    status: str
    error: str
    progressDetail: _Progress | None


def _told(message: _Message, repository: str, say: Callable[[str], None]) -> None:
    if said := message.get("error"):
        text = clean(str(said), 300)
        if _DENIED.search(text):
            first = repository.partition("/")[0]
            registry = first if "." in first or ":" in first else ""
            raise AuthError(
                f"{repository} was refused: {text}", fix=f"docker login {registry}".strip()
            )
        raise ProviderError(f"{repository} was not pushed: {text}")
    status = str(message.get("status", ""))
    detail = message.get("progressDetail") or {}
    if status == "Pushing" and detail.get("total"):
        done, total = int(detail.get("current", 0)), int(detail["total"])
        say(clean(f"{message.get('id', '')} {size(done)} of {size(total)}", 200))
    elif status and status not in ("Preparing", "Waiting"):
        say(clean(f"{message.get('id', '')} {status}".strip(), 200))
