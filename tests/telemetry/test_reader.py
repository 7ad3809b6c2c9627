"""The place in a stream over many connections, without any."""

from __future__ import annotations

import json
from typing import Any

import pytest

from devbox.errors import SshError
from devbox.telemetry.reader import Message, Reader
from devbox.wire import codec
from devbox.wire.messages import Heartbeat, Sample
from tests.remote.sshd import make_box


def line(boot: str, seq: int, **more: Any) -> bytes:
    return json.dumps({"v": 1, "boot": boot, "seq": seq, "t": seq, **more}).encode() + b"\n"


def event(seq: int) -> bytes:
    body = {"seq": seq, "t": 5, "kind": "k", "message": "m"}
    return json.dumps({"v": 1, "event": body}).encode() + b"\n"


def names(messages: list[Message]) -> list[Any]:
    return [m.position if isinstance(m, Sample) else m for m in messages]


def feed(reader: Reader, data: bytes) -> list[Any]:
    return names(list(reader.feed(data)))


def options(reader: Reader) -> list[str]:
    """What the box half is asked for."""
    remote = reader.words()
    return remote[remote.index("stream") + 1 :]


@pytest.fixture
def reader() -> Reader:
    return Reader(make_box("one"), history=60)


def test_it_asks_for_history_then_for_what_follows(reader: Reader) -> None:
    assert options(reader) == ["--follow", "--history", "60"]
    feed(reader, line("b", 1) + line("b", 2))
    assert options(reader) == ["--follow", "--after", "b:2", "--events-since", "2.000"]
    feed(reader, event(9))
    assert options(reader) == ["--follow", "--after", "b:2", "--events-after", "9"]
    assert options(Reader(make_box("one"), after=("x", 5), follow=False)) == ["--after", "x:5"]
    assert options(Reader(make_box("one"))) == ["--follow"]


def test_every_cut_of_the_bytes_gives_the_same(reader: Reader) -> None:
    data = line("b", 1) + event(1) + b"garbage\n" + line("b", 2) + line("c", 1)
    whole = feed(Reader(make_box("one")), data)
    assert len(whole) == 4
    for cut in range(len(data)):
        fresh = Reader(make_box("one"))
        assert feed(fresh, data[:cut]) + feed(fresh, data[cut:]) == whole


def test_what_comes_again_is_dropped(reader: Reader) -> None:
    feed(reader, line("a", 1) + line("a", 2) + line("b", 1) + event(4))
    again = line("a", 1) + line("a", 2) + line("a", 3) + line("b", 1) + event(4) + event(3)
    assert feed(reader, again) == []
    assert feed(reader, line("b", 2)) == [("b", 2)]
    assert feed(reader, line("b", 2) + line("b", 3)) == [("b", 3)]


def test_a_half_line_of_a_cut_connection_joins_nothing(reader: Reader) -> None:
    feed(reader, line("a", 1) + line("a", 2)[:20])
    reader.words()
    assert feed(reader, line("a", 2)) == [("a", 2)]


def test_an_endless_line_is_skipped_not_kept(reader: Reader) -> None:
    for _ in range(200):
        assert feed(reader, b"x" * 65536) == []
        assert len(reader._rest) <= codec.MAX_LINE + 65536
    assert feed(reader, b"tail of it\n" + line("a", 1)) == [("a", 1)]


def test_waits_grow_and_a_word_resets_them(reader: Reader) -> None:
    assert [reader.ended(255, "", 60.0) for _ in range(9)] == [0, 0.5, 1, 2, 4, 8, 15, 15, 15]
    assert feed(reader, b'{"v":1,"hb":5,"agent":true}\n') == [Heartbeat(5.0, True)]
    # it had worked: perhaps a passing fault
    assert reader.ended(255, "Permission denied", 60.0) == 0


def test_a_box_that_hangs_up_after_each_word_is_not_asked_without_a_pause(reader: Reader) -> None:
    waits = []
    for seq in range(1, 9):
        reader.words()
        assert feed(reader, line("a", seq)) == [("a", seq)]
        waits.append(reader.ended(0, "", 0.1))
    assert waits == [0, 0.5, 1, 2, 4, 8, 15, 15]


@pytest.mark.parametrize(
    ("code", "err", "what"),
    [
        (255, "me@x: Permission denied (publickey).", "does not accept the key"),
        (255, "Host key verification failed.", "the pinned host key"),
        (255, "ssh: Could not resolve hostname devbox-one: x", "address of box one is not known"),
        (2, "python3: can't open file '.devbox-box/devbox-box.pyz'", "does not run"),
        (127, "sh: python3: not found", "does not run"),
    ],
)
def test_what_trying_again_cannot_help_is_raised(
    reader: Reader, code: int, err: str, what: str
) -> None:
    reader.words()
    with pytest.raises(SshError, match=what):
        reader.ended(code, err + "\x1b[31m", 0.1)


def test_a_name_that_is_lost_with_the_network_is_tried_again(reader: Reader) -> None:
    feed(reader, line("a", 1))
    reader.words()
    err = "ssh: Could not resolve hostname one.example: Temporary failure in name resolution"
    assert reader.ended(255, err, 0.1) == 0


@pytest.mark.parametrize("code", [None, 0, 255, -9, 143])
def test_other_ends_are_cuts(reader: Reader, code: int | None) -> None:
    reader.words()
    assert reader.ended(code, "Connection reset by peer", 0.1) == 0
