"""A file from a web server, going on where it was cut off."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from http.client import HTTPException
from pathlib import Path
from typing import Any, Callable, Dict, Optional

from devbox.box.address import is_readable
from devbox.box.checkpoints.source import Source, shown

_TRIES = 6
_SILENCE = 60.0  # seconds without a byte after which the connection counts as dead
_CHUNK = 1 << 20
_TRY_AGAIN = (408, 425, 429, 500, 502, 503, 504)


class _Unfinished(Exception):
    """It ended early, and may continue. after: seconds the server asks to wait."""

    def __init__(self, why: str, after: float = 0.0) -> None:
        super().__init__(why)
        self.after = after


def fetch(
    source: Source, part: Path, secret: str, *, sleep: Callable[[float], None] = time.sleep
) -> Path:
    """The file in `part`. OSError with the address and the reason when it cannot be had; what has
    arrived stays for the next time."""
    target = part / "file"
    pause = 1.0
    for tries in range(_TRIES):
        before = _size(target)
        try:
            _once(source.place, target, secret)
            return target
        except _Unfinished as error:
            if tries == _TRIES - 1 and _size(target) <= before:
                raise OSError(f"{shown(source.place)}: {error}; what came is kept") from None
            sleep(max(pause, min(error.after, 60.0)))
            pause = min(pause * 2, 30.0)
    raise OSError(f"{shown(source.place)}: cut off {_TRIES} times; what came is kept")


def _once(url: str, target: Path, secret: str) -> None:
    """What is missing of it. `If-Range` has a server that holds another version by now send it
    all: two versions are never mixed."""
    have, tag = _size(target), _tag(target)
    request = urllib.request.Request(url, headers={"User-Agent": "devbox"})  # noqa: S310
    if have and tag:
        request.add_header("Range", f"bytes={have}-")
        request.add_header("If-Range", tag)
    if secret:
        if is_readable(url):
            raise OSError(f"{shown(url)} is plain http: its secret could be read on the way")
        # Not sent on to another host by a redirect.
        request.add_unredirected_header("Authorization", f"Bearer {secret}")
    try:
        with urllib.request.urlopen(request, timeout=_SILENCE) as answer:  # noqa: S310
            _take(answer, target, have)
    except urllib.error.HTTPError as error:
        if error.code == 416:  # it is shorter than what we have, or just as long
            target.unlink()
            raise _Unfinished("the server has another file now") from None
        if error.code in _TRY_AGAIN:
            raise _Unfinished(f"answers {error.code}", _after(error.headers)) from None
        hint = {401: ": give a secret", 403: ": its secret may not read it"}.get(error.code, "")
        raise OSError(f"{shown(url)} answers {error.code}{hint}") from None
    except (OSError, HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        raise _Unfinished(f"cut off ({type(error).__name__}: {reason})") from None


def _take(answer: Any, target: Path, have: int) -> None:
    resumed = answer.status == 206
    if resumed and not (answer.headers.get("Content-Range") or "").startswith(f"bytes {have}-"):
        raise _Unfinished("the server sent another part than asked for")
    length = answer.headers.get("Content-Length")
    whole = int(length) + (have if resumed else 0) if length else None
    if not resumed:
        target.unlink(missing_ok=True)
    _note(target, answer.headers)
    with target.open("ab") as stream:
        while True:
            data = answer.read(_CHUNK)
            if not data:
                break
            stream.write(data)
    if whole is not None and _size(target) != whole:
        raise _Unfinished(f"cut off at {_size(target)} of {whole} bytes")


def _note(target: Path, headers: Any) -> None:
    """What names this version to `If-Range`; a weak tag does not."""
    tag: Optional[str] = headers.get("ETag") or headers.get("Last-Modified")
    text = json.dumps({"tag": tag if tag and not tag.startswith("W/") else ""})
    target.with_suffix(".version").write_text(text)


def _tag(target: Path) -> str:
    try:
        found: Dict[str, Any] = json.loads(target.with_suffix(".version").read_text())
    except (OSError, ValueError):
        return ""
    return str(found.get("tag") or "")


def _after(headers: Any) -> float:
    try:
        return float(headers.get("Retry-After") or 0)
    except ValueError:
        return 0.0  # a date; our own pause does


def _size(target: Path) -> int:
    return target.stat().st_size if target.exists() else 0
