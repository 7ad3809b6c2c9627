"""How the box asks its own provider to pause it: by the recipe that came with `arm`.

The token is read from the environment when it is needed and appears nowhere else: not in an
event, not in a log, and not in a request to another host (redirects are refused).
"""

from __future__ import annotations

import json
import os
import re
from typing import Mapping, NamedTuple, Optional

from devbox.box import run_command
from devbox.box.address import is_readable
from devbox.wire.codec import clean
from devbox.wire.messages import PauseRecipe

TIMEOUT = 60.0
_URL = re.compile(r"(?P<scheme>https?)://(?P<host>[A-Za-z0-9.-]+|\[::1\])(:\d{1,5})?(/[!-~]*)?")


class Outcome(NamedTuple):
    """Whether it worked, and what happened, as a sentence."""

    ok: bool
    detail: str


def check(recipe: Optional[PauseRecipe]) -> None:
    """ValueError says what is wrong with a recipe as received."""
    if recipe is None:
        return
    if recipe.kind == "exec" and not recipe.argv:
        raise ValueError("pause.argv is empty")
    match = _URL.fullmatch(recipe.url)
    if recipe.kind == "http" and (not match or is_readable(match[0])):
        raise ValueError("pause.url is not an https address")


def attempt(recipe: PauseRecipe, environ: Mapping[str, str], timeout: float = TIMEOUT) -> Outcome:
    """One attempt; it never raises. Acceptance is not yet the pause itself."""
    if recipe.kind == "exec":
        done = run_command.run(recipe.argv, timeout=timeout)
        if done.ok:
            return Outcome(True, "accepted")
        how = f"did not end within {timeout:.0f} s" if done.code is None else f"code {done.code}"
        return Outcome(False, clean(f"{recipe.argv[0]}: {how}: {done.tail.strip()}", 300))
    return _call(recipe, environ, timeout)


def _call(recipe: PauseRecipe, environ: Mapping[str, str], timeout: float) -> Outcome:
    """One request, as a checked recipe says. It never raises for what the network does."""
    from devbox.box import http_request  # here, because it takes 6 MB permanently

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
