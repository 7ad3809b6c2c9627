"""What a box says about runs is untrusted: bounded, checked, stripped of control sequences."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from devbox.errors import Conflict, NotFound, SshError, UsageError
from devbox.jobs import rpc, status
from devbox.jobs.follow import _Reader
from devbox.model import Run, RunState
from devbox.process import Completed
from devbox.workspace import Workspace
from tests.core.hostile import ALL

CONTROLS = set("\x00\x07\x08\x1b\x7f\x9b\u202e\u200b\ufeff")


def run() -> Run:
    return Run("r-1", "box", "b", "job", RunState.RUNNING, 0.0)


def test_attaching_to_a_run_that_is_on_its_way_says_so(local_workspace: Workspace) -> None:
    """Another devbox is still sending its inputs, so the box does not know it yet."""
    queued = Run("r-1", "box", "b", "job", RunState.QUEUED, 0.0)
    with pytest.raises(Conflict, match="run r-1 is still being sent to b"):
        says(_Reader(local_workspace, queued, ""), error={"kind": "not_found", "message": "no"})


def says(reader: _Reader, **message: Any) -> list[Any]:
    return list(reader.feed(json.dumps(message).encode()))


def test_every_text_is_cleaned(local_workspace: Workspace) -> None:
    reader = _Reader(local_workspace, run(), "")
    for text in ALL:
        body = {
            "state": text,
            "message": text,
            "unit": text,
            "note": text,
            "stage": text,
            "failures": [{"item": text, "error": text}],
            "timings": {text: 1.0},
        }
        for message in (
            says(reader, kind="log", text=text, end=text, dropped=text)
            + says(reader, kind="event", event={"kind": "item", "state": "failed", "item": text})
            + says(reader, kind="status", status=body)
        ):
            assert not set(str(message)) & CONTROLS
    kept = json.loads(status.apply(run(), status.read(body, box_now=None, now=0)).status)
    assert not set(json.dumps(kept, ensure_ascii=False)) & CONTROLS


def test_a_sequence_that_a_line_leaves_open_ends_with_it(local_workspace: Workspace) -> None:
    reader = _Reader(local_workspace, run(), "")
    text = "one\ntwo\x1b]0;title\nthree\x1bP\nfour"
    shown = says(reader, kind="log", text=text, end="\n", dropped=0)
    assert [line.text for line in shown] == ["one", "two", "three", "four"]


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"Welcome to box",
        b"[]",
        b"{}",
        b"\xff",
        b"{" * 100_000,
        b'"' + b"x" * (1 << 21) + b'"',
        b'{"kind":"log"}',
        b'{"kind":"log","text":5}',
        b'{"kind":"event","event":[]}',
        b'{"kind":"new","x":1}',
        b'{"at":"../../x","kind":"alive"}',
    ],
)
def test_lines_that_are_not_ours_are_left_out(local_workspace: Workspace, line: bytes) -> None:
    reader = _Reader(local_workspace, run(), "3.4")
    assert reader.feed(line) == []
    assert reader.at == "3.4"


@pytest.mark.parametrize(
    "raw",
    [
        None,
        [],
        "x",
        {"state": 5},
        {"attempts": [{"ended": 1}]},
        {"counts": {"done": "many"}},
        {"progress": [1, 2, 3]},
        {"peak": 7},
        {"exit_code": "0"},
    ],
)
def test_a_status_of_another_form_is_an_error(raw: Any) -> None:
    with pytest.raises(SshError, match="a status of another form"):
        status.read(raw, box_now=1.0, now=1.0)


def test_an_unknown_state_reads_as_unknown() -> None:
    seen = status.read({"state": "dancing"}, box_now=None, now=0.0)
    assert status.apply(run(), seen).state == RunState.UNKNOWN


def test_a_status_is_bounded() -> None:
    raw = {
        "state": "failed",
        "message": "m" * 1_000_000,
        "failures": [{"item": "i" * 10_000, "error": "e" * 10_000}] * 10_000,
        "timings": {f"s{n}": 1.0 for n in range(10_000)},
    }
    assert len(status.apply(run(), status.read(raw, box_now=None, now=0.0)).status) < 1_200_000


def test_times_of_a_box_whose_clock_is_wrong_are_shifted_to_ours() -> None:
    raw = {
        "state": "succeeded",
        "started": 100.0,
        "ended": 160.0,
        "attempts": [{"started": 100.0, "ended": 160.0}],
    }
    now = time.time()
    moved = status.apply(run(), status.read(raw, box_now=161.0, now=now))
    assert moved.started == pytest.approx(now - 61)
    assert moved.ended == pytest.approx(now - 1)
    kept = status.apply(run(), status.read(raw, box_now=161.0, now=161.5))
    assert (kept.started, kept.ended) == (100.0, 160.0)


class FakeLink:
    """Answers a call with fixed output."""

    class box:
        name = "b"

    def __init__(self, out: str, code: int = 0, err: str = "") -> None:
        self._done = Completed(code, out, err)

    def run(self, *_: Any, **__: Any) -> Completed:
        return self._done


@pytest.mark.parametrize(
    ("out", "kind"),
    [
        ('{"error":{"kind":"not_found","message":"no\\u001b[2J run"}}', NotFound),
        ('{"error":{"kind":"bad_request","message":5}}', UsageError),
        ('{"error":{"kind":["x"],"message":"m"}}', SshError),
        ("", SshError),
        ("[]", SshError),
        ("[" * 100_000, SshError),
        ("Traceback\x1b[31m (most recent call last)", SshError),
    ],
)
def test_answers_become_typed_errors(out: str, kind: type[Exception]) -> None:
    link: Any = FakeLink(out, 1)
    with pytest.raises(kind) as raised:
        rpc.call(link, "status", "x")
    assert not set(str(raised.value)) & CONTROLS
