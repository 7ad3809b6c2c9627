"""The HTTP call that pauses this box. Its imports are heavy: it is loaded for a pause only."""

from __future__ import annotations

import http.client
import json
import os
import urllib.error
import urllib.request
from typing import Any, List, Mapping

from devbox.box.address import is_loopback
from devbox.box.watchdog.pause_recipe import Outcome
from devbox.wire.codec import clean
from devbox.wire.messages import PauseRecipe


def call(recipe: PauseRecipe, environ: Mapping[str, str], timeout: float) -> Outcome:
    """One request, as a checked recipe says. It never raises for what the network does."""
    name = recipe.token_env
    token = _token(name, environ) if name else ""
    if name and not token:
        return Outcome(False, f"the box has no {name} in its environment to pause itself with")
    body = recipe.body
    request = urllib.request.Request(  # noqa: S310 - the scheme was checked when it was received
        recipe.url,
        data=None if body is None else json.dumps(body).encode(),
        method=recipe.method,
        headers={"Content-Type": "application/json", "User-Agent": "devbox"},
    )
    if token:
        request.add_unredirected_header("Authorization", f"Bearer {token}")
    handlers: List[urllib.request.BaseHandler] = [_NoRedirect()]
    if is_loopback(recipe.url):
        handlers.append(urllib.request.ProxyHandler({}))
    try:
        with urllib.request.build_opener(*handlers).open(request, timeout=timeout) as reply:
            return Outcome(200 <= reply.status < 300, f"HTTP {reply.status}")
    except urllib.error.HTTPError as error:
        with error:
            text = error.read(500).decode(errors="replace")
        return Outcome(False, _without(f"HTTP {error.code}: {text}", token))
    except (OSError, ValueError, http.client.HTTPException) as error:
        return Outcome(False, _without(f"{type(error).__name__}: {error}", token))


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect becomes its own HTTP error."""

    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        return None


def _token(name: str, environ: Mapping[str, str]) -> str:
    """From our environment, else from that of the box's first process: a login session often
    lacks what the container was given."""
    if environ.get(name):
        return environ[name]
    try:
        with open("/proc/1/environ", "rb") as stream:
            entries = stream.read().split(b"\0")
    except OSError:
        return ""
    prefix = name.encode() + b"="
    found = (entry[len(prefix) :] for entry in entries if entry.startswith(prefix))
    return os.fsdecode(next(found, b""))


def _without(text: str, token: str) -> str:
    return clean(text.replace(token, "…") if token else text, 300)
