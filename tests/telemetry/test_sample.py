"""Whatever a box sends, nothing harmful comes through, and what does not fit is dropped whole."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from devbox.telemetry.reader import Reader, Unread, parse
from devbox.wire import codec
from devbox.wire.codec import Unreadable, plain
from devbox.wire.messages import BoxEvent, Gpu, Heartbeat, Sample

GOOD: dict[str, Any] = {
    "v": 1, "boot": "b1", "seq": 7, "t": 1795310810.5,
    "cpu": {"util": 12.5, "count": 8, "load1": 0.5},
    "mem": {"used": 10, "total": 20},
    "disk": {"path": "/home", "used": 1, "total": 2, "read_bps": 3, "write_bps": 4},
    "net": {"rx_bps": 5, "tx_bps": 6},
    "ssh": {"sessions": 1, "rx_bytes": 7, "tx_bytes": 8},
    "tty": {"count": 1, "input_at": 1795310800.0},
    "requests": 9, "in_flight": 2, "jobs": ["run-1"], "waiting": ["run-2"],
    "gpus": [{"index": 0, "uuid": "GPU-1", "name": "A10G", "util": 97, "mem_util": 61,
              "mem_used": 5, "mem_total": 6, "power_w": 298.6, "power_limit_w": 300.0, "temp_c": 71,
              "sm_mhz": 1560, "mem_mhz": 6250, "throttle": ["sw_power_cap"], "ecc_errors": 0,
              "mig": False, "lost": True, "xid": 79,
              "processes": [{"pid": 1, "name": "python", "mem_used": 5}]}],
    "processes": [{"pid": 1, "name": "python", "cpu": 99.5, "mem": 11}],
    "use": {"state": "idle", "idle_for": 61.5, "seconds": 30.0},
}  # fmt: skip


def read(body: Any) -> Any:
    return parse(json.dumps(body).encode())


def test_a_good_sample_comes_through_whole() -> None:
    found = read(GOOD)
    assert isinstance(found, Sample)
    assert {"v": 1, **plain(found)} == GOOD


def test_every_leaf_may_be_null_or_missing() -> None:
    bare = read({"v": 1, "boot": "b", "seq": 1, "t": 2})
    nulls = read({**dict.fromkeys(GOOD), "v": 1, "boot": "b", "seq": 1, "t": 2})
    assert bare == nulls == Sample("b", 1, 2.0)
    assert bare.cpu.util is None
    assert bare.gpus is None
    assert read({**GOOD, "gpus": []}).gpus == ()
    gpu = dict.fromkeys(GOOD["gpus"][0])
    assert read({**GOOD, "gpus": [gpu]}).gpus == (Gpu(),)
    assert read({**GOOD, "unknown": "x"}) == read(GOOD)


@pytest.mark.parametrize(
    "bad", ["x", -1, 1e300, True, [], {}, {"util": 1}, math.nan, math.inf, 10**400, "9" * 5000]
)
def test_a_sample_with_a_wrong_leaf_is_dropped_and_told(bad: Any) -> None:
    for body in (
        {**GOOD, "cpu": {"util": bad, "count": 8}},
        {**GOOD, "requests": bad},
        {**GOOD, "gpus": [GOOD["gpus"][0], {"util": bad}]},
        {**GOOD, "processes": [{"pid": 1, "name": "python", "cpu": bad, "mem": 1}]},
    ):
        with pytest.raises(Unreadable):
            read(body)
    reader = Reader()
    spoiled = json.dumps({**GOOD, "requests": bad}).encode()
    lines = [b"Welcome!", spoiled, spoiled, json.dumps(GOOD).encode()]
    told = [message for line in lines for message in reader.feed(line)]
    assert [type(message) for message in told] == [Unread, Sample]
    assert "could not be read" in told[0].why  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "line",
    [
        b"", b"{}", b"[]", b"null", b"\xff\xfe", b"{" * 100_000, b'{"v":1}', b'{"v":2,"boot":"b"}',
        b'{"v":1,"boot":"b","seq":"1","t":1}', b'{"v":1,"boot":"b","seq":1}',
        b'{"v":1,"boot":"-oProxyCommand=x y","seq":1,"t":1}', b'{"v":1,"boot":"","seq":1,"t":1}',
        b'{"v":1,"boot":"../b","seq":1,"t":1}', b'{"v":1,"boot":"b","seq":-1,"t":1}',
        b'{"v":1,"boot":"b\\n","seq":1,"t":1}', b'{"v":1,"boot":"b","seq":1,"t":NaN}',
        b'{"v":1,"hb":"x"}', b'{"v":1,"event":{"seq":1}}', b'{"v":1,"event":7}',
        b'{"v":1,"boot":"b","seq":1,"t":1,"pad":"' + b"x" * codec.MAX_LINE + b'"}',
    ],
)  # fmt: skip
def test_what_is_no_message_is_dropped(line: bytes) -> None:
    with pytest.raises(Unreadable):
        parse(line)


def test_texts_are_harmless_and_short() -> None:
    evil = "\x1b]0;owned\x07\x1b[31mA100\u202e\n" + "x" * 250
    gpu = {"name": evil, "uuid": evil, "throttle": [evil] * 3, "processes": [{"name": "p"}] * 99}
    found = read({**GOOD, "gpus": [gpu] * 99, "jobs": [evil] * 150, "disk": {"path": evil}})
    assert len(found.gpus) == len(found.gpus[0].processes) == 64
    assert len(found.jobs) == 100
    texts = [found.gpus[0].name, found.jobs[0], found.disk.path, found.gpus[0].throttle[0]]
    for text in texts:
        assert text.startswith("A100 x")
        assert len(text) <= 200
        assert text.isprintable()


def test_events_and_heartbeats() -> None:
    body = {"v": 1, "event": {"seq": 3, "t": 9, "kind": "warn\x1b[2J", "message": "m" * 9999}}
    event = read(body)
    assert isinstance(event, BoxEvent)
    assert event.kind == "warn"
    assert len(event.message) == 900
    assert read({"v": 1, "hb": 12.5, "agent": True}) == Heartbeat(12.5, True)
    assert read({"v": 1, "hb": 12.5}) == Heartbeat(12.5, False)
