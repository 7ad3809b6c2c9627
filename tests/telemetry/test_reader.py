"""The place in a stream over many connections, without any."""

from __future__ import annotations

import json
from typing import Any

import pytest

from devbox.telemetry.reader import Message, Reader
from devbox.wire.messages import Sample


def line(boot: str, seq: int, **more: Any) -> bytes:
    return json.dumps({"v": 1, "boot": boot, "seq": seq, "t": seq, **more}).encode() + b"\n"


def event(seq: int) -> bytes:
    body = {"seq": seq, "t": 5, "kind": "k", "message": "m"}
    return json.dumps({"v": 1, "event": body}).encode() + b"\n"


def names(messages: list[Message]) -> list[Any]:
    return [m.position if isinstance(m, Sample) else m for m in messages]


def feed(reader: Reader, data: bytes) -> list[Any]:
    return names([message for one in data.split(b"\n") for message in reader.feed(one)])


def options(reader: Reader) -> list[str]:
    """What the box half is asked for."""
    remote = reader.words()
    return remote[remote.index("stream") + 1 :]


@pytest.fixture
def reader() -> Reader:
    return Reader(history=60)


def test_it_asks_for_history_then_for_what_follows(reader: Reader) -> None:
    assert options(reader) == ["--follow", "--history", "60"]
    feed(reader, line("b", 1) + line("b", 2))
    assert options(reader) == ["--follow", "--after", "b:2", "--events-since", "2.000"]
    feed(reader, event(9))
    assert options(reader) == ["--follow", "--after", "b:2", "--events-after", "9"]
    assert options(Reader(after=("x", 5), follow=False)) == ["--after", "x:5"]
    assert options(Reader()) == ["--follow"]


def test_what_comes_again_is_dropped(reader: Reader) -> None:
    feed(reader, line("a", 1) + line("a", 2) + line("b", 1) + event(4))
    again = line("a", 1) + line("a", 2) + line("a", 3) + line("b", 1) + event(4) + event(3)
    assert feed(reader, again) == []
    assert feed(reader, line("b", 2)) == [("b", 2)]
    assert feed(reader, line("b", 2) + line("b", 3)) == [("b", 3)]
