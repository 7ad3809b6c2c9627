"""How the box asks its own provider to pause it. The recipe comes with `arm`:

    {"kind": "exec", "argv": [...]}                                 exit code 0 is acceptance
    {"kind": "http", "method", "url", "token_env", "body"}          a 2xx reply is

The token is read from the environment when it is needed and appears nowhere else: not in an
event, not in a log, and not in a request to another host (redirects are refused).
"""

from __future__ import annotations

import re
from typing import Any, Dict, Mapping, NamedTuple, Optional

from devbox.box import run_command
from devbox.box.address import is_readable
from devbox.wire.codec import clean

TIMEOUT = 60.0
_URL = re.compile(r"(?P<scheme>https?)://(?P<host>[A-Za-z0-9.-]+|\[::1\])(:\d{1,5})?(/[!-~]*)?")
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
        match = _URL.fullmatch(str(recipe.get("url")))
        if not match or is_readable(match[0]):
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
        done = run_command.run(recipe["argv"], timeout=timeout)
        if done.ok:
            return Outcome(True, "accepted")
        how = f"did not end within {timeout:.0f} s" if done.code is None else f"code {done.code}"
        return Outcome(False, clean(f"{recipe['argv'][0]}: {how}: {done.tail.strip()}", 300))
    from devbox.box.watchdog.pause_request import (
        call,  # why here: urllib.request takes 6 MB for good
    )

    return call(recipe, environ, timeout)
