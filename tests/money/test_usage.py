"""The bill split into busy, idle, held and unknown, by what boxes noted of themselves."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devbox.box import paths
from devbox.box.history import History
from devbox.box.stream import Stream, _parser
from devbox.box.watchdog import policy as idle
from devbox.box.watchdog.deadline import Moment
from devbox.box.watchdog.digest import EVERY, Digests
from devbox.model import Price
from devbox.money import usage
from devbox.process import Completed
from devbox.spec import Spec
from devbox.state import spending
from devbox.state.store import Store
from devbox.telemetry import usage as fetching
from devbox.telemetry.replay import replay
from devbox.wire.codec import decode
from devbox.wire.messages import Policy, Sample
from devbox.workspace import Workspace
from tests.boxes import close_interval, open_interval
from tests.command_line import Devbox
from tests.core.test_state import a_box
from tests.idle.traces import HOUR, MINUTE, gpu, sample

T0 = 1_790_000_000.0
DOLLAR = 1_000_000


class Kept:
    """What a box would store, in a list."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []

    def append(self, one: Mapping[str, object]) -> bool:
        self.rows.append(dict(one))
        return True

    def close(self) -> None:
        """Nothing to close."""


def watched(seconds: float, busy: Callable[[float], bool], policy: Policy | None = None) -> Kept:
    """A box that was watched for so long from T0: a sample a second, a verdict every five."""
    kept, policy = Kept(), policy or Policy()
    digests = Digests(kept)
    state, verdict = idle.begin(Moment(T0, 0.0)), None
    for second in range(int(seconds)):
        now = Moment(T0 + second, float(second))
        one = sample(gpus=[gpu(90.0 if busy(second) else 0.0)])
        row = {"v": 1, "boot": "b", "seq": second, "t": now.wall, **one}
        state = idle.observe(policy, state, row, now)
        if second % 5 == 0:
            verdict = idle.judge(policy, state, now)
        digests.add(row, verdict)
    return kept


def stored(store: Store, box_id: str, kept: Kept) -> None:
    """As it would have been fetched."""
    from devbox.state.usage import Place

    lines = b"".join(json.dumps(row).encode() + b"\n" for row in kept.rows)
    last = kept.rows[-1]
    place = Place(last["boot"], last["seq"], last["t"])
    store.usage.put(box_id, kept.rows[0]["t"], place, lines)


def test_a_digest_stands_for_half_a_minute_and_the_policy_replays_over_it() -> None:
    kept = watched(HOUR, lambda second: second < 10 * MINUTE or 40 * MINUTE <= second < 41 * MINUTE)
    assert 115 <= len(kept.rows) <= 125
    found = decode(json.dumps(kept.rows[0]).encode(), Sample)
    assert found.use is not None
    assert (found.use.state, found.gpus and found.gpus[0].util) == ("active", 90.0)
    (first, *_) = replay(Policy(after=15 * MINUTE), kept.rows).pauses
    assert first.start == pytest.approx(T0 + 25 * MINUTE, abs=2 * EVERY)
    assert first.end == pytest.approx(T0 + 40 * MINUTE, abs=2 * EVERY)
    found_uses = usage.uses(kept.rows)
    assert [use.kind for use in found_uses] == ["busy", "idle", "busy", "idle"]
    ends = [(use.end - T0) / MINUTE for use in found_uses]
    assert ends == pytest.approx([10, 40, 41, 60], abs=0.6)
    assert [use.begin for use in found_uses[1:]] == [use.end for use in found_uses[:-1]]


def _digest(t: float, state: str = "idle", idle_for: float = 0.0) -> dict[str, Any]:
    return {"t": t, "use": {"state": state, "idle_for": idle_for, "seconds": 30.0}}


def test_what_was_not_watched_is_unknown_and_never_idle() -> None:
    gap = [_digest(T0 + 30), _digest(T0 + 60), _digest(T0 + 1000), _digest(T0 + 1030)]
    assert [tuple(use) for use in usage.uses(gap)] == [
        (T0, T0 + 60, "idle"),
        (T0 + 970, T0 + 1030, "idle"),
    ]
    odd: list[Any] = [
        {"t": "x", "use": {}},
        {"t": T0},
        _digest(T0 + 9),
        _digest(T0 + 5),
        {"t": True},
    ]
    assert usage.uses(odd) == [usage.Use(T0 - 21, T0 + 9, "idle")]
    held = [_digest(T0 + 30, "held"), _digest(T0 + 60, "warned", 5)]
    assert [use.kind for use in usage.uses(held)] == ["held", "busy"]
    assert [use.kind for use in usage.uses([_digest(T0 + 30, "pausing", 99)])] == ["idle"]


_DIGESTS = st.lists(
    st.tuples(
        st.sampled_from([5, 30, 30, 30, 400]),
        st.sampled_from(["active", "idle", "held", "warned", "nonsense"]),
        st.integers(0, 4000),
    ),
    max_size=25,
)


