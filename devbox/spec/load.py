"""Find, read, merge and check devbox.toml and the user config."""

from __future__ import annotations

import codecs
import copy
import math
import re
import tomllib
from pathlib import Path

import msgspec

from devbox import names, paths, text
from devbox.errors import SpecError
from devbox.spec import trust
from devbox.spec.box_tables import BoxSpec
from devbox.spec.checkpoints import Checkpoint
from devbox.spec.convert import (
    OURS,
    check,
    convert,
    each,
    unknown,
    validate,
    validate_job,
)
from devbox.spec.job_tables import JobSpec, ServiceSpec
from devbox.spec.placement import defaults_of, placed
from devbox.spec.provider_settings import Providers
from devbox.spec.tables import FILE_NAME, Budget, FixedCost, Notify, Publish, Spec

#: old names of keys of an idle table, which are read until 1.0
_IDLE_BEFORE = {"stuck_after": "idle_vram_after"}
_MOST_BYTES = 1 << 20
_DEEPEST = 32


def find(start: Path) -> Path | None:
    """The nearest devbox.toml at or above `start`."""
    for folder in (start, *start.parents):
        if (folder / FILE_NAME).is_file():
            return folder / FILE_NAME
    return None


def load(path: Path | None, user: Path | None = None) -> Spec:
    """The merged spec of `path` (None: only the user config) over the user config. Settings of
    the project that need the user's trust and do not have it are withheld (see `spec.trust`).

    SpecError names the file, the key and the fix. NotTrusted for a file of another user.
    """
    user = paths.user_config() if user is None else user
    own = _read(user) if user.is_file() else {}
    if path is None or not path.is_file():
        return _merged([(user, own)], path, user)
    project = _read(path)
    found, lines = _sensitive(path, project, own)
    trusted = trust.is_trusted(path, lines)
    if trust.OWNER in lines and not trusted:
        raise trust.refusal(path, {trust.OWNER: lines[trust.OWNER]})
    whole = _merged([(user, own), (path, project)], path, user)
    if trusted:
        return whole
    left = _merged([(user, own), (path, trust.without(project, found))], path, user)
    return msgspec.structs.replace(left, withheld=lines)


def asked(path: Path, user: Path | None = None) -> trust.Lines:
    """The lines of a project's file that need the user's trust, whether they have it or not.
    SpecError as in `load`."""
    user = paths.user_config() if user is None else user
    own = _read(user) if user.is_file() else {}
    project = _read(path)
    _merged([(user, own), (path, project)], path, user)
    return _sensitive(path, project, own)[1]


def ad_hoc(name: str) -> Spec:
    """The spec of a folder without a devbox.toml, as if one had a box of that name and no more:
    [defaults] of the user config count for it. UsageError for a name that is none."""
    user = paths.user_config()
    own = _read(user) if user.is_file() else {}
    return _merged([(user, own), (user, {"boxes": {names.name(name): {}}})], None, user)


def trust_file(path: Path) -> trust.Lines:
    """Trust what a project's file asks for as it is now; the lines."""
    lines = asked(path)
    trust.record(path, lines)
    return lines


def parse(content: str, path: Path, user: Path | None = None) -> Spec:
    """The merged spec of a devbox.toml that is not written yet, as if all of it were trusted.
    SpecError as in `load`."""
    user = paths.user_config() if user is None else user
    own = _read(user) if user.is_file() else {}
    return _merged([(user, own), (path, _decoded(content.encode(), path))], path, user)


def _sensitive(
    path: Path, project: dict[str, object], own: dict[str, object]
) -> tuple[list[tuple[str, ...]], trust.Lines]:
    """Keys of the settings that need trust, and all lines to be trusted, with the owner's."""
    found = trust.sensitive(project, path.parent.absolute(), own)
    foreign = trust.owner(path)
    lines = {trust.OWNER: foreign} if foreign else {}
    return list(found), lines | {trust.line(key): shown for key, shown in found.items()}


