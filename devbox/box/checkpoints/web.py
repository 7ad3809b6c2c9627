"""A file from a web server: in parallel ranges where the server sends them, else in one stream; in
either case it continues where it was cut off."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from email.message import Message
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import Callable, ContextManager, Dict, Iterator, Optional

from devbox.box.address import is_readable
from devbox.box.checkpoints import pieces
from devbox.box.checkpoints.pieces import Changed, Unfinished
from devbox.box.checkpoints.source import Room, Source, any_size, shown
from devbox.wire.codec import JsonObject

_TRIES = 6
_SILENCE = 60.0  # seconds without a byte after which the connection counts as dead
_CHUNK = 1 << 20
_TRY_AGAIN = (408, 425, 429, 500, 502, 503, 504)


def fetch(
    source: Source,
    part: Path,
    secret: str,
    room: Room = any_size,
    *,
    sleep: Callable[[float], None] = time.sleep,
    piece: int = pieces.PIECE,
) -> Path:
    """The file in `part`. OSError with the address and the reason when it cannot be had; what has
    arrived stays for the next time. room: told how many bytes there are, before the first one."""
    target = part / "file"
    pause = 1.0
    for tries in range(_TRIES):
        before = pieces.arrived(target)
        try:
            _once(source.place, target, secret, room, piece)
            return target
        except Unfinished as error:
            if tries == _TRIES - 1 and pieces.arrived(target) <= before:
                raise OSError(f"{shown(source.place)}: {error}; what came is kept") from None
            sleep(max(pause, min(error.after, 60.0)))
            pause = min(pause * 2, 30.0)
    raise OSError(f"{shown(source.place)}: cut off {_TRIES} times; what came is kept")


def _once(url: str, target: Path, secret: str, room: Room, piece: int) -> None:
    """What is missing of it. `If-Range` has a server that holds another version by now send it
    all: two versions are never mixed."""

    def get(headers: Dict[str, str]) -> ContextManager[HTTPResponse]:
        return _opened(url, secret, headers)

    try:
        plan = pieces.read(target)
        if plan is None:
            have, tag = _size(target), _tag(target)
            asked = {"Range": f"bytes={have}-", "If-Range": tag} if have and tag else {}
            with get(asked) as answer:
                plan = _plan(answer, target, have, room, piece)
                if plan is None:
                    _take(answer, target, have, room)
        if plan is not None:
            pieces.fetch(plan, get)
    except Changed:
        pieces.forget(target)
        raise Unfinished("the server has another file now") from None


@contextmanager
def _opened(url: str, secret: str, headers: Dict[str, str]) -> Iterator[HTTPResponse]:
    """The answer of the server; its errors as Unfinished, which may be tried again, or OSError."""
    request = urllib.request.Request(url, headers={"User-Agent": "devbox"})  # noqa: S310
    for name, value in headers.items():
        request.add_header(name, value)
    if secret:
        if is_readable(url):
            raise OSError(f"{shown(url)} is plain http: its secret could be read on the way")
        # Not sent on to another host by a redirect.
        request.add_unredirected_header("Authorization", f"Bearer {secret}")
    try:
        with urllib.request.urlopen(request, timeout=_SILENCE) as answer:  # noqa: S310
            yield answer
    except urllib.error.HTTPError as error:
        if error.code == 416:  # it is shorter than what we have, or just as long
            raise Changed from None
        if error.code in _TRY_AGAIN:
            raise Unfinished(f"answers {error.code}", _after(error.headers)) from None
        hint = {401: ": give a secret", 403: ": its secret may not read it"}.get(error.code, "")
        raise OSError(f"{shown(url)} answers {error.code}{hint}") from None
    except pieces.DiskError as error:
        raise OSError(f"{error}") from None
    except (OSError, HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        raise Unfinished(f"cut off ({type(error).__name__}: {reason})") from None


def _plan(
    answer: HTTPResponse, target: Path, have: int, room: Room, piece: int
) -> Optional[pieces.Plan]:
    """How to take it in pieces; None for a small file, a part that was begun in one stream, and a
    server that does not promise ranges of this very version."""
    tag, length = _strong(answer.headers), answer.headers.get("Content-Length")
    if have or answer.status != 200 or not tag or not length:
        return None
    if answer.headers.get("Accept-Ranges") != "bytes" or int(length) < 2 * piece:
        return None
    room(int(length))
    return pieces.begin(target, int(length), piece, tag)


def _take(answer: HTTPResponse, target: Path, have: int, room: Room) -> None:
    resumed = answer.status == 206
    if resumed and not (answer.headers.get("Content-Range") or "").startswith(f"bytes {have}-"):
        raise Unfinished("the server sent another part than asked for")
    length = answer.headers.get("Content-Length")
    whole = int(length) + (have if resumed else 0) if length else None
    if not resumed:
        target.unlink(missing_ok=True)
    if whole is not None:
        room(whole)
    _note(target, answer.headers)
    with target.open("ab") as stream:
        while True:
            data = answer.read(_CHUNK)
            if not data:
                break
            with pieces.disk():
                stream.write(data)
    if whole is not None and _size(target) != whole:
        raise Unfinished(f"cut off at {_size(target)} of {whole} bytes")


def _note(target: Path, headers: Message) -> None:
    """What names this version to `If-Range`."""
    target.with_suffix(".version").write_text(json.dumps({"tag": _strong(headers)}))


def _strong(headers: Message) -> str:
    """What names a version to `If-Range`; a weak tag does not."""
    tag = headers.get("ETag") or headers.get("Last-Modified")
    return tag if tag and not tag.startswith("W/") else ""


def _tag(target: Path) -> str:
    try:
        found: JsonObject = json.loads(target.with_suffix(".version").read_text())
    except (OSError, ValueError):
        return ""
    return str(found.get("tag") or "")


def _after(headers: Message) -> float:
    try:
        return float(headers.get("Retry-After") or 0)
    except ValueError:
        return 0.0  # a date; our own pause does


def _size(target: Path) -> int:
    return target.stat().st_size if target.exists() else 0
