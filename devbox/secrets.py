"""Secrets by reference: `env:NAME`, `file:PATH`, `keyring:NAME`, `hf:token`.

A reference may be stored, shown and logged; the value it names is read at the moment of use and
goes only into the provider's own secret store or a file of mode 0600.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from devbox.box.address import is_readable
from devbox.errors import AuthError, UsageError
from devbox.process import run
from devbox.text import clean

_REFERENCE = re.compile(r"env:[A-Za-z_][A-Za-z0-9_]*|file:[^\x00-\x1f]+|keyring:[\w.-]+|hf:token")


def check(reference: str) -> str:
    """The reference itself when well formed. UsageError otherwise, without echoing the text:
    a user who typed the secret itself must not see it in a log."""
    if len(reference) > 1000 or not _REFERENCE.fullmatch(reference):
        raise UsageError(
            "a secret must be given by reference, not by value",
            fix="write env:NAME, file:PATH, keyring:NAME or hf:token",
        )
    return reference


def resolve(reference: str) -> str:
    """The secret's value. AuthError names the reference when there is nothing behind it."""
    kind, _, rest = check(reference).partition(":")
    value = {"env": _env, "file": _file, "keyring": _keyring, "hf": _hf}[kind](rest)
    if not value:
        raise AuthError(
            f"the secret {clean(reference, 80)} has no value",
            fix=f"set it, then check with: devbox doctor (looked at {kind})",
        )
    return value


def require_private(url: str, whose: str) -> None:
    """AuthError for an address where `whose` token could be read on the way: plain http to
    another machine. Asked wherever a request with a token is made."""
    if is_readable(url):
        raise AuthError(
            f"{clean(url, 200)} is plain http: {whose} token could be read on the way",
            means="it was not sent",
            fix="use the https:// address, or reach the server over a forward to 127.0.0.1",
        )


def _env(name: str) -> str | None:
    return os.environ.get(name)


def _file(path: str) -> str | None:
    target = Path(path).expanduser()
    return target.read_text().strip() if target.is_file() else None


def _keyring(name: str) -> str | None:
    """The system keyring, through the keyring command so that it stays an optional install."""
    done = run(["keyring", "get", "devbox", name], check=False)
    return done.out.strip() if done.code == 0 else None


def _hf(_: str) -> str | None:
    from huggingface_hub import get_token

    return get_token()
