"""The HTTP call that pauses this box. Its imports are heavy: it is loaded for a pause only."""

from __future__ import annotations

import json
import os
from typing import Mapping

from devbox.box import http_request
from devbox.box.watchdog.pause_recipe import Outcome
from devbox.wire.codec import clean
from devbox.wire.messages import PauseRecipe


def call(recipe: PauseRecipe, environ: Mapping[str, str], timeout: float) -> Outcome:
    """One request, as a checked recipe says. It never raises for what the network does."""
    name = recipe.token_env
    token = _token(name, environ) if name else ""
    if name and not token:
        return Outcome(False, f"the box has no {name} in its environment to pause itself with")
    reply = http_request.send(
        recipe.url,
        method=recipe.method,
        body=None if recipe.body is None else json.dumps(recipe.body).encode(),
        headers={"Content-Type": "application/json", "User-Agent": "devbox"},
        secrets={"Authorization": f"Bearer {token}"} if token else {},
        timeout=timeout,
    )
    if reply.ok:
        return Outcome(True, f"HTTP {reply.status}")
    text = f"HTTP {reply.status}: {reply.text}" if reply.status else reply.text
    return Outcome(False, _without(text, token))


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
