"""How much of a video has a pose: asked of a pose service frame by frame, or read from the
results of the `pose` job.

The service is asked as its clients ask it: two frames at a time, one session, again after a 503.
"""

from __future__ import annotations

import base64
import json
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from devbox import installation
from devbox.box.pose.coverage import SOURCES
from devbox.box.pose.report import Report, Summary, report
from devbox.errors import DevboxError, JobFailed, ToolMissing, UsageError
from devbox.wire.codec import JsonObject

if TYPE_CHECKING:
    import httpx2

_AT_ONCE = 2
_PATIENCE = 120.0  # seconds for one answer, and for a service that is busy all that time
_QUALITY = 92  # of the JPEGs


def of_results(file: Path) -> Summary:
    """The report (`devbox.box.pose.report`) of a results.jsonl. UsageError where it is none."""
    return report(_records(file))


def of_video(url: str, video: Path, tell: Callable[[int, int], None]) -> Summary:
    """The same of a video, by the service at that URL. tell(done, expected) after each frame;
    expected is 0 where the video does not say. A frame that cannot be read, or that the service
    fails on, counts as an error without a pose. JobFailed where no pose service answers."""
    from importlib.util import find_spec

    if find_spec("cv2") is None:
        raise ToolMissing("reading videos needs OpenCV", fix=installation.fix_extra("track"))
    from devbox.box.media import frames

    try:
        source = frames.open_sequence([video], 25.0)
    except ValueError as error:
        raise UsageError(str(error)) from None
    client = _Client(url, f"check-{uuid.uuid4().hex[:12]}")
    made = Report()
    with client, ThreadPoolExecutor(_AT_ONCE) as pool:
        asked = []
        for frame in source.read():
            asked.append(pool.submit(client.look, frame.number, frame.image))
            if len(asked) == _AT_ONCE:
                _count(made, asked.pop(0).result(), source.expected, tell)
        for each in asked:
            _count(made, each.result(), source.expected, tell)
    return made.result()


def _count(
    made: Report, record: JsonObject, expected: int, tell: Callable[[int, int], None]
) -> None:
    made.add(record)
    frame = record["frame_number"]
    assert isinstance(frame, int)
    tell(frame + 1, expected)


class _Client:
    """Used by several threads."""

    def __init__(self, url: str, session: str) -> None:
        import httpx2

        self._url, self._session = url.rstrip("/"), session
        # A service of the user's own, on this computer's loopback or where the user says.
        self._http = httpx2.Client(timeout=_PATIENCE, trust_env=False)

    def __enter__(self) -> _Client:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def look(self, number: int, image: object) -> JsonObject:
        """The service's result for a BGR frame; one that says what went wrong where it has none."""
        if image is None:
            return _failed(number, "this frame could not be read")
        import cv2

        good, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
        if not good:
            return _failed(number, "this frame could not be written as JPEG")
        sent = {
            "image_base64": base64.b64encode(data.tobytes()).decode(),
            "frame_number": number,
            "session_id": self._session,
        }
        answer = self._ask(sent)
        if answer.status_code == 404:
            raise JobFailed(
                f"{self._url} answers, but has no /pose/hybrid: it is no pose service",
                fix="devbox serve pose",
            )
        try:
            found = answer.json()
        except ValueError:
            found = None
        if not isinstance(found, dict):
            return _failed(number, f"status {answer.status_code}")
        if not answer.is_success:
            return _failed(number, str(found.get("error") or answer.status_code))
        if found.get("frame_number") != number or found.get("source") not in SOURCES:
            return _failed(number, "the answer is not one for this frame")
        return found

    def _ask(self, sent: Mapping[str, object]) -> httpx2.Response:
        import httpx2

        until = time.monotonic() + _PATIENCE
        while True:
            try:
                answer = self._http.post(f"{self._url}/pose/hybrid", json=sent)
            except httpx2.HTTPError as error:
                raise JobFailed(
                    f"the pose service at {self._url} does not answer: {error}",
                    fix="devbox serve pose, in another terminal",
                ) from error
            if answer.status_code != 503 or time.monotonic() > until:
                return answer
            time.sleep(_seconds(answer.headers.get("retry-after", "")))


def _seconds(header: str) -> float:
    return min(float(header), 10.0) if header.isascii() and header.isdecimal() else 1.0


def _failed(number: int, error: str) -> JsonObject:
    return {"frame_number": number, "source": "none", "error": error}


def _records(file: Path) -> Iterator[JsonObject]:
    count = 0
    try:
        with file.open(encoding="utf-8") as lines:
            for line in lines:
                count += 1
                record = json.loads(line)
                if record["source"] not in SOURCES or not isinstance(record["frame_number"], int):
                    raise ValueError
                yield record
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError):
        raise _no_results(file, count) from None


def _no_results(file: Path, count: int) -> DevboxError:
    return UsageError(
        f"{file}: line {count} is no result of the pose job",
        fix="name results.jsonl of a pose run, or a video",
    )
