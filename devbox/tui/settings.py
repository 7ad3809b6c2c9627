"""The dashboard's own settings: DEVBOX_HOME/ui.toml.

theme = "devbox-dark"        # or any theme of the palette's list
readonly = false
[keys]
pause = "f5"                 # an action's id = its keys, comma-separated
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from devbox import paths, spec
from devbox.errors import SpecError
from devbox.files import write_atomic
from devbox.text import clean

_DEFAULT_THEME = "devbox-dark"


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """keys: action id → keys, comma-separated."""

    theme: str = _DEFAULT_THEME
    readonly: bool = False
    keys: dict[str, str] = {}


def file() -> Path:
    return paths.home() / "ui.toml"


def load() -> Settings:
    """SpecError names the file and what is wrong with it; without a file the defaults hold."""
    path = file()
    if not path.is_file():
        return Settings()
    document = spec.read_toml(path)
    try:
        found = msgspec.convert(document, Settings)
    except msgspec.ValidationError as error:
        raise SpecError(
            f"{path}: {clean(str(error), 200)}",
            fix="its keys are: theme, readonly, [keys]",
        ) from error
    _check(found, path)
    return found


def save_theme(theme: str) -> None:
    """Remember the theme; the rest of the file stays as it is."""
    path = file()
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    table = next((i for i, line in enumerate(lines) if line.lstrip().startswith("[")), len(lines))
    kept = [
        line for i, line in enumerate(lines) if i >= table or not line.lstrip().startswith("theme")
    ]
    write_atomic(path, "\n".join([f'theme = "{theme}"', *kept]) + "\n")


def _check(found: Settings, path: Path) -> None:
    from devbox.tui.actions import ACTIONS, BY_ID

    for name in found.keys:
        if name not in BY_ID:
            raise SpecError(
                f"{path}: [keys] has no action {clean(name, 40)!r}",
                fix=f"the actions are: {', '.join(sorted(BY_ID))}",
            )
    taken: dict[str, str] = {}
    for action in ACTIONS:
        for key in _split(found.keys.get(action.id, action.keys)):
            if not key:
                raise SpecError(f"{path}: [keys] {action.id} names no key", fix='such as "f5"')
            if key in taken:
                raise SpecError(
                    f"{path}: the key {clean(key, 40)} would mean both {taken[key]} and "
                    f"{action.id}",
                    fix=f"give {taken[key]} another key in [keys] too",
                )
            taken[key] = action.id


def _split(keys: object) -> list[str]:
    return [key.strip() for key in str(keys).split(",")]
