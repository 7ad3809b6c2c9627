"""Which settings of a project's devbox.toml need the user's trust, and what the user trusted.

A project comes from anywhere: a clone, an archive, a shared folder. Settings that decide where
credentials go, that reach outside the project's folder, or that devbox runs by itself are honoured
from the user's own config file, or from a project file that was trusted. Trust is given to the
values of exactly these settings: when one changes, it has to be given again.
"""

from __future__ import annotations

import hashlib
import json
import os
import pwd
import shlex
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from devbox import paths
from devbox.errors import NotTrusted, SpecError
from devbox.files import locked, our_uids, write_atomic
from devbox.text import clean

#: a setting's key, such as providers.hf.endpoint → its value as it is shown
Lines = dict[str, str]
#: key of the line that stands for a file which belongs to another user
OWNER = "owner"

_CONNECTION = ("endpoint", "git_endpoint", "ssh_gateway", "server_url", "docker_host")
#: providers whose boxes are this computer or a machine of the user's
_HERE = ("local", "ssh")
_NAMED = 4  # keys in the first line of the refusal
_Key = tuple[str, ...]
_Setting = tuple[_Key, object, str]  # with its value, and what is shown after that


def sensitive(
    document: Mapping[str, object], root: Path, own: Mapping[str, object]
) -> dict[_Key, str]:
    """Key path → shown value of each setting in a project's document that needs trust.

    root: the project's folder. own: the user's own document; what it says itself needs none.
    """
    everything = _all(document, root, own)
    return {key: _shown(value) + note for key, value, note in everything if _at(own, key) != value}


def line(key: _Key) -> str:
    """A key path as it is shown, such as providers.hf.endpoint."""
    return ".".join(_shown(part) for part in key)


def without(document: Mapping[str, object], keys: Iterable[_Key]) -> dict[str, object]:
    """The document less these settings; the one given stays as it is."""
    left = dict(document)
    for *above, last in keys:
        table = left
        for part in above:
            inside = table[part]
            assert isinstance(inside, dict)
            table[part] = inside = dict(inside)
            table = inside
        table.pop(last)
    return left


def owner(file: Path) -> str:
    """The other user who owns the file or its folder, or a link to it; '' when it is ours or
    root's. As in git's safe.directory, root through sudo also accepts the user who called it."""
    ours = {0, *our_uids()}
    for look in (os.lstat, os.stat):
        for path in (file, file.parent):
            uid = look(path).st_uid
            if uid not in ours:
                return _user(uid)
    return ""


def is_trusted(file: Path, lines: Lines) -> bool:
    """Whether the user trusted exactly these lines of this file."""
    return not lines or _read().get(_name(file)) == _digest(lines)


def record(file: Path, lines: Lines) -> None:
    """Trust these lines of this file, in place of what was trusted of it before."""
    with locked(_store().with_suffix(".lock")):
        trusted = _read()
        trusted[_name(file)] = _digest(lines)
        write_atomic(_store(), json.dumps(trusted, indent=1), mode=0o600)


def revoke(file: Path) -> bool:
    """Trust nothing of this file any more. False when nothing of it was trusted."""
    with locked(_store().with_suffix(".lock")):
        trusted = _read()
        if trusted.pop(_name(file), None) is None:
            return False
        write_atomic(_store(), json.dumps(trusted, indent=1), mode=0o600)
        return True


def refusal(file: Path, lines: Lines) -> NotTrusted:
    """The error that shows the lines and names the command."""
    keys = list(lines)
    named = ", ".join(keys[:_NAMED]) + (f" and {len(keys) - _NAMED} more" * (len(keys) > _NAMED))
    what = f"{clean(str(file))} has settings that need your trust (devbox trust): {named}"
    if OWNER in lines:
        what = f"{clean(str(file))} or its folder belongs to another user, {lines[OWNER]}"
    return NotTrusted(
        what,
        means="\n".join(
            [
                *(f"  {key} = {value}" for key, value in lines.items()),
                "nothing was contacted, changed or started with them",
            ]
        ),
        fix=f"if you trust them: devbox trust --yes {shlex.quote(str(file.parent))}",
        file=file,
        lines=lines,
    )


def _all(
    document: Mapping[str, object], root: Path, own: Mapping[str, object]
) -> Iterator[_Setting]:
    for name, table in _tables(document, "providers"):
        for setting in _CONNECTION:
            if setting in table:
                yield ("providers", name, setting), table[setting], ""
        if table.get("pause_token"):
            yield ("providers", name, "pause_token"), table["pause_token"], ""
    if document.get("notify"):
        yield ("notify",), document["notify"], ""
    limit, ours = (_at(each, ("budget", "ask_above")) for each in (document, own))
    if isinstance(limit, (int, float)) and isinstance(ours, (int, float)) and limit > ours:
        yield ("budget", "ask_above"), limit, ""
    yield from _of_references(document, root)
    places: list[tuple[_Key, object]] = [(("defaults",), document.get("defaults"))]
    places += [(("boxes", name), table) for name, table in _tables(document, "boxes")]
    for at, box in places:
        if isinstance(box, dict):
            for key, value, note in _of_box_and_providers(box, root):
                yield (*at, *key), value, note
            save = _at(box, ("idle", "save_command"))
            if save and _is_here(at, document, own):
                yield (*at, "idle", "save_command"), save, ""
            if box.get("setup") and _is_here(at, document, own):
                yield (*at, "setup"), box["setup"], ""
            remote = _at(box, ("sync", "remote"))
            absolute = isinstance(remote, str) and remote.startswith("/")
            if absolute and _is_here(at, document, own):
                yield (*at, "sync", "remote"), remote, ""