def _merged(layers: list[tuple[Path, dict[str, object]]], path: Path | None, user: Path) -> Spec:
    merged: dict[str, object] = {"boxes": {}}
    origins: dict[str, str] = {}
    defaults: dict[str, object] = {}
    outdated: list[str] = []
    for file, written in layers:
        document = _renamed(written, file, outdated)
        _overlay(defaults, document.get("defaults", {}), origins, file, ("defaults",))
        rest = {key: value for key, value in document.items() if key != "defaults"}
        _overlay(merged, rest, origins, file, ())
    source = path or user
    _expect_tables(merged, source)
    merged.pop("budget", None)
    boxes = merged.pop("boxes")
    assert isinstance(boxes, dict)
    for name, table in boxes.items():
        check(names.name, name, source, f"boxes.{name}")
        under = defaults_of(table, defaults)
        whole = _below(table, under, origins, f"boxes.{name}", "defaults")
        boxes[name] = placed(name, table, whole, source)
    root = path.parent.absolute() if path else Path.cwd()
    sections: dict[str, object] = {
        "boxes": each(boxes, BoxSpec, source, "boxes"),
        "jobs": each(merged.pop("jobs", {}), JobSpec, source, "jobs"),
        "services": each(merged.pop("services", {}), ServiceSpec, source, "services"),
        "checkpoints": each(merged.pop("checkpoints", {}), Checkpoint, source, "checkpoints"),
        "providers": convert(merged.pop("providers", {}), Providers, source, "providers"),
        **_budgets(layers, path),
        "notify": convert(merged.pop("notify", {}), Notify, source, "notify"),
        "costs": each(merged.pop("costs", {}), FixedCost, source, "costs"),
        "publish": convert(merged.pop("publish", {}), Publish, source, "publish"),
    }
    for reserved in OURS:
        if reserved in merged:
            raise unknown(source, "", reserved, Spec)
    spec = convert(merged, Spec, source, "")
    sections |= {"root": root, "file": path, "origins": origins, "outdated": tuple(outdated)}
    spec = msgspec.structs.replace(spec, **sections)
    if not spec.project:
        spec = msgspec.structs.replace(spec, project=project_name(root))
    validate(spec, source)
    return spec


def _budgets(layers: list[tuple[Path, dict[str, object]]], path: Path | None) -> dict[str, Budget]:
    """The budgets of the project and of the user: neither covers the other, since both count."""
    found = {"budget": Budget(), "user_budget": Budget()}
    for file, document in layers:
        table = convert(document.get("budget", {}), Budget, file, "budget")
        if file != path:
            found["user_budget"] = table
            continue
        if table.end_unpausable:
            raise SpecError(
                f"{file}: budget.end_unpausable ends boxes, which only your own config may ask for",
                fix=f"move it to [budget] of {paths.user_config()}",
            )
        found["budget"] = table
    project, user = found["budget"], found["user_budget"]
    if project.ask_above is None:  # a question, not a limit: the project's own comes first
        found["budget"] = msgspec.structs.replace(project, ask_above=user.ask_above)
    return found


def _renamed(document: dict[str, object], file: Path, outdated: list[str]) -> dict[str, object]:
    """A document by today's names of keys. outdated: gets a sentence for each old one."""
    document = copy.deepcopy(document)
    boxes = document.get("boxes")
    tables = {"defaults": document.get("defaults")}
    if isinstance(boxes, dict):
        tables |= {f"boxes.{name}": table for name, table in boxes.items()}
    for at, table in tables.items():
        idle = table.get("idle") if isinstance(table, dict) else None
        for old, new in _IDLE_BEFORE.items():
            if isinstance(idle, dict) and old in idle:
                idle.setdefault(new, idle.pop(old))
                outdated.append(
                    f"{file}: {at}.idle.{old} is {new} now; the old name is read until 1.0"
                )
    return document


def decode_job(document: dict[str, object], source: Path) -> JobSpec:
    """A job.toml's content as a JobSpec. SpecError as in `load`."""
    job = convert(document, JobSpec, source, "")
    validate_job(job.name, job, source, "")
    return job


def decode_service(document: dict[str, object], source: Path) -> ServiceSpec:
    """A service.toml's content as a ServiceSpec. SpecError as in `load`."""
    service = convert(document, ServiceSpec, source, "")
    validate_job(service.name, service, source, "")
    return service


