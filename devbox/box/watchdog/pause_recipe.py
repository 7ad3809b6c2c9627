"""How the box asks its own provider to pause it: by the recipe that came with `arm`.

The token is read from the environment when it is needed and appears nowhere else: not in an
event, not in a log, and not in a request to another host (redirects are refused).
"""

from __future__ import annotations

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
    from devbox.box.watchdog.pause_request import (
        call,  # why here: urllib.request takes 6 MB permanently
    )

    return call(recipe, environ, timeout)