def _of_references(document: Mapping[str, object], root: Path) -> Iterator[_Setting]:
    """Secrets of checkpoints and services, what is sent from outside the project, and jobs that
    run although nobody types anything."""
    for name, table in _tables(document, "jobs"):
        if table.get("schedule"):
            yield ("jobs", name, "schedule"), table["schedule"], ""
    for section, setting in (("checkpoints", "secret"), ("services", "token")):
        for name, table in _tables(document, section):
            outside = _outside_source(table, root)
            if outside:  # with the whole table, its secret too
                yield (section, name), table["source"], f" → {_shown(outside)}"
            elif table.get(setting):
                source = f" → {_shown(table['source'])}" if "source" in table else ""
                yield (section, name, setting), table[setting], source


def _outside_source(table: Mapping[str, object], root: Path) -> str:
    """Where a checkpoint's source on this computer leads, when that is outside the project."""
    source = table.get("source")
    local = isinstance(source, str) and source.startswith((".", "/", "~"))
    return _outside(str(source), root) if local else ""


def _is_here(at: _Key, document: Mapping[str, object], own: Mapping[str, object]) -> bool:
    """Whether a box's table, as it will be merged, may be of this computer or a machine of the
    user's. Defaults apply to boxes of any."""
    places = [(document, at), (own, at), (document, ("defaults",)), (own, ("defaults",))]
    for where, key in places if at != ("defaults",) else ():
        several, one = _at(where, (*key, "providers")), _at(where, (*key, "provider"))
        named = several if isinstance(several, list) and several else [one]
        if named[0]:
            return any(each in _HERE for each in named)
    return True


def _of_box_and_providers(table: Mapping[str, object], root: Path) -> Iterator[_Setting]:
    yield from _of_box(table, root)
    for provider, own in _tables(table, "on"):
        for key, value, note in _of_box(own, root):
            yield ("on", provider, *key), value, note


def _of_box(table: Mapping[str, object], root: Path) -> Iterator[_Setting]:
    for setting in ("host", "pause_command", "dotfiles", "forward_agent", "schedule"):
        if table.get(setting):
            yield (setting,), table[setting], ""
    for name, reference in _items(table.get("secrets")):
        yield ("secrets", name), reference, ""
    for key in (("sync", "path"), ("image",)):
        value = _at(table, key)
        if isinstance(value, str) and (key[0] == "sync" or value.startswith((".", "/", "~"))):
            outside = _outside(value, root)
            if outside:
                yield key, value, f" → {_shown(outside)}"
    for name, volume in _items(table.get("volumes")):
        source = volume.get("source") if isinstance(volume, dict) else None
        if isinstance(source, str) and source.startswith((".", "/", "~")):
            yield ("volumes", name), volume, ""


def _outside(path: str, root: Path) -> str:
    """Where a path of the file leads when that is outside the project's folder, else ''."""
    try:
        there = Path(os.path.realpath(root / Path(path).expanduser()))
    except (ValueError, RuntimeError):
        return "a path that cannot be resolved"
    return "" if there.is_relative_to(os.path.realpath(root)) else str(there)


def _tables(document: Mapping[str, object], section: str) -> list[tuple[str, dict[str, object]]]:
    found = _items(document.get(section))
    return [(name, table) for name, table in found if isinstance(table, dict)]


def _items(table: object) -> list[tuple[str, object]]:
    return list(table.items()) if isinstance(table, dict) else []


def _at(document: object, key: _Key) -> object:
    for part in key:
        document = document.get(part) if isinstance(document, dict) else None
    return document


def _digest(lines: Lines) -> str:
    return hashlib.sha256(json.dumps(sorted(lines.items())).encode()).hexdigest()


def _name(file: Path) -> str:
    return os.path.realpath(file)


def _store() -> Path:
    return paths.home() / "trusted.json"


def _read() -> dict[str, str]:
    try:
        found = json.loads(_store().read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise SpecError(
            f"{_store()} cannot be read: {clean(str(error), 200)}",
            means="no project is trusted until it can be",
            fix=f"remove it, and trust your projects again: rm {shlex.quote(str(_store()))}",
        ) from error
    return found if isinstance(found, dict) else {}


def _shown(value: object) -> str:
    """One line that differs whenever the value does, harmless on a terminal."""
    if isinstance(value, str) and value.isprintable() and not value.startswith('"'):
        return value
    return json.dumps(value, default=str)


def _user(uid: int) -> str:
    try:
        return f"{pwd.getpwuid(uid).pw_name} (uid {uid})"
    except KeyError:
        return f"uid {uid}"