def read_toml(path: Path) -> dict[str, object]:
    """A TOML file's content. SpecError names the line when it does not parse."""
    return _read(path)


def project_name(folder: Path) -> str:
    """A valid project name made from a folder's."""
    slug = re.sub(r"[^a-z0-9]+", "-", folder.absolute().name.lower()).strip("-")[:40].strip("-")
    return slug if slug and slug[0].isalpha() else f"p-{slug}".strip("-")[:40]


def _read(path: Path) -> dict[str, object]:
    fix = f"edit {path}"
    try:
        with path.open("rb") as stream:
            data = stream.read(_MOST_BYTES + 1)
    except OSError as error:
        raise SpecError(f"{path}: cannot be read: {error.strerror}", fix=fix) from error
    return _decoded(data, path)


def _decoded(data: bytes, path: Path) -> dict[str, object]:
    fix = f"edit {path}"
    if len(data) > _MOST_BYTES:
        raise SpecError(f"{path}: larger than {_MOST_BYTES >> 10} KB", fix=fix)
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise SpecError(f"{path}: is UTF-16 text, and TOML is UTF-8", fix=f"save {path} as UTF-8")
    try:
        document = tomllib.loads(data.removeprefix(codecs.BOM_UTF8).decode())
    except (tomllib.TOMLDecodeError, ValueError) as error:
        # ValueError: not UTF-8, or a number with more digits than Python reads
        said = text.clean(str(error), 300)
        raise SpecError(f"{path}: not valid TOML: {said}", fix=fix) from error
    except RecursionError:
        raise SpecError(f"{path}: tables or lists are nested too deeply", fix=fix) from None
    _require_finite(document, path, ())
    return document


def _require_finite(value: object, path: Path, at: tuple[str, ...]) -> None:
    """inf and nan are valid TOML, and no setting of ours."""
    if len(at) > _DEEPEST:
        raise SpecError(f"{path}: tables or lists are nested too deeply", fix=f"edit {path}")
    if isinstance(value, dict):
        for key, inner in value.items():
            _require_finite(inner, path, (*at, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            _require_finite(inner, path, (*at, str(index)))
    elif isinstance(value, float) and not math.isfinite(value):
        where = text.clean(".".join(at), 200)
        raise SpecError(
            f"{path}: {where}: {value} is not a number", fix="leave it out for no limit"
        )


def _overlay(
    base: dict[str, object], over: object, origins: dict[str, str], file: Path, at: tuple[str, ...]
) -> None:
    if not isinstance(over, dict):
        raise SpecError(f"{file}: {'.'.join(at)} must be a table", fix=f"edit {file}")
    for key, value in over.items():
        if isinstance(value, dict):
            existing = base.get(key)
            inside = dict(existing) if isinstance(existing, dict) else {}
            _overlay(inside, value, origins, file, (*at, key))
            base[key] = inside
        else:
            base[key] = value
            origins[".".join((*at, key))] = str(file)


def _below(
    table: dict[str, object], under: dict[str, object], origins: dict[str, str], at: str, from_: str
) -> dict[str, object]:
    """`table` with `under` filled in where it says nothing."""
    out = dict(table)
    for key, value in under.items():
        here, there = f"{at}.{key}", f"{from_}.{key}"
        own = out.get(key, {})
        if isinstance(value, dict) and isinstance(own, dict):
            out[key] = _below(own, value, origins, here, there)
        elif key not in out:
            out[key] = value
            origins[here] = f"{origins.get(there, '')} [defaults]"
    return out


def _expect_tables(merged: dict[str, object], source: Path) -> None:
    for section in ("boxes", "jobs", "services", "checkpoints", "providers", "costs"):
        tables = merged.get(section, {})
        if not isinstance(tables, dict):
            raise SpecError(
                f"{source}: {section} must be a table",
                fix=f"write it as a table, such as [{section}.dev]",
            )
        for name, table in tables.items():
            if not isinstance(table, dict):
                raise SpecError(
                    f"{source}: {section}.{text.clean(name, 40)} must be a table",
                    fix=f"write it as [{section}.{text.clean(name, 40)}]",
                )
