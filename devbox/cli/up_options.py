"""Options of `up` that stand for keys of a box's table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from devbox import spec
from devbox.errors import UsageError
from devbox.spec.provider_settings import BOX_KEYS
from devbox.text import clean, parse_duration, parse_size
from devbox.workspace import Workspace


def changes(wanted: dict[str, Any]) -> dict[str, Any]:
    """Options of `up` that stand for keys of the box's table, as the table would hold them."""
    given = {key: value for key, value in wanted.items() if value not in (None, ())}
    for key in ("provider", "hardware"):
        if repeated := [each for each in given.get(key, ()) if given[key].count(each) > 1]:
            twice = clean(repeated[0], 40)
            raise UsageError(f"--{key} {twice} was given twice", fix="leave one of them out")
    if len(given.get("hardware", ())) == 1:
        given["hardware"] = given["hardware"][0]
    try:
        if "vram" in given:
            given["vram"] = spec.Bytes(parse_size(given["vram"]))
        if "max_uptime" in given:
            given["max_uptime"] = spec.Seconds(parse_duration(given["max_uptime"]))
    except ValueError as error:
        raise UsageError(str(error), fix="devbox up --help") from None
    if listed := given.pop("provider", ()):
        for each in listed:
            spec.settings_type(each)  # refuses one that does not exist
        takers = BOX_KEYS["host"]
        if bool(set(listed) & set(takers)) != ("host" in given):
            raise UsageError(
                f"a box of {takers[0]} is a machine of yours, and --host says which",
                means="nothing was started",
                fix=f"devbox up --provider {takers[0]} --host user@machine",
            )
        given |= {"provider": listed[0], "providers": listed if len(listed) > 1 else ()}
    return given


def without_a_file(ws: Workspace, name: str | None) -> str:
    """Have a box of that name (default: of the folder's) although no devbox.toml has one; the
    name. One of the user's own config is taken as it is there."""
    if name is None and len(ws.spec.boxes) == 1:
        return next(iter(ws.spec.boxes))
    name = name or spec.project_name(Path.cwd())
    if name not in ws.spec.boxes:
        ws.spec = spec.ad_hoc(name)
    return name
