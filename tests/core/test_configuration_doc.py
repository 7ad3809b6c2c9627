"""docs/configuration.md and the JSON Schema say what the structs of devbox.toml say."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from devbox.spec import (
    BoxSpec,
    Budget,
    Bytes,
    Checkpoint,
    FixedCost,
    Idle,
    JobSpec,
    OnProvider,
    Seconds,
    Spec,
    Sync,
    Volume,
)
from devbox.spec.convert import OURS, convert
from devbox.spec.provider_settings import BOX_KEYS, PROVIDERS, TABLES
from devbox.spec.schema import schema, shown

DOCS = Path(__file__).parents[2] / "docs"
TEXT = (DOCS / "configuration.md").read_text(encoding="utf-8")
SECTIONS: dict[str, type[msgspec.Struct]] = {
    "[boxes.NAME]": BoxSpec,
    "[boxes.NAME.on.PROVIDER]": OnProvider,
    "[boxes.NAME.volumes.KEY]": Volume,
    "[boxes.NAME.idle]": Idle,
    "[boxes.NAME.sync]": Sync,
    "[checkpoints.NAME]": Checkpoint,
    "[costs.NAME]": FixedCost,
    "[budget]": Budget,
}
#: keys of a box that have a section of their own
_HEADED = {"idle", "sync", "volumes", "on"}


def rows(section: str) -> list[list[str]]:
    """The cells of the section's table, without its head."""
    body = re.split(rf"^##+ `{re.escape(section)}`$", TEXT, flags=re.MULTILINE)[1]
    body = re.split(r"^##", body, flags=re.MULTILINE)[0]
    lines = [line for line in body.splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


@pytest.mark.parametrize("section", SECTIONS)
def test_a_table_has_every_key_with_its_default(section: str) -> None:
    fields = {f.name: f for f in msgspec.structs.fields(SECTIONS[section])}
    named = []
    for keys, default, _ in rows(section):
        names = re.findall(r"`(\w+)`", keys)
        parts = [part.strip() for part in default.split(",")]
        parts = parts if len(parts) == len(names) else parts * len(names)
        for name, part in zip(names, parts, strict=True):
            assert said(fields[name]) == written(part), (section, name, default)
        named += names
    headed = _HEADED if section == "[boxes.NAME]" else set()
    assert sorted(named) == sorted(set(fields) - headed)


def said(field: msgspec.structs.FieldInfo) -> Any:
    """The default in force, as a user would write it; None for nothing."""
    if field.required:
        return "required"
    value = None if field.default is msgspec.NODEFAULT else field.default
    value = shown(value) if isinstance(value, (Seconds, Bytes)) else value
    return value if value or value is False else None


def written(cell: str) -> Any:
    """The default in a cell; None for an empty one, and for one that says where it comes from."""
    if cell == "required":
        return cell
    return json.loads(cell.strip("`")) if cell.startswith("`") else None


def test_the_provider_table_has_every_setting_of_every_provider() -> None:
    found, key = [], ""
    for first, names, _ in rows("[providers.NAME]"):
        key = first.strip("`") or key
        found += [(key, name) for name in names.split(", ")]
    settings = [(k, name) for name, table in TABLES.items() for k in table.__struct_fields__]
    assert sorted(found) == sorted(settings)


def test_the_keys_that_only_one_provider_reads_say_so() -> None:
    said = {keys.strip("`"): meaning for keys, _, meaning in rows("[boxes.NAME]")}
    assert {key: said[key].split(":")[0] for key in BOX_KEYS} == {
        key: ", ".join(takers) for key, takers in BOX_KEYS.items()
    }


@pytest.mark.parametrize("kind", [Spec, Budget])
def test_every_other_key_is_named(kind: type[msgspec.Struct]) -> None:
    named = {part for name in re.findall(r"`\[?([a-z_][\w.]*)", TEXT) for part in name.split(".")}
    assert set(kind.__struct_fields__) - set(OURS) - named == set()


def test_the_schema_that_is_shipped_is_the_one_in_force() -> None:
    shipped = json.loads((DOCS / "devbox.schema.json").read_text(encoding="utf-8"))
    assert shipped == json.loads(msgspec.json.encode(schema())), (
        "write it again: devbox schema > docs/devbox.schema.json"
    )


@pytest.mark.parametrize("kind", [*SECTIONS.values(), *TABLES.values(), JobSpec])
def test_the_schema_has_the_keys_and_defaults_of_the_structs(kind: type[msgspec.Struct]) -> None:
    found = schema()["$defs"][kind.__name__]
    assert list(found["properties"]) == list(kind.__struct_fields__)
    assert found["additionalProperties"] is False
    required = {field.name for field in msgspec.structs.fields(kind) if field.required}
    assert set(found["required"]) == required
    defaults = {
        key: each["default"]
        for key, each in found["properties"].items()
        if each.get("default") is not None
    }
    values = {**dict.fromkeys(required, "x"), **defaults}
    assert convert(values, kind, Path("x"), "") == kind(**dict.fromkeys(required, "x"))


def test_the_schema_knows_the_providers() -> None:
    box = schema()["$defs"]["BoxSpec"]["properties"]
    assert box["provider"]["enum"] == list(PROVIDERS)
    assert box["space"]["description"] == "of hf-space boxes"


@pytest.mark.parametrize(
    ("key", "good", "bad"),
    [
        ("max_uptime", ["8h", "1h30m", "90s", "1.5h"], ["8", "h", "8 h", "2w", ""]),
        ("memory", ["40GB", "512MB", "1.5TB", "40 GiB", "7B"], ["40", "GB", "1PB", ""]),
    ],
)
def test_the_schema_takes_the_texts_that_devbox_takes(
    key: str, good: list[str], bad: list[str]
) -> None:
    either = schema()["$defs"]["BoxSpec"]["properties"][key]["anyOf"]
    pattern = next(each["pattern"] for each in either if "pattern" in each)
    assert [bool(re.search(pattern, text)) for text in (*good, *bad)] == [True] * len(good) + [
        False
    ] * len(bad)
    for text in good:
        convert({key: text}, BoxSpec, Path("x"), "")
