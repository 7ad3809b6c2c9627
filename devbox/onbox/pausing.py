"""How the box asks its own provider to pause it. The recipe comes with `arm`:

    {"kind": "exec", "argv": [...]}                                 exit code 0 is acceptance
    {"kind": "http", "method", "url", "token_env", "body"}          a 2xx reply is

The token is read from the environment when it is needed and appears nowhere else: not in an
event, not in a log, and not in a request to another host (redirects are refused).
"""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from typing import Any, Dict, Mapping, NamedTuple, Optional
from urllib.parse import urlsplit

from devbox.onbox import hooks
from devbox.onbox.wire import clean

TIMEOUT = 60.0
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_METHODS = ("POST", "PUT", "DELETE", "PATCH", "GET")


class Outcome(NamedTuple):
    """Whether it worked, and in words what happened."""

    ok: bool
    detail: str


def check(recipe: Any) -> Optional[Dict[str, Any]]:
    """A recipe as received, or None for none. ValueError says what is wrong with it."""
    if recipe is None:
        return None
    if not isinstance(recipe, dict):
        raise ValueError("pause is not an object")
    if recipe.get("kind") == "exec":
        argv = recipe.get("argv")
        if not isinstance(argv, list) or not argv or not all(isinstance(a, str) for a in argv):
            raise ValueError("pause.argv is not a list of words")
    elif recipe.get("kind") == "http":
        parts = urlsplit(str(recipe.get("url")))
        plain = parts.scheme == "http" and parts.hostname in _LOOPBACK
        if not parts.hostname or not (parts.scheme == "https" or plain):
            raise ValueError("pause.url is not an https address")
        if recipe.get("method", "POST") not in _METHODS:
            raise ValueError("pause.method is not an HTTP method")
        if not isinstance(recipe.get("token_env", ""), str):
            raise ValueError("pause.token_env is not a name")
    else:
        raise ValueError("pause.kind is neither exec nor http")
    return recipe


def attempt(
    recipe: Dict[str, Any], environ: Mapping[str, str], timeout: float = TIMEOUT
) -> Outcome:
    """One attempt; it never raises. Acceptance is not yet the pause itself."""
    if recipe["kind"] == "exec":
        done = hooks.run(recipe["argv"], timeout=timeout)
        if done.ok:
            return Outcome(True, "accepted")
        how = f"did not end within {timeout:.0f} s" if done.code is None else f"code {done.code}"
        return Outcome(False, clean(f"{recipe['argv'][0]}: {how}: {done.tail.strip()}", 300))
    return _call(recipe, environ, timeout)


def _call(recipe: Dict[str, Any], environ: Mapping[str, str], timeout: float) -> Outcome:
    name = recipe.get("token_env") or ""
    token = _token(name, environ) if name else ""
    if name and not token:
        return Outcome(False, f"the box has no {name} in its environment to pause itself with")
    body = recipe.get("body")
    request = urllib.request.Request(  # noqa: S310 - the scheme was checked when it was received
        recipe["url"],
        data=None if body is None else json.dumps(body).encode(),
        method=recipe.get("method", "POST"),
        headers={"Content-Type": "application/json", "User-Agent": "devbox"},
    )
    if token:
        request.add_unredirected_header("Authorization", f"Bearer {token}")
    handlers: list[urllib.request.BaseHandler] = [_NoRedirect()]
    if urlsplit(recipe["url"]).hostname in _LOOPBACK:
        handlers.append(urllib.request.ProxyHandler({}))
    try:
        with urllib.request.build_opener(*handlers).open(request, timeout=timeout) as reply:
            return Outcome(200 <= reply.status < 300, f"HTTP {reply.status}")
    except urllib.error.HTTPError as error:
        with error:
            text = error.read(500).decode(errors="replace")
        return Outcome(False, _without(f"HTTP {error.code}: {text}", token))
    except (OSError, ValueError) as error:
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
