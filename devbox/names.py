"""Validation of what people type: names, relative paths, ports, ssh users and hosts.

Every function returns the valid value or raises UsageError and changes nothing. Nothing that
passes here can be read as an option (a leading '-') or a shell or ssh metacharacter.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from devbox.errors import UsageError
from devbox.text import clean

_NAME = re.compile(r"[a-z][a-z0-9-]{0,38}[a-z0-9]|[a-z]")
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?|[0-9a-fA-F:]{2,45}")
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,63}")
_ENV = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_PATH_BAD = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


def name(value: str, what: str = "box name") -> str:
    """1–40 of a-z, 0-9 and '-', starting with a letter: safe as host alias, folder and label."""
    if not _NAME.fullmatch(value):
        raise UsageError(
            f"{clean(value, 60)!r} is not a valid {what}",
            fix="use 1-40 lower-case letters, digits and '-', starting with a letter",
        )
    return value


def host(value: str) -> str:
    """A DNS name or address."""
    if not _HOST.fullmatch(value):
        raise UsageError(f"{clean(value, 60)!r} is not a host name or address")
    return value


def user(value: str) -> str:
    """A login name."""
    if not _USER.fullmatch(value):
        raise UsageError(f"{clean(value, 60)!r} is not a valid user name")
    return value


def env_name(value: str) -> str:
    """An environment variable's name."""
    if not _ENV.fullmatch(value):
        raise UsageError(f"{clean(value, 60)!r} is not a valid environment variable name")
    return value


def port(value: int | str) -> int:
    """1–65535."""
    text = str(value)
    if not re.fullmatch(r"[0-9]{1,5}", text) or not 1 <= int(text) <= 65535:
        raise UsageError(f"{clean(text, 20)!r} is not a port (1-65535)")
    return int(text)


def remote_path(value: str, what: str = "path") -> str:
    """A path on a box: absolute, or relative to the login folder; '~/' is dropped. No '..'
    part, no control character, at most 1000 bytes. Spaces and quotes are fine."""
    text = value[2:] if value.startswith("~/") else value
    pure = PurePosixPath(text)
    bad = (
        not text
        or len(text.encode(errors="replace")) > 1000
        or _PATH_BAD.search(text)
        or ".." in pure.parts
        or text.startswith(("-", "~"))
        or ":" in "".join(pure.parts[:1])
    )
    if bad:
        raise UsageError(
            f"{clean(value, 60)!r} is not a usable {what}",
            fix="no '..', control character, leading '-', or ':' in the first part",
        )
    return str(pure)


def inner_path(value: str, what: str = "path") -> str:
    """A relative path that stays inside its folder."""
    text = remote_path(value, what)
    if text.startswith("/"):
        raise UsageError(f"{clean(value, 60)!r} must be a relative {what}")
    return text
