"""Where the box of a table may live: its provider or providers, checked as they are written.
[defaults] are for boxes of all providers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from devbox import text
from devbox.errors import SpecError
from devbox.spec.box_tables import OnProvider
from devbox.spec.convert import convert, refuse_repeats
from devbox.spec.provider_settings import BOX_KEYS, PROVIDERS


def defaults_of(table: Mapping[str, object], defaults: Mapping[str, object]) -> dict[str, object]:
    """What of [defaults] is for a box with that table: where it says itself where it lives, they
    do not."""
    out = set()
    if "provider" in table:
        out = {"providers", "on", "choose"}
    elif "providers" in table:
        out = {"provider"}
    return {key: value for key, value in defaults.items() if key not in out}


def placed(
    name: str, own: dict[str, object], merged: dict[str, object], source: Path
) -> dict[str, object]:
    """The merged table of a box, with `provider` as the first of `providers` where it has several.
    own: what the box's own table says. SpecError for providers that do not exist or are listed
    twice, for settings of one that is not listed, and for a key of the box's own table that only
    other providers read."""
    at = f"{source}: boxes.{name}"
    several = merged.get("providers")
    listed = [merged.get("provider", "local")]
    if isinstance(several, list):
        if "provider" in merged:
            raise SpecError(f"{at} has both provider and providers", fix="leave one of them out")
        refuse_repeats(several, source, f"boxes.{name}.providers", "them in order of preference")
        listed = several
        merged = {**merged, "provider": several[0]}
    for provider in listed:
        _refuse_unknown(provider, f"{at}.{'providers' if several else 'provider'}")
    _refuse_foreign(own, listed, name, at)
    tables = own.get("on")
    for provider, table in tables.items() if isinstance(tables, dict) else ():
        inside = f"{at}.on.{text.clean(provider, 40)}"
        _refuse_unknown(provider, inside)
        if several is None or provider not in listed:
            raise SpecError(
                f"{inside}: {provider} is not one of its providers ({', '.join(map(str, listed))})",
                fix=f"add it to providers in [boxes.{name}], or leave the table out",
            )
        convert(table, OnProvider, source, f"boxes.{name}.on.{provider}")
        _refuse_foreign(table, [provider], name, inside)
    on = merged.get("on")
    if isinstance(on, dict):
        merged = {**merged, "on": {key: table for key, table in on.items() if key in listed}}
    return merged


def _refuse_unknown(provider: object, at: str) -> None:
    if provider not in PROVIDERS:
        asked = text.clean(str(provider), 40)
        close = text.nearest(str(provider), PROVIDERS)
        raise SpecError(
            f"{at}: there is no provider {asked!r}",
            fix=f"did you mean {close!r}?" if close else f"use one of: {', '.join(PROVIDERS)}",
        )


def _refuse_foreign(
    table: Mapping[str, object], listed: Sequence[object], name: str, at: str
) -> None:
    for key, takers in BOX_KEYS.items():
        if table.get(key) and not set(takers) & set(listed):
            raise SpecError(
                f"{at}.{key} is a key of {takers[0]} boxes, and {name} is a "
                f"{' or '.join(map(str, listed))} box",
                fix=f'leave {key} out, or set provider = "{takers[0]}" in [boxes.{name}]',
            )
