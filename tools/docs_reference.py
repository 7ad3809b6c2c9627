"""The generated part of the docs site: a page for each group of verbs, from click, and one with
each key of devbox.toml, from the structs that read it."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator
from typing import Any

import click

from devbox.cli.main import GROUPS, cli
from devbox.spec.schema import schema


def pages() -> dict[str, str]:
    """File name → Markdown."""
    found = {f"cli-{group.lower()}.md": _group(group) for group in GROUPS}
    return {**found, "keys.md": _keys()}


def _group(group: str) -> str:
    parts = [f"# {group}: {', '.join(GROUPS[group])}"]
    root = click.Context(cli, info_name="devbox")
    for verb in GROUPS[group]:
        command = cli.get_command(root, verb)
        assert command is not None
        parts += _command(command, click.Context(command, root, verb), "##")
    return "\n\n".join(parts) + "\n"


def _command(command: click.Command, context: click.Context, heading: str) -> Iterator[str]:
    yield f"{heading} `{context.command_path}`"
    yield _code(" ".join([context.command_path, *command.collect_usage_pieces(context)]))
    yield from _prose(command.help or "")
    options = [
        found for each in command.params if (found := each.get_help_record(context)) and found[1]
    ]
    if options:
        rows = [_row(f"`{option}`", said) for option, said in options]
        yield "\n".join(["| option | what it does |", "|---|---|", *rows])
    yield from _prose(command.epilog or "")
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            assert child is not None
            yield from _command(child, click.Context(child, context, name), heading + "#")


def _prose(text: str) -> Iterator[str]:
    """What click shows as it is (after a backspace character) is code; the rest is paragraphs."""
    for part in inspect.cleandoc(text).split("\n\n"):
        if part.startswith("\b"):
            yield _code(inspect.cleandoc(part.removeprefix("\b\n")))
        elif part:
            yield _escaped(" ".join(part.split()))


def _keys() -> str:
    tables = schema()["$defs"]
    parts = [
        "# Keys of devbox.toml",
        "Each table with its keys, the type of each and its default. "
        "[Configuration](../configuration.md) says what they mean. `devbox schema` prints the same "
        "for editors.",
    ]
    for name, at in _places(tables):
        rows = ["| key | type | default |", "|---|---|---|"]
        required = tables[name]["required"]
        for key, found in tables[name]["properties"].items():
            default = "required" if key in required else _default(found.get("default"))
            said = f" ({found['description']})" if "description" in found else ""
            rows.append(_row(f"`{key}`", _kind(found) + said, default))
        parts += [f"## `{at}`", "\n".join(rows)]
    return "\n\n".join(parts) + "\n"


def _places(tables: dict[str, Any]) -> list[tuple[str, str]]:
    """Each struct and where in the file it stands, from the top down; the first place of each."""
    places = {"devbox.toml": "devbox.toml"}
    rest = ["devbox.toml"]
    while rest:
        above = rest.pop(0)
        for key, found in tables[above]["properties"].items():
            many = found.get("additionalProperties")
            for one in (found, *found.get("anyOf", ()), many if isinstance(many, dict) else {}):
                name = one.get("$ref", "").removeprefix("#/$defs/")
                if name and name not in places:
                    parent = places[above].strip("[]") + "." if above != "devbox.toml" else ""
                    places[name] = f"[{parent}{key}{'.NAME' if one is many else ''}]"
                    rest.append(name)
    return list(places.items())


def _kind(found: dict[str, Any]) -> str:
    """A type in the words of TOML."""
    if "anyOf" in found:
        kinds = [_kind(one) for one in found["anyOf"] if one.get("type") != "null"]
        return " or ".join(dict.fromkeys(kind for kind in kinds if kind != "`0`"))
    if "enum" in found:
        return ", ".join(f"`{each}`" for each in found["enum"])
    if found.get("examples"):
        return "duration" if "90s" in found["examples"] else "size"
    kind = "table" if "$ref" in found else found["type"]
    if kind == "array":
        return f"list of {_kind(found['items'])}"
    if kind == "object":
        inner = _kind(found["additionalProperties"])
        return "tables by name" if inner == "table" else f"table of {inner}"
    return {"string": "text", "boolean": "`true` or `false`"}.get(kind, str(kind))


def _default(value: object) -> str:
    if value is False or (value and not isinstance(value, dict)):
        return f"`{json.dumps(value)}`"
    return ""


def _row(*cells: str) -> str:
    return f"| {' | '.join(cell if cell[:1] == '`' else _escaped(cell) for cell in cells)} |"


def _escaped(text: str) -> str:
    """Words of a help, harmless in Markdown."""
    return text.replace("<", "&lt;").replace("|", "\\|").replace("*", "\\*").replace("[", "\\[")


def _code(text: str) -> str:
    return f"```\n{text}\n```"
