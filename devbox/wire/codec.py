"""Bytes ↔ messages. A message is a NamedTuple; its annotations say what is accepted:

    bool  int  float        a number is finite, and from 0 to 2^62 or in `Between`
    str                     one line of text for people: cleaned, and cut to 200 or to `Text`
    Word                    text that is used as it is, without NUL; or what matches `Exactly`
    Literal  Optional  Dict[str, X]  Tuple[X, Y]  other messages
    Tuple[X, ...]           members beyond `Most` are left out
    Json                    any JSON, of finite numbers, twenty levels deep

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
    Callable,
    Dict,
    List,
    Literal,
    Mapping,
    NamedTuple,
    Optional,
    Tuple,
    Type,
    TypeVar,
    Union,
    cast,
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
M = TypeVar("M", bound=NamedTuple)
_M2 = TypeVar("_M2", bound=NamedTuple)
_M3 = TypeVar("_M3", bound=NamedTuple)
_M4 = TypeVar("_M4", bound=NamedTuple)
_M5 = TypeVar("_M5", bound=NamedTuple)

Json = Union[None, bool, int, float, str, List["Json"], Dict[str, "Json"]]
JsonObject = Dict[str, Json]
_Read = Callable[[object], object]  # from JSON to a value of one type
_Args = Tuple[object, ...]  # those of a type

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


def encode(message: Union[NamedTuple, Mapping[str, object]]) -> bytes:
    """One message, or an object of plain JSON, as one line."""
    body = {"v": VERSION, **plain(message)} if isinstance(message, tuple) else message
    return json.dumps(body, separators=(",", ":"), allow_nan=False).encode() + b"\n"


@overload
def plain(value: NamedTuple) -> JsonObject: ...
@overload
def plain(value: object) -> Json: ...
def plain(value: object) -> Json:
    """A message, or a value with messages in it, as plain JSON."""
    if value is None or isinstance(value, (str, int, float)):
        return value
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return {name: plain(each) for name, each in zip(value._fields, value)}
    if isinstance(value, (tuple, list)):
        return [each if type(each) is str else plain(each) for each in value]
    if isinstance(value, dict):
        return {name: plain(each) for name, each in value.items()}
    raise TypeError(f"a {type(value).__name__} is no JSON")


@overload
def decode(data: bytes, kind: Type[M], /, *, limit: int = MAX_LINE) -> M: ...
@overload
def decode(
    data: bytes, kind: Type[M], second: Type[_M2], /, *, limit: int = MAX_LINE
) -> Union[M, _M2]: ...
@overload
def decode(
    data: bytes, kind: Type[M], second: Type[_M2], third: Type[_M3], /, *, limit: int = MAX_LINE
) -> Union[M, _M2, _M3]: ...
@overload
def decode(
    data: bytes,
    kind: Type[M],
    second: Type[_M2],
    third: Type[_M3],
    fourth: Type[_M4],
    fifth: Type[_M5],
    /,
) -> Union[M, _M2, _M3, _M4, _M5]: ...
def decode(data: bytes, *kinds: Type[NamedTuple], limit: int = MAX_LINE) -> NamedTuple:
    """The bytes as a message: of the first of `kinds` whose required keys are there, else the
    last. limit: bytes. Unreadable says why they are none."""
    body = load(data, limit)
    kind = next((k for k in kinds[:-1] if _message(k).required <= body.keys()), kinds[-1])
    return convert(body, kind)


def convert(body: object, kind: Type[M]) -> M:
    """As `decode`, of JSON that was read already."""
    if not isinstance(body, dict) or body.get("v", VERSION) != VERSION:
        raise Unreadable("is not an object of version 1")
    return cast(M, _message(kind)(body))


def load(data: bytes, limit: int = MAX_LINE) -> JsonObject:
    """The bytes as a JSON object of any form."""
    if len(data) > limit:
        raise Unreadable(f"is longer than {limit} bytes")
    try:
        body: Json = json.loads(data.decode())
    except (ValueError, RecursionError):
        raise Unreadable("is not JSON") from None
    if not isinstance(body, dict):
        raise Unreadable("is not an object")
    return body


def load_or_none(data: bytes) -> Optional[JsonObject]:
    """As `load`; None where that is not one."""
    try:
        return load(data)
    except Unreadable:
        return None


class _Message:
    """Reads objects as messages of one class. This and the readers below are made once a type."""

    def __init__(self, kind: Type[NamedTuple]) -> None:
        hints = get_type_hints(kind, include_extras=True)
        defaults: Mapping[str, object] = kind._field_defaults
        self._rows = [
            (name, name in defaults, defaults.get(name), *_field(hint))
            for name, hint in hints.items()
        ]
        self._make = kind._make
        self.required = {name for name, has_default, *_ in self._rows if not has_default}

    def __call__(self, value: object) -> NamedTuple:
        if type(value) is not dict:
            raise Unreadable("is not an object")
        found: List[object] = []
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
def _message(kind: Type[NamedTuple]) -> _Message:
    return _Message(kind)


@lru_cache(maxsize=None)
def _reader(hint: object) -> _Read:
    """A function from JSON to a value of that type. None is not for it."""
    notes = getattr(hint, "__metadata__", ())
    kind = get_args(hint)[0] if notes else hint
    if hasattr(kind, "_fields"):
        return _message(cast("Type[NamedTuple]", kind))
    return _MAKERS[get_origin(kind) or kind](get_args(kind), notes[0] if notes else None)


def _field(hint: object) -> Tuple[bool, _Read]:
    """(may it be null, its reader)"""
    args = get_args(hint)
    if get_origin(hint) is not Union:
        return False, _reader(hint)
    return True, _reader(args[0]) if len(args) == 2 else _json


def _number(kind: Union[Type[int], Type[float]]) -> Callable[[_Args, object], _Read]:
    def make(_: _Args, note: object) -> _Read:
        def read(value: object) -> float:
            # NaN fails the comparison, and a huge integer is compared before it is converted.
            if (type(value) is int or type(value) is float) and least <= value <= most:
                number = kind(value)
                if kind is float or number == value:
                    return number
            what = "whole number" if kind is int else "number"
            raise Unreadable(f"is not a {what} from {least:.15g} to {most:.15g}")

        least, most = note if isinstance(note, Between) else Between()
        return read

    return make


def _text(_: _Args, note: object) -> _Read:
    def read(value: object) -> str:
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
    limit, lines = note if isinstance(note, Text) else Text()
    return read


def _choice(names: _Args, _: object) -> _Read:
    def read(value: object) -> str:
        if type(value) is str and value in names:
            return value
        raise Unreadable(f"is none of: {', '.join(map(str, names))}")

    return read


def _flag(value: object) -> bool:
    if type(value) is bool:
        return value
    raise Unreadable("is neither true nor false")


def _list(args: _Args, note: object) -> _Read:
    def read_some(value: object) -> Tuple[object, ...]:
        if type(value) is not list:
            raise Unreadable("is not a list")
        members = value[:most]
        if not nullable:
            try:
                return tuple(map(read, members))
            except Unreadable:
                pass  # read once more, for the place
        return tuple([reads[0](each, at) for at, each in enumerate(members)])

    def read_these(value: object) -> Tuple[object, ...]:
        if type(value) is not list or len(value) != len(reads):
            raise Unreadable(f"is not a list of {len(reads)}")
        return tuple([read(each, at) for at, (read, each) in enumerate(zip(reads, value))])

    most = note.members if isinstance(note, Most) else None
    reads = [_member(each) for each in args if each is not Ellipsis]
    nullable, read = _field(args[0])
    return read_some if args[-1] is Ellipsis else read_these


def _object(args: _Args, note: object) -> _Read:
    def read_all(value: object) -> Dict[object, object]:
        if type(value) is not dict:
            raise Unreadable("is not an object")
        members = list(value.items())[:most]
        return {name(key): read(each, key) for key, each in members}

    most = note.members if isinstance(note, Most) else None
    name, read = _reader(args[0]), _member(args[1])
    return read_all


def _member(hint: object) -> Callable[[object, object], object]:
    nullable, read = _field(hint)

    def read_one(value: object, place: object) -> object:
        if value is None and nullable:
            return None
        try:
            return read(value)
        except Unreadable as error:
            name = clean(str(place), 40).replace("\n", " ")
            error.place = f"[{name}]{error.place}"
            raise

    return read_one


def _json(value: object, depth: int = 0) -> object:
    if depth > _DEEP:
        raise Unreadable("is too deep")
    if isinstance(value, list):
        return [_json(each, depth + 1) for each in value]
    if isinstance(value, dict):
        return {name: _json(each, depth + 1) for name, each in value.items()}
    if isinstance(value, float) and value - value != 0.0:
        raise Unreadable("holds a number that is not finite")
    return value


_MAKERS: Dict[object, Callable[[_Args, object], _Read]] = {
    bool: lambda *_: _flag,
    int: _number(int),
    float: _number(float),
    str: _text,
    Literal: _choice,
    tuple: _list,
    dict: _object,
}
