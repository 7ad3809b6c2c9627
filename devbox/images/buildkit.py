"""What a BuildKit build tells: progress records in protobuf, within the engine's JSON stream.

The records are moby.buildkit.v1.StatusResponse; its field numbers are part of BuildKit's stable
API (api/services/control/control.proto).
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import TYPE_CHECKING

from devbox.images.buildlog import Log
from devbox.images.protobuf import fields, octets
from devbox.wire.codec import JsonObject

if TYPE_CHECKING:
    from docker import APIClient

_PING = 60.0  # seconds
_VERTEX, _LOG = 1, 3  # of StatusResponse
_DIGEST, _NAME, _CACHED, _STARTED, _COMPLETED, _ERROR = 1, 3, 4, 5, 6, 7  # of Vertex
_LOG_VERTEX, _LOG_TEXT = 1, 4  # of VertexLog
_INTERNAL = "[internal]"


def available(api: APIClient) -> bool:
    """Whether the engine can build with BuildKit: Linux engines since 18.09 (API 1.39), whichever
    builder they have as default. Podman speaks the same API and has another builder."""
    from docker.utils import version_gte

    answer = api.get(f"{api.base_url}/_ping", timeout=_PING)
    if "Libpod-API-Version" in answer.headers or answer.headers.get("OSType") != "linux":
        return False
    return bool(version_gte(api.api_version, "1.39"))


def follow(messages: Iterator[JsonObject], log: Log) -> None:
    """Tell the build's steps and their output to `log`. BuildFailed with the failing step."""
    told = _Told(log)
    for message in messages:
        if message.get("id") == "moby.buildkit.trace":
            told.add(base64.b64decode(str(message.get("aux", ""))))
        elif "error" in message:
            raise told.failed(str(message["error"]))
        elif text := message.get("stream") or message.get("status"):
            log.line(str(text))
    if told.error:
        raise told.failed(told.error)


class _Told:
    """Steps by digest, as far as they were told."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._names: dict[bytes, str] = {}
        self._begun: set[bytes] = set()
        self._over: set[bytes] = set()
        self._output: dict[bytes, list[str]] = {}
        self._partial: dict[bytes, str] = {}
        self._failed = b""
        self.error = ""

    def add(self, record: bytes) -> None:
        for number, value in fields(record):
            if number == _VERTEX and isinstance(value, bytes):
                self._vertex(dict(fields(value)))
            elif number == _LOG and isinstance(value, bytes):
                found = dict(fields(value))
                self._text(octets(found.get(_LOG_VERTEX)), octets(found.get(_LOG_TEXT)))

        for digest in self._over & self._partial.keys():
            if self._partial[digest]:
                self._text(digest, b"\n")  # its last line had no end

    def failed(self, said: str) -> Exception:
        step = self._names.get(self._failed, "")
        return self._log.failed(said, step=step, last=self._output.get(self._failed))

    def _vertex(self, found: dict[int, int | bytes]) -> None:
        digest = octets(found.get(_DIGEST))
        name = octets(found.get(_NAME)).decode(errors="replace")
        self._names[digest] = name
        if _COMPLETED in found:
            self._over.add(digest)
        if error := octets(found.get(_ERROR)).decode(errors="replace"):
            # Steps that were cancelled because another failed say so; the cause is the first.
            if not self._failed and "context canceled" not in error:
                self._failed, self.error = digest, error
        elif digest not in self._begun and (_STARTED in found or _CACHED in found):
            self._begun.add(digest)
            if not name.startswith(_INTERNAL):
                self._log.step(f"{name} (cached)" if found.get(_CACHED) else name)

    def _text(self, digest: bytes, text: bytes) -> None:
        whole = self._partial.pop(digest, "") + text.decode(errors="replace")
        *lines, rest = whole.replace("\r", "\n").split("\n")
        if len(rest) > 4096:
            lines, rest = [*lines, rest], ""
        self._partial[digest] = rest
        kept = self._output.setdefault(digest, [])
        for line in lines:
            if line.strip():
                kept.append(line)
                self._log.line(f"  {line}")
        del kept[:-200]
