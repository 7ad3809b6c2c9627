"""Bytes ↔ messages. A message is a NamedTuple; its annotations say what is accepted:

    bool  int  float        a number is finite, and from 0 to 2^62 or in `Between`
    str                     one line of text for people: cleaned, and cut to 200 or to `Text`
    Word                    text that is used as it is, without NUL; or what matches `Exactly`
    Literal  Optional  Dict[str, X]  Tuple[X, Y]  other messages
    Tuple[X, ...]           members beyond `Most` are left out
    Any                     any JSON, of finite numbers, twenty levels deep

A key that is missing or null is the default, where there is one; unknown keys are ignored. A
message with anything else that does not fit is `Unreadable` as a whole: it is dropped and told,
not repaired. Whatever arrives, `decode` raises nothing else.
"""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import (
    Annotated,
    Any,
    Dict,
    Literal,
    NamedTuple,
    Optional,
    Tuple,
    Type,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    overload,
)

VERSION = 1
LATEST = 4_102_444_800.0  # 2100-01-01: no clock that can be believed says more
BIG = float(1 << 62)
MAX_LINE = 1 << 20  # bytes; a longer line from a box is dropped, not buffered
_DEEP = 20
M = TypeVar("M", bound=Tuple[Any, ...])

# Whole escape sequences first (CSI, OSC and friends, two-byte), then any control left over,
# then the invisible direction changers that can make text read as something else. Text, because
# most programs that import this never compile them.
_ESCAPES = (
    r"\x1b\[[0-?]*[ -/]*[@-~]"
    r"|\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\|$)"
    r"|\x1b[ -/]*[0-~]"
    r"|\x9b[0-?]*[ -/]*[@-~]"
)
_CONTROLS = (
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f"
    r"\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)


def clean(text: str, limit: int = 2000) -> str:
    """Untrusted text made harmless for a terminal: escape sequences, control characters (but
    tab and newline) and direction overrides removed, cut to `limit` characters with an ellipsis."""
    if len(text) <= limit and text.isprintable():
        return text  # nothing that is removed below is printable
    cut = text[: limit * 4 + 64]
    out = re.sub(_CONTROLS, "", re.sub(_ESCAPES, "", cut.replace("\r\n", "\n")))
    return out if len(out) <= limit else out[: max(0, limit - 1)] + "…"


class Unreadable(ValueError):
    """What arrived is not the message it should be; the text says where and why."""

    place = ""

    def __str__(self) -> str:
        return f"{self.place.lstrip('.')} {self.args[0]}".lstrip()


class Between(NamedTuple):
    """Bounds of a number, both included."""

    least: float = 0.0
    most: float = BIG


class Text(NamedTuple):
    """The most characters of a text for people; lines: newlines stay, and each line is cleaned by
    itself, so that an escape sequence ends where its line does."""

    limit: int = 200
    lines: bool = False


class Exactly(NamedTuple):
    """A regular expression that all of a text matches; the text is used as it is."""

    pattern: str


class Most(NamedTuple):
    """How many members of a list or an object are taken."""

    members: int


Word = Annotated[str, Exactly("[^\\0\ud800-\udfff]*")]
Time = Annotated[float, Between(0, LATEST)]  # unix seconds
Number = Annotated[float, Between(-BIG, BIG)]


def encode(message: object) -> bytes:
    """One message, or an object of plain JSON, as one line."""
    body = message if isinstance(message, dict) else {"v": VERSION, **plain(message)}
    return json.dumps(body, separators=(",", ":"), allow_nan=False).encode() + b"\n"


def plain(value: object) -> Any:
    """A message, or a value with messages in it, as plain JSON."""
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return {name: plain(each) for name, each in zip(value._fields, value)}
    if isinstance(value, (tuple, list)):
        return [each if type(each) is str else plain(each) for each in value]
    if isinstance(value, dict):
        return {name: plain(each) for name, each in value.items()}
    return value


@overload
def decode(data: bytes, kind: Type[M], /, *, limit: int = MAX_LINE) -> M: ...
@overload
def decode(data: bytes, *kinds: object, limit: int = MAX_LINE) -> Any: ...
def decode(data: bytes, *kinds: Any, limit: int = MAX_LINE) -> Any:
    """The bytes as a message: of the first of `kinds` whose required keys are there, else the
    last. limit: bytes. Unreadable says why they are none."""
    body = load(data, limit)
    kind = next((k for k in kinds[:-1] if _reader(k).required <= body.keys()), kinds[-1])
    return convert(body, kind)


def convert(body: Any, kind: Type[M]) -> M:
    """As `decode`, of JSON that was read already."""
    if not isinstance(body, dict) or body.get("v", VERSION) != VERSION:
        raise Unreadable("is not an object of version 1")
    found: M = _reader(kind)(body)
    return found


def load(data: bytes, limit: int = MAX_LINE) -> Dict[str, Any]:
    """The bytes as a JSON object of any form."""
    if len(data) > limit:
        raise Unreadable(f"is longer than {limit} bytes")
    try:
        body = json.loads(data.decode())
    except (ValueError, RecursionError):
        raise Unreadable("is not JSON") from None
    if not isinstance(body, dict):
        raise Unreadable("is not an object")
    return body


def load_or_none(data: bytes) -> Optional[Dict[str, Any]]:
    """As `load`; None where that is not one."""
    try:
        return load(data)
    except Unreadable:
        return None


class _Message:
    """Reads objects as messages of one class. This and the readers below are made once a type."""

    def __init__(self, kind: Any) -> None:
        hints = get_type_hints(kind, include_extras=True)
        self._rows = [
            (name, name in kind._field_defaults, kind._field_defaults.get(name), *_field(hint))
            for name, hint in hints.items()
        ]
        self._make = kind._make
        self.required = {name for name, has_default, *_ in self._rows if not has_default}

    def __call__(self, value: object) -> Any:
        if type(value) is not dict:
            raise Unreadable("is not an object")
        found = []
        for name, has_default, default, nullable, read in self._rows:
            item = value.get(name)
            if item is not None:
                try:
                    found.append(read(item))
                except Unreadable as error:
                    error.place = f".{name}{error.place}"
                    raise
            elif nullable and name in value:
                found.append(None)
            elif has_default:
                found.append(default)
            else:
                raise Unreadable(f"{name} is missing")
        return self._make(found)


@lru_cache(maxsize=None)
def _reader(hint: Any) -> Any:
    """A function from JSON to a value of that type. None is not for it."""
    notes = getattr(hint, "__metadata__", ())
    kind = hint.__origin__ if notes else hint
    if hasattr(kind, "_fields"):
        return _Message(kind)
    return _MAKERS[get_origin(kind) or kind](get_args(kind), *notes)


def _field(hint: object) -> Any:
    """(may it be null, its reader)"""
    args = get_args(hint)
    if get_origin(hint) is Union:
        return True, _reader(args[0])
    return hint is Any, _reader(hint)


def _number(kind: Any) -> Any:
    def make(_: Any, note: Any = (0.0, BIG)) -> Any:
        def read(value: Any) -> Any:
            # NaN fails the comparison, and a huge integer is compared before it is converted.
            is_number = type(value) is kind or type(value) is int or type(value) is float
            if is_number and least <= value <= most:
                number = kind(value)
                if kind is float or number == value:
                    return number
            what = "whole number" if kind is int else "number"
            raise Unreadable(f"is not a {what} from {least:.15g} to {most:.15g}")

        least, most = note
        return read

    return make


def _text(_: Any, note: Any = (200, False)) -> Any:
    def read(value: Any) -> str:
        if type(value) is not str:
            raise Unreadable("is not text")
        if len(value) <= limit and value.isprintable():
            return value
        if lines:
            return "\n".join([clean(line, limit) for line in value.split("\n")])[:limit]
        return clean(value, limit).replace("\n", " ")

    def read_word(value: object) -> str:
        if type(value) is str and matches(value):
            return value
        raise Unreadable("is not a text of its form")

    if isinstance(note, Exactly):
        matches = re.compile(note.pattern).fullmatch
        return read_word
    limit, lines = note
    return read


def _choice(names: Any) -> Any:
    def read(value: Any) -> str:
        if type(value) is str and value in names:
            return value
        raise Unreadable(f"is none of: {', '.join(names)}")

    return read


def _flag(value: object) -> bool:
    if type(value) is bool:
        return value
    raise Unreadable("is neither true nor false")


def _list(args: Any, note: Any = None) -> Any:
    def read_some(value: Any) -> Any:
        if type(value) is not list:
            raise Unreadable("is not a list")
        members = value[: note and note.members]
        if not nullable:
            try:
                return tuple(map(read, members))
            except Unreadable:
                pass  # read once more, for the place
        return tuple([reads[0](each, at) for at, each in enumerate(members)])

    def read_these(value: object) -> Any:
        if type(value) is not list or len(value) != len(reads):
            raise Unreadable(f"is not a list of {len(reads)}")
        return tuple([read(each, at) for at, (read, each) in enumerate(zip(reads, value))])

    reads = [_member(each) for each in args if each is not Ellipsis]
    nullable, read = _field(args[0])
    return read_some if args[-1] is Ellipsis else read_these


def _object(args: Any, note: Any = None) -> Any:
    def read_all(value: Any) -> Any:
        if type(value) is not dict:
            raise Unreadable("is not an object")
        members = list(value.items())[: note and note.members]
        return {name(key): read(each, key) for key, each in members}

    name, read = _reader(args[0]), _member(args[1])
    return read_all


def _member(hint: object) -> Any:
    nullable, read = _field(hint)

    def read_one(value: object, place: object) -> Any:
        if value is None and nullable:
            return None
        try:
            return read(value)
        except Unreadable as error:
            name = clean(str(place), 40).replace("\n", " ")
            error.place = f"[{name}]{error.place}"
            raise

    return read_one


def _any(value: object, depth: int = 0) -> Any:
    if depth > _DEEP:
        raise Unreadable("is too deep")
    if isinstance(value, list):
        return [_any(each, depth + 1) for each in value]
    if isinstance(value, dict):
        return {name: _any(each, depth + 1) for name, each in value.items()}
    if isinstance(value, float) and value - value != 0.0:
        raise Unreadable("holds a number that is not finite")
    return value


_MAKERS: Dict[Any, Any] = {
    Any: lambda _: _any,
    bool: lambda _: _flag,
    int: _number(int),
    float: _number(float),
    str: _text,
    Literal: _choice,
    tuple: _list,
    dict: _object,
}
