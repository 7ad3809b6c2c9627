"""What a box says about runs is untrusted: bounded, checked, stripped of control sequences."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from devbox.errors import Conflict, NotFound, SshError, UsageError
from devbox.jobs import status
from devbox.jobs.follow import Ended, Note, _Reader
from devbox.model import Run, RunState
from devbox.process import Completed
from devbox.remote import agent
from devbox.wire.codec import LATEST
from devbox.wire.jobs import Attempt, JobAnswer, JobStatus
from devbox.workspace import Workspace
from tests.core.hostile import ALL

CONTROLS = set("\x00\x07\x08\x1b\x7f\x9b\u202e\u200b\ufeff")


def run() -> Run:
    return Run("r-1", "box", "b", "job", RunState.RUNNING, 0.0)


def test_attaching_to_a_run_that_is_on_its_way_says_so(local_workspace: Workspace) -> None:
    """Another devbox is still sending its inputs, so the box does not know it yet."""
    queued = Run("r-1", "box", "b", "job", RunState.QUEUED, 0.0)
    with pytest.raises(Conflict, match="run r-1 is still being sent to b"):
        says(_Reader(local_workspace, queued, ""), error="not_found", message="no")


def says(reader: _Reader, **message: Any) -> list[Any]:
    return list(reader.feed(json.dumps(message).encode()))


def test_every_text_is_cleaned(local_workspace: Workspace) -> None:
    reader = _Reader(local_workspace, run(), "")
    for text in ALL:
        body = {
            "state": "running",
            "message": text,
            "unit": text,
            "note": text,
            "stage": text,
            "failures": [{"item": text, "error": text}],
            "timings": {text: 1.0},
        }
        event = {"seq": 1, "t": 1.0, "kind": "item", "message": text}
        found = [
            says(reader, at="1.2", text=text),
            says(reader, at="1.2", event=event),
            says(reader, status=body, now=1.0),
        ]
        assert all(found)
        assert not set(str(found)) & CONTROLS
    kept = json.loads(reader._run.status)
    assert not set(json.dumps(kept, ensure_ascii=False)) & CONTROLS


def test_a_sequence_that_a_line_leaves_open_ends_with_it(local_workspace: Workspace) -> None:
    reader = _Reader(local_workspace, run(), "")
    text = "one\ntwo\x1b]0;title\nthree\x1bP\nfour"
    shown = says(reader, at="0.9", text=text, end="\n", dropped=7)
    assert [line.text for line in shown] == ["one", "two", "three", "four"]
    assert [line.dropped for line in shown] == [7, 0, 0, 0]


@pytest.mark.parametrize("line", [b"", b"Welcome to box", b"[]", b"\xff", b'"' + b"x" * (1 << 21)])
def test_what_a_login_prints_is_left_out(local_workspace: Workspace, line: bytes) -> None:
    reader = _Reader(local_workspace, run(), "3.4")
    assert reader.feed(line) == []
    assert reader.at == "3.4"


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b"{}", "at is missing"),
        (b"{" * 100_000, "is not JSON"),
        (b'{"at":"1.2","text":5}', "text is not text"),
        (b'{"at":"1.2","text":"x","end":"end"}', "end is not a text of its form"),
        (b'{"at":"1.2","event":[]}', "event is not an object"),
        (b'{"at":"../../x","text":"x"}', "at is not a text of its form"),
        (b'{"now":1,"status":{"state":"dancing"}}', "status.state is none of: "),
        (b'{"now":1,"status":{"progress":[1,2,3]}}', "status.progress is not a list of 2"),
        (b'{"now":1,"status":{"exit_code":"0"}}', "status.exit_code is not a whole number"),
    ],
)
def test_a_line_that_cannot_be_read_is_dropped_and_told_once(
    local_workspace: Workspace, line: bytes, why: str
) -> None:
    reader = _Reader(local_workspace, run(), "3.4")
    (told,) = reader.feed(line)
    assert isinstance(told, Note)
    assert told.text.startswith(f"a line of b could not be read: {why}")
    assert reader.feed(line) == []
    assert reader.at == "3.4"


def test_lines_of_the_version_before_are_read(local_workspace: Workspace) -> None:
    reader = _Reader(local_workspace, run(), "")
    log = says(reader, v=1, at="1.3", kind="log", text="a\nb", end="\n", dropped=0)
    assert [line.text for line in log] == ["a", "b"]
    known = {"pid": 1, "started": "5", "boot": "b"}
    status = {"v": 1, "id": "r-1", "state": "succeeded", "supervisor": known}
    _, ended = says(reader, v=1, at="2.3", kind="end", status=status, now=1.0)
    assert isinstance(ended, Ended)
    assert (reader.at, ended.status.state) == ("2.3", "succeeded")


def test_the_record_of_a_run_is_bounded(local_workspace: Workspace) -> None:
    reader = _Reader(local_workspace, run(), "")
    body = {
        "state": "failed",
        "message": "m" * 100_000,
        "failures": [{"item": "i" * 1000, "error": "e" * 2000}] * 200,
        "timings": {f"s{n}": 1.0 for n in range(10_000)},
    }
    ended = says(reader, status=body, now=1.0)[-1]
    assert isinstance(ended, Ended)
    assert len(ended.run.status) < 100_000
    assert status.of(ended.run).failures[99].error.startswith("eee")


def test_times_of_a_box_whose_clock_is_wrong_are_shifted_to_ours() -> None:
    seen = JobStatus(
        state="succeeded", started=100.0, ended=160.0, attempts=(Attempt(100.0, 160.0),)
    )
    now = time.time()
    moved = status.apply(run(), status.shifted(seen, box_now=161.0, now=now))
    assert moved.started == pytest.approx(now - 61)
    assert moved.ended == pytest.approx(now - 1)
    kept = status.apply(run(), status.shifted(seen, box_now=161.0, now=161.5))
    assert (kept.started, kept.ended) == (100.0, 160.0)
    for box_now, here in ((LATEST, 5.0), (0.0, LATEST)):
        clock = status.shifted(seen, box_now=box_now, now=here)
        assert status.of(status.apply(run(), clock)) == clock


class FakeLink:
    """Answers a call with fixed output."""

    is_new = False

    class box:
        name = "b"

    def __init__(self, out: str, code: int = 0, err: str = "") -> None:
        self._done = Completed(code, out, err)

    def run(self, *_: Any, **__: Any) -> Completed:
        return self._done


@pytest.mark.parametrize(
    ("out", "kind"),
    [
        ('{"error":"not_found","message":"no\\u001b[2J run"}', NotFound),
        ('{"error":"bad_request","message":""}', UsageError),
        ('{"error":"bad_request","message":5}', SshError),
        ('{"error":["x"],"message":"m"}', SshError),
        ('{"now":1,"status":{"state":"dancing"}}', SshError),
        ("", SshError),
        ("[]", SshError),
        ("[" * 100_000, SshError),
        ("Traceback\x1b[31m (most recent call last)", SshError),
    ],
)
def test_answers_become_typed_errors(out: str, kind: type[Exception]) -> None:
    link: Any = FakeLink(out, 1)
    with pytest.raises(kind) as raised:
        agent.job(link, JobAnswer, "status", "x")
    assert not set(str(raised.value)) & CONTROLS
