"""Every message comes through unchanged, and whatever else arrives raises one error only."""

from __future__ import annotations

import json
import math
import re
from typing import (
    Any,
    Literal,
    NamedTuple,
    Optional,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from devbox.wire import checkpoints, files, jobs, messages, notices, setup
from devbox.wire.codec import (
    BIG,
    Between,
    Exactly,
    Json,
    Most,
    Text,
    Unreadable,
    Word,
    clean,
    convert,
    decode,
    encode,
    plain,
)

# A machine that does other work draws its first value slowly. One decoder reads all kinds, so that
# it sees over 2,000 examples in each test below.
PATIENT = settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
KINDS: list[Any] = [
    kind
    for module in (messages, jobs, files, checkpoints, notices, setup)
    for kind in vars(module).values()
    if isinstance(kind, type) and kind.__module__ == module.__name__
]
NAMES = sorted({name for kind in KINDS for name in kind._fields} | {"v"})
MEMBERS = 3
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=MEMBERS)
        | st.dictionaries(st.sampled_from(NAMES) | st.text(), inner, max_size=8)
    ),
    max_leaves=12,
)
#: `from_regex` draws these characters one by one, which is nine tenths of the time here.
PLAIN = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
DRAWN = {
    "[^\\0\ud800-\udfff]*": PLAIN,
    "[^\0\ud800-\udfff]+": PLAIN.filter(bool),
    "(?!-)[^\0\ud800-\udfff]*": PLAIN.filter(lambda text: text[:1] != "-"),
    # bounds of a version
    jobs.VERSIONS: st.lists(
        st.builds(
            "{}{}{}3.{}".format,
            st.sampled_from(["", " "]),
            st.sampled_from(["<", "<=", ">", ">=", "==", "!="]),
            st.sampled_from(["", " "]),
            st.integers(0, 999),
        ),
        max_size=3,
    ).map(",".join),
    "[^=\0\ud800-\udfff]+": PLAIN.map(lambda text: text.replace("=", "") or "A"),
}


def values(hint: Any) -> st.SearchStrategy[Any]:  # noqa: PLR0911 - one a kind of hint
    """What a field with that annotation may hold."""
    notes = getattr(hint, "__metadata__", ())
    hint = hint.__origin__ if notes else hint
    origin, args = get_origin(hint), get_args(hint)
    if hasattr(hint, "_fields"):
        return message(hint)
    if origin is Union and len(args) == 2:
        return st.none() | values(args[0])
    if origin is Literal:
        return st.sampled_from(args)
    if origin is Union:  # Json
        small = st.floats(-BIG, BIG) | st.integers(-(1 << 53), 1 << 53) | st.text()
        return st.none() | small | st.lists(small) | st.dictionaries(st.text(), small)
    if hint is bool:
        return st.booleans()
    if hint is str:
        if notes and isinstance(notes[0], Exactly):
            pattern = notes[0].pattern
            if pattern in DRAWN:
                return DRAWN[pattern]
            return st.from_regex(re.compile(pattern), fullmatch=True)
        note = notes[0] if notes else Text()
        cleaned = st.text().map(lambda text: clean(text, note.limit))
        return cleaned if note.lines else cleaned.map(lambda text: text.replace("\n", " "))
    if hint in (int, float):
        least, most = notes[0] if notes else Between()
        if hint is float:
            return st.floats(least, most)
        return st.integers(math.ceil(least), math.floor(most))
    most = notes[0].members if notes else MEMBERS
    if origin is dict:
        return st.dictionaries(values(args[0]), values(args[1]), max_size=min(MEMBERS, most))
    assert origin is tuple
    if args[-1] is Ellipsis:
        return st.lists(values(args[0]), max_size=min(MEMBERS, most)).map(tuple)
    return st.tuples(*map(values, args))


def message(kind: Any) -> st.SearchStrategy[Any]:
    hints = get_type_hints(kind, include_extras=True)
    return st.builds(kind, **{name: values(hint) for name, hint in hints.items()})


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_message_comes_through_unchanged(kind: Any) -> None:
    @PATIENT
    @given(message(kind))
    def check(sent: Any) -> None:
        line = encode(sent)
        assert line.count(b"\n") == 1
        assert decode(line, kind, limit=1 << 30) == sent

    check()


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_whatever_arrives_raises_one_error_only(kind: Any) -> None:
    # Correct messages of which one field holds anything.
    spoiled = st.tuples(message(kind), st.sampled_from(kind._fields), JSON).map(
        lambda drawn: {**drawn[0]._asdict(), drawn[1]: drawn[2]}
    )

    @PATIENT
    @given(JSON.map(json.dumps).map(str.encode) | st.binary() | spoiled.map(encode_loosely))
    def check(line: bytes) -> None:
        try:
            found = decode(line, kind)
        except Unreadable as error:
            text = str(error)
            assert text == clean(text).replace("\n", " ")
        else:
            assert isinstance(found, kind)
            assert decode(encode(found), kind) == found

    check()


