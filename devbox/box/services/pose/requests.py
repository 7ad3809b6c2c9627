"""What clients of the pose service send, read with limits. Whatever is wrong with it is a Problem:
400, or 413 where it is too large."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import re
from typing import TYPE_CHECKING, List, NamedTuple, Tuple

from devbox.box.arrays import Pixels
from devbox.box.media import pictures
from devbox.box.services.problem import Problem
from devbox.wire.codec import Json, JsonObject

if TYPE_CHECKING:
    from starlette.requests import Request

MOST_BYTES = 32 << 20  # of one picture's request: 24 MB as a file
MOST_BATCH_BYTES = 256 << 20
MOST_FRAMES = 2000  # of a batch
MOST_PIXELS = 40_000_000  # of a picture; 8K video has 33 million
READ_SECONDS = 60.0  # for a request to arrive, once it is its turn
DEFAULT_SESSION = "default"
_DATA_URL = re.compile(r"data:[\w./+-]*(;[\w=.-]+)*;base64,")
_SESSION = re.compile(r"[\w.-]{1,64}", re.ASCII)
_MOST_NUMBER = 1 << 53  # JavaScript counts exactly so far


class Frame(NamedTuple):
    """size: width and height. session: "" where the picture stands alone."""

    number: int
    session: str
    size: Tuple[int, int]


async def body(request: Request, most: int) -> JsonObject:
    """The JSON object that a request sent. Reading ends when it is too long, or late (408)."""
    try:
        data = await asyncio.wait_for(_read(request, most), READ_SECONDS)
    except asyncio.TimeoutError:
        raise Problem(408, f"the request took over {READ_SECONDS:.1f} s to arrive") from None
    try:
        content: Json = await asyncio.to_thread(json.loads, data)
    except (ValueError, RecursionError):
        raise Problem(
            400,
            "the request is not JSON: send an object with image_base64 and frame_number, "
            "not the bytes of a picture",
        ) from None
    if not isinstance(content, dict):
        raise Problem(400, "the request is not a JSON object")
    return content


async def _read(request: Request, most: int) -> bytes:
    parts: List[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > most:
            raise Problem(413, f"the request is larger than {most >> 20} MB")
        parts.append(part)
    return b"".join(parts)


async def frame(content: Json, default: int = 0) -> Tuple[Frame, Pixels]:
    """One picture, BGR uint8 of height × width × 3, with its number. Without a
    frame_number it stands alone, as `default`."""
    if not isinstance(content, dict):
        raise Problem(400, "a frame is not a JSON object")
    at = number(content, default)
    named = session(content) if content.get("frame_number") is not None else ""
    image = await asyncio.to_thread(_decoded, content.get("image_base64"))
    return Frame(at, named, (image.shape[1], image.shape[0])), image


def batch(content: JsonObject) -> Tuple[str, List[Json]]:
    """(session, frames). Their numbers must rise, or be left out."""
    frames = content.get("frames")
    if not isinstance(frames, list) or not frames:
        raise Problem(400, "frames is not a list of {image_base64, frame_number}")
    if len(frames) > MOST_FRAMES:
        raise Problem(413, f"a batch has at most {MOST_FRAMES} frames; this one has {len(frames)}")
    before = -1
    for at, each in enumerate(frames):
        now = number(each, at)
        if now <= before:
            raise Problem(400, f"frame_number must rise: {now} comes after {before}")
        before = now
    return session(content), frames


def number(content: object, default: int) -> int:
    """A frame's number; `default` where it is left out."""
    found = content.get("frame_number") if isinstance(content, dict) else None
    if found is None:
        return default
    if isinstance(found, bool) or not isinstance(found, int) or not 0 <= found < _MOST_NUMBER:
        raise Problem(400, "frame_number is not an integer from 0")
    return found


def session(content: JsonObject) -> str:
    found = content.get("session_id")
    if found is None:
        return DEFAULT_SESSION
    if not isinstance(found, str) or not _SESSION.fullmatch(found):
        raise Problem(400, "session_id is not 1 to 64 letters, digits, dots, dashes or underscores")
    return found


def _decoded(text: object) -> Pixels:
    if not isinstance(text, str) or not text:
        raise Problem(400, "image_base64 is missing")
    if match := _DATA_URL.match(text):
        text = text[match.end() :]
    try:
        data = base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        raise Problem(400, "image_base64 is not base64") from None
    try:
        picture = pictures.load(data, most_pixels=MOST_PIXELS)
    except pictures.PictureError as error:
        raise Problem(
            400,
            f"image_base64: {error}; it must be the bytes of a JPEG, PNG or other picture file, "
            "not raw pixels",
        ) from None
    import numpy as np

    return np.ascontiguousarray(picture.image[:, :, ::-1])
