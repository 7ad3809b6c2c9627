"""The JSON Schema of devbox.toml and of the user's config, made from the structs that read them."""

from __future__ import annotations

import types
import typing
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import msgspec

from devbox.spec.box_tables import BoxSpec
from devbox.spec.convert import OURS
from devbox.spec.provider_settings import BOX_KEYS, PROVIDERS
from devbox.spec.tables import Spec
from devbox.spec.values import Bytes, Seconds
from devbox.text import duration, size

_DURATION = msgspec.Meta(pattern=r"^([0-9]+(\.[0-9]+)?[smhd])+$", examples=["90s", "1h30m"])
_SIZE = msgspec.Meta(pattern=r"^[0-9]+(\.[0-9]+)?\s*([KMGT]i?B?|B)$", examples=["512MB", "40GB"])
#: what users write for them: text with a unit, or 0
_WRITTEN = {
    Seconds: Union[Annotated[str, _DURATION], Literal[0]],
    Bytes: Union[Annotated[str, _SIZE], Literal[0]],
}

_Field = tuple[str, type] | tuple[str, type, object]  # name, type, default


def schema() -> dict[str, Any]:
    """As editors read it. [defaults] takes the keys of a box."""
    made: dict[type, type] = {}
    keys = [_field(f, made) for f in msgspec.structs.fields(Spec) if f.name not in OURS]
    whole = _struct(
        "devbox.toml", Spec.__doc__, [*keys, ("defaults", made[BoxSpec], made[BoxSpec]())]
    )
    found = msgspec.json.schema(whole)
    box = found["$defs"]["BoxSpec"]["properties"]
    box["provider"]["enum"] = box["providers"]["items"]["enum"] = list(PROVIDERS)
    box["on"]["propertyNames"] = {"enum": list(PROVIDERS)}
    for key, takers in BOX_KEYS.items():
        box[key]["description"] = f"of {', '.join(takers)} boxes"
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **found}


def _written(kind: object, made: dict[type, type]) -> Any:
    """The type of a key as users write it. made: the tables that are done already."""
    if kind in _WRITTEN:
        return _WRITTEN[kind]
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        if kind not in made:
            fields = [_field(field, made) for field in msgspec.structs.fields(kind)]
            made[kind] = _struct(kind.__name__, kind.__doc__, fields)
        return made[kind]
    if get_origin(kind) is dict:
        return dict[str, _written(get_args(kind)[1], made)]  # type: ignore[misc]
    if get_origin(kind) is tuple and get_args(kind)[1:] == (...,):
        return tuple[_written(get_args(kind)[0], made), ...]  # type: ignore[misc]
    if get_origin(kind) in (types.UnionType, typing.Union):
        return Union[tuple(_written(one, made) for one in get_args(kind))]
    return kind


def _field(field: msgspec.structs.FieldInfo, made: dict[type, type]) -> _Field:
    kind = _written(field.type, made)
    if field.required:
        return field.name, kind
    default: object = field.default
    if field.default_factory is not msgspec.NODEFAULT:
        default = msgspec.field(default_factory=field.default_factory)
    elif isinstance(default, msgspec.Struct):
        default = kind()
    elif isinstance(default, (Seconds, Bytes)):
        default = shown(default)
    return field.name, kind, default


def shown(value: Seconds | Bytes) -> str | int:
    """A default as users write it."""
    if not value:
        return 0
    return duration(value) if isinstance(value, Seconds) else size(value).replace(".0 ", "")


def _struct(name: str, doc: str | None, fields: list[_Field]) -> type[msgspec.Struct]:
    return msgspec.defstruct(
        name,
        fields,
        namespace={"__doc__": " ".join((doc or "").split())},
        frozen=True,
        kw_only=True,
        forbid_unknown_fields=True,
    )