def encode_loosely(fields: dict[str, Any]) -> bytes:
    return json.dumps(fields, default=str).encode()


class Part(NamedTuple):
    sizes: tuple[int, ...] = ()


class Whole(NamedTuple):
    name: Word
    parts: dict[str, Part] = {}  # noqa: RUF012 - never written to
    limit: Optional[float] = 1.0


class Other(NamedTuple):
    at: float


WHOLE = "is not a whole number from 0 to 4.61168601842739e+18"


class Loose(NamedTuple):
    pair: tuple[int, str] = (0, "")
    maybe: tuple[Optional[int], ...] = ()
    anything: dict[str, Json] = {}  # noqa: RUF012 - never written to


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"x" * (1 << 21), "is longer than 1048576 bytes"),
        (b"[" * 100_000, "is not JSON"),
        (b"\xff", "is not JSON"),
        (b"7", "is not an object"),
        (b'{"v":2,"name":"n"}', "is not an object of version 1"),
        (b"{}", "name is missing"),
        (b'{"name":null}', "name is missing"),
        (b'{"name":"a\\u0000"}', "name is not a text of its form"),
        (b'{"name":"n","limit":NaN}', "limit is not a number from 0 to 4.61168601842739e+18"),
        (b'{"name":"n","limit":1e999}', "limit is not a number from 0 to 4.61168601842739e+18"),
        (b'{"name":"n","limit":true}', "limit is not a number from 0 to 4.61168601842739e+18"),
        (
            b'{"name":"n","parts":{"a\\u001b[31m":{"sizes":[1,1.5]}}}',
            "parts[a].sizes[1] is not a whole number from 0 to 4.61168601842739e+18",
        ),
    ],
)
def test_an_error_names_the_place(line: bytes, said: str) -> None:
    with pytest.raises(Unreadable) as caught:
        decode(line, Whole)
    assert str(caught.value) == said


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b'{"pair":[1]}', "pair is not a list of 2"),
        (b'{"pair":"ab"}', "pair is not a list of 2"),
        (
            b'{"maybe":[1,null,"x"]}',
            f"maybe[2] {WHOLE}",
        ),
        (b'{"anything":{"a":[NaN]}}', "anything[a] holds a number that is not finite"),
        (b'{"anything":{"a":%b1%b}}' % (b"[" * 99, b"]" * 99), "anything[a] is too deep"),
    ],
)
def test_an_error_of_what_is_read_loosely_names_the_place(line: bytes, said: str) -> None:
    with pytest.raises(Unreadable) as caught:
        decode(line, Loose)
    assert str(caught.value) == said


def test_what_is_read_loosely_comes_through() -> None:
    line = b'{"pair":[1,"x"],"maybe":[1,null],"anything":{"a":{"b":[1.5,null]}}}'
    found = Loose((1, "x"), (1, None), {"a": {"b": [1.5, None]}})
    assert decode(line, Loose) == found
    assert json.loads(encode(found)) == {"v": 1, **json.loads(line)}
    with pytest.raises(TypeError, match="a set is no JSON"):
        plain({1})


def test_null_is_the_default_unless_it_may_be_null() -> None:
    assert decode(b'{"name":"n","parts":null,"new":1}', Whole) == Whole("n")
    assert decode(b'{"name":"n","limit":null}', Whole).limit is None


def test_the_kind_is_the_first_whose_required_keys_are_there() -> None:
    assert decode(b'{"at":2}', Whole, Other) == Other(2.0)
    assert decode(b'{"name":"n","at":2}', Whole, Other) == Whole("n")
    with pytest.raises(Unreadable, match="at is missing"):
        decode(b"{}", Whole, Other)


def test_lists_are_cut_where_their_bound_says() -> None:
    assert Most(20) in get_type_hints(messages.Verdict, include_extras=True)["reasons"].__metadata__
    reasons = ["r"] * 50
    body = {"state": "idle", "idle_for": 1, "pauses_at": None, "reasons": reasons}
    assert len(convert(body, messages.Verdict).reasons) == 20
