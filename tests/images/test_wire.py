"""Protobuf's wire format, and what a hostile or broken engine may send."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from docker import auth
from hypothesis import given
from hypothesis import strategies as st

from devbox.errors import BuildFailed
from devbox.images import buildkit, buildkit_session, filesync
from devbox.images.buildlog import Log
from devbox.images.context import Context
from devbox.images.protobuf import field, fields, text


@given(st.lists(st.tuples(st.integers(1, 2000), st.integers(0, 2**63 - 1) | st.binary())))
def test_what_is_written_is_read(pairs: list[tuple[int, int | bytes]]) -> None:
    message = b"".join(field(key, value) for key, value in pairs)
    assert list(fields(message)) == pairs


@given(st.binary(max_size=64))
def test_nonsense_is_refused_not_endless(message: bytes) -> None:
    try:
        assert len(list(fields(message))) <= len(message)
    except ValueError as error:
        assert "protobuf" in str(error)


def trace(*parts: bytes) -> dict[str, str]:
    return {"id": "moby.buildkit.trace", "aux": base64.b64encode(b"".join(parts)).decode()}


def vertex(digest: bytes, name: str, **more: bytes | int) -> bytes:
    keys = {"cached": 4, "started": 5, "completed": 6, "error": 7}
    rest = b"".join(field(keys[key], value) for key, value in more.items())
    return field(1, field(1, digest) + field(3, name.encode()) + rest)


def output(digest: bytes, text: bytes) -> bytes:
    return field(3, field(1, digest) + field(4, text))


def test_a_build_is_told_step_by_step_and_stripped() -> None:
    said: list[str] = []
    messages: list[dict[str, Any]] = [
        trace(vertex(b"i", "[internal] load metadata", started=b"")),
        trace(vertex(b"a", "[1/2] FROM x", started=b"", cached=1)),
        trace(vertex(b"b", "[2/2] RUN y", started=b"")),
        trace(output(b"b", b"hal")),
        trace(output(b"b", b"f\x1b[31m red\nrest")),
        trace(vertex(b"b", "[2/2] RUN y", started=b"", completed=b"")),
        trace(output(b"b", b"late")),
        {"stream": "Successfully tagged x"},
    ]
    buildkit.follow(iter(messages), Log("x", said.append))
    assert [line.strip() for line in said] == [
        *("[1/2] FROM x (cached)", "[2/2] RUN y", "half red", "rest", "late"),
        "Successfully tagged x",
    ]


def test_the_step_that_failed_is_quoted_not_one_that_was_cancelled() -> None:
    messages: list[dict[str, Any]] = [
        trace(vertex(b"a", "[a 1/1] RUN sleep", started=b"", error=b"context canceled")),
        trace(vertex(b"b", "[b 1/1] RUN boom", started=b"")),
        trace(output(b"b", b"the cause\n"), output(b"a", b"beside the point\n")),
        trace(vertex(b"b", "[b 1/1] RUN boom", started=b"", error=b"exit code: 1")),
        {"error": "executor failed", "errorDetail": {}},
    ]
    with pytest.raises(BuildFailed) as raised:
        buildkit.follow(iter(messages), Log("x", lambda _: None))
    assert "the failing step: [b 1/1] RUN boom" in raised.value.what
    assert "  the cause" in raised.value.what
    assert "beside the point" not in raised.value.what


def test_folders_come_before_what_they_hold_in_the_engines_order() -> None:
    made = {"b/c/d": b"1", "b-a": b"2", "a": b"3", "b/a": b"4"}
    entries = filesync.folders(Context(None, (), made, ""), "FROM x", "f/Dockerfile")["context"]
    assert [each.path for each in entries] == ["a", "b", "b/a", "b/c", "b/c/d", "b-a"]


def test_a_file_that_was_not_listed_is_not_sent() -> None:
    entries = filesync.folders(Context(None, (), {"a": b"x" * 70_000}, ""), "", "D")["context"]
    sender = filesync.Sender(entries, frozenset())
    listed = [sender.next(), sender.next()]
    assert None not in listed
    assert sender.next() is None
    sender.told(field(1, 1) + field(3, 7))
    assert sender.next() is None
    sender.told(field(1, 1))
    blocks = [packet for _ in range(5) if (packet := sender.next()) is not None]
    assert b"".join(bytes(dict(fields(each)).get(4, b"")) for each in blocks) == b"x" * 70_000
    sender.told(field(1, 3))
    assert sender.next() == field(1, 3)
    assert sender.over


@pytest.mark.parametrize(
    ("only", "paths"),
    [
        ([], ["a", "d", "d/x", "dd"]),
        (["d/x"], ["d", "d/x"]),
        (["d"], ["d", "d/x"]),
        ([".dockerignore"], []),
        (["d*"], ["a", "d", "d/x", "dd"]),
    ],
)
def test_only_what_is_asked_for_is_listed(only: list[str], paths: list[str]) -> None:
    made = {"a": b"", "d/x": b"", "dd": b""}
    entries = filesync.folders(Context(None, (), made, ""), "", "D")["context"]
    sender = filesync.Sender(entries, frozenset(only))
    listed = []
    while (packet := sender.next()) is not None:
        entry = dict(fields(packet)).get(2)
        if isinstance(entry, bytes):
            listed.append(bytes(dict(fields(entry))[1]).decode())
    assert listed == paths


@pytest.mark.parametrize(
    ("host", "who"),
    [
        (f"registry-1.{auth.INDEX_NAME}", "me"),
        (auth.INDEX_NAME, "me"),
        ("registry.example:5000", "other"),
        (f"not{auth.INDEX_NAME}", ""),
        ("", ""),
    ],
)
def test_a_builds_logins_are_those_of_docker_login(home: Path, host: str, who: str) -> None:
    kept = {auth.INDEX_URL: "me:one", "registry.example:5000": "other:two"}
    file = home / ".docker" / "config.json"
    file.parent.mkdir()
    logins = {key: {"auth": base64.b64encode(said.encode()).decode()} for key, said in kept.items()}
    file.write_text(json.dumps({"auths": logins}))
    answer = dict(fields(buildkit_session._login(field(1, host.encode()))))
    assert text(answer.get(1)) == who
