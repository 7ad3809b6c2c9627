"""Verbs around devbox.toml: config, schema, completion."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import click
import msgspec

from devbox import paths, spec, text
from devbox.cli.common import echo, json_option, narrate, page, print_json


@click.group("config")
def config_command() -> None:
    """Show the merged configuration."""


@config_command.command("show")
@json_option
def show(as_json: bool) -> None:
    """Print every value in force and where it comes from."""
    file = spec.find(Path.cwd())
    merged = spec.load(file)
    for sentence in merged.outdated:
        narrate(sentence)
    for key in merged.withheld:
        narrate(f"left out until you trust it with devbox trust: {key}")
    values = list(_leaves(msgspec.to_builtins(merged, enc_hook=_plain)))
    rows = [(key, value, merged.origins.get(key, "default")) for key, value in values]
    if as_json:
        fields = [{"key": k, "value": v, "from": o} for k, v, o in rows]
        print_json("config", file=str(file) if file else None, values=fields)
        return
    echo(f"# project: {file or 'no devbox.toml here or above'}")
    echo(f"# user:    {paths.user_config()}")
    width = max((len(key) for key, _, _ in rows), default=0)
    for key, value, origin in rows:
        line = f"{key.ljust(width)} = {value!r}"
        if origin == "default":
            echo(line, dim=True)
        else:
            echo(f"{line}  # {origin}")


@click.command("schema")
def schema_command() -> None:
    """Print the JSON Schema of devbox.toml, for editors.

    \b
    devbox schema > devbox.schema.json     then, as the first line of devbox.toml:
    #:schema ./devbox.schema.json
    """
    from devbox.spec.schema import schema

    page(msgspec.json.format(msgspec.json.encode(schema())).decode())


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion_command(shell: str) -> None:
    """Print the completion script of SHELL: eval "$(devbox completion bash)"."""
    from click.shell_completion import get_completion_class

    from devbox.cli.main import cli

    made = get_completion_class(shell)
    assert made is not None
    page(made(cli, {}, "devbox", "_DEVBOX_COMPLETE").source())


def _leaves(value: Mapping[str, object], at: str = "") -> Iterator[tuple[str, object]]:
    for key, inner in value.items():
        path = f"{at}.{key}" if at else str(key)
        if path in spec.OURS:
            continue
        if isinstance(inner, dict) and inner:
            yield from _leaves(inner, path)
        elif inner is not None or ".on." not in path:  # there, None is what the box's table says
            yield path, inner


def _plain(value: object) -> str | int:
    """Durations as '30m', sizes in bytes, paths as text."""
    if isinstance(value, spec.Seconds):
        return text.duration(value)
    return int(value) if isinstance(value, spec.Bytes) else str(value)