@settings(max_examples=40)
@given(_DIGESTS, st.sampled_from([0, 60]), st.integers(-500, 1500), st.integers(1, 4000))
def test_the_parts_add_up_to_the_ledger(
    digests: list[tuple[int, str, int]], unit: int, begin: int, length: int
) -> None:
    store = Store.open()
    with store.database.write() as connection:
        connection.execute("DELETE FROM intervals")
        connection.execute("DELETE FROM usage")
    kept, at = Kept(), T0
    for seq, (step, state, idle_for) in enumerate(digests):
        at += step
        kept.rows.append({"boot": "b", "seq": seq, **_digest(at, state, idle_for)})
    box = a_box()
    if kept.rows:
        stored(store, box.id, kept)
    for first, last, micro in ((100, 700, DOLLAR), (705, 1203.5, 2 * DOLLAR), (1500, 2000, 7)):
        open_interval(store.ledger, box, Price(micro, unit=unit), T0 + first)
        close_interval(store.ledger, box.id, T0 + last)
    stop = T0 + begin + length
    whole = spending.spent_between(store.database, T0 + begin, stop, stop)
    by_box = usage.by_box(store, T0 + begin, stop)
    slices = [
        spending.Slice(str(n), T0 + begin + n * length / 4, T0 + begin + (n + 1) * length / 4)
        for n in range(4)
    ]
    for splits in (by_box, usage.by_slice(store, slices)):
        parts = [part for split in splits for _, part in split.parts()]
        assert sum(part.micro for part in parts) == pytest.approx(whole, abs=2)
        assert min((part.seconds for part in parts), default=0) > -0.001
    store.close()


def test_another_after_saves_what_the_replay_leaves_off() -> None:
    store = Store.open()
    box = a_box()
    stored(store, box.id, watched(2 * HOUR, lambda s: s < HOUR / 2 or s >= 1.75 * HOUR))
    open_interval(store.ledger, box, Price(6 * DOLLAR), T0)
    close_interval(store.ledger, box.id, T0 + 2 * HOUR)
    found = usage.saved(store, 15 * MINUTE, T0, T0 + 2 * HOUR)
    assert found.cost == pytest.approx(6 * DOLLAR, rel=0.03)  # an hour of the 75 quiet minutes
    assert (found.pauses, found.resumes) == (1, 1)
    assert usage.saved(store, 80 * MINUTE, T0, T0 + 2 * HOUR).cost == 0


class Line:
    """A way to a box whose half is asked in this process."""

    box, is_new = a_box("gpu"), False

    def run(
        self,
        argv: Sequence[str],
        *,
        input: bytes | None = None,
        timeout: float | None = 60.0,
        check: bool = True,
    ) -> Completed:
        told = _parser().parse_args(list(argv[argv.index("stream") + 1 :]))
        out = bytearray()
        stream = Stream(
            paths.root(),
            out.extend,
            now=T0,
            after=told.after,
            history=told.history,
            events_since=told.events_since,
            usage=told.usage,
        )
        stream.step(T0)
        return Completed(0, out.decode(), "")


def test_each_digest_is_fetched_once_and_the_time_in_between_is_waited(home: Path) -> None:
    ws = Workspace(Spec(project="p", root=home), clock=lambda: T0 + 400)
    line, history = Line(), History(paths.root() / "usage")
    rows = watched(20 * MINUTE, lambda _: False).rows
    for row in rows[:10]:
        history.append(row)
    assert fetching.fetch(ws, Line.box, line) == 10
    for row in rows[10:]:
        history.append(row)
    assert fetching.fetch(ws, Line.box, line) == 0
    assert fetching.fetch(ws, Line.box, line, all_=True) == len(rows) - 10
    assert fetching.fetch(ws, Line.box, line, all_=True) == 0
    history.close()
    found = [json.loads(line) for line in ws.store.usage.lines(Line.box.id, 0, 9e9)]
    assert [row["seq"] for row in found] == [row["seq"] for row in rows]


def test_the_verb_tells_idle_money_and_what_is_not_known(devbox: Devbox) -> None:
    store = Store.open()
    open_interval(store.ledger, a_box("old"), Price(DOLLAR), T0)
    close_interval(store.ledger, "id-old", T0 + HOUR)
    box = a_box("gpu")
    stored(store, box.id, watched(HOUR, lambda second: second < HOUR / 2))
    open_interval(store.ledger, box, Price(4 * DOLLAR), T0)
    close_interval(store.ledger, box.id, T0 + HOUR)
    done = devbox("cost", "--idle", "--after", "10m")
    assert done.code == 0
    assert "idle: $2.00 of $5.00; what 1h" in done.out
    assert "idle.after = 10m would have saved $1.3" in done.out
    rows = {row["box"]: row for row in devbox("cost", "--idle", "--json").data["rows"]}
    assert rows["old"]["idle_micro"] == 0
    assert rows["old"]["unknown_micro"] == DOLLAR
    assert devbox("cost", "--idle", "--by", "day").out.count("$") >= 3
    assert devbox("cost", "--idle", "--after", "5s").code == 2
    assert devbox("cost", "--idle", "--by", "job").code == 2
