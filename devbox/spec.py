"""devbox.toml ↔ typed spec. Unknown keys are refused; an error names file, key and the fix.

Values come from four places, later ones win: built-in defaults, the user config's [defaults],
the project's [defaults], the box's own table. `load` keeps where each value came from.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec

from devbox import names, paths, secrets, text
from devbox.errors import NotFound, SpecError, UsageError

FILE_NAME = "devbox.toml"
T = TypeVar("T")


class Seconds(float):
    """A duration in seconds, written '30m' or '1h30m' in TOML."""


class Bytes(int):
    """A size in bytes, written '40GB' in TOML."""


class _Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A TOML table: keys that are not listed are an error."""


class Idle(_Table, frozen=True):
    """When a box counts as idle. after: quiet time until pause; warn: how long before that the
    warning appears; stuck_after: VRAM held without any GPU use for this long counts as idle;
    gpu_util, cpu_util: per cent below which hardware is quiet; ssh_bytes: bytes a minute, in
    either direction, below which a connection is quiet; save_command: run on the box before a
    pause, at most save_timeout long."""

    enabled: bool = True
    after: Seconds = Seconds(1800)
    warn: Seconds = Seconds(300)
    stuck_after: Seconds = Seconds(7200)
    gpu_util: float = 5.0
    cpu_util: float = 20.0
    ssh_bytes: Bytes = Bytes(2048)
    save_command: tuple[str, ...] = ()
    save_timeout: Seconds = Seconds(120)


class Sync(_Table, frozen=True):
    """What is kept in step. path: local folder, relative to devbox.toml; remote: folder on the
    box, relative to the workdir; include wins over exclude and ignore files; down: patterns
    fetched by `sync down` and before a pause."""

    path: str = "."
    remote: str = "."
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    ignore_files: bool = True
    down: tuple[str, ...] = ()
    before_pause: bool = True


class Volume(_Table, frozen=True):
    """Storage that outlives the box. source: the provider's own name of it."""

    source: str
    mount: str
    read_only: bool = False


class BoxSpec(_Table, frozen=True):
    """What a person asks for in one [boxes.NAME] table."""

    provider: str = "local"
    hardware: str = ""
    vram: Bytes = Bytes(0)
    max_price: float | None = None
    image: str = "cpu"
    workdir: str = "work"
    max_uptime: Seconds = Seconds(8 * 3600)
    host: str = ""
    space: str = ""
    region: str = ""
    cpu: float | None = None
    memory: Bytes = Bytes(0)
    pause_command: tuple[str, ...] = ()
    idle: Idle = Idle()
    sync: Sync = Sync()
    volumes: dict[str, Volume] = {}
    secrets: dict[str, str] = {}
    env: dict[str, str] = {}


class Budget(_Table, frozen=True):
    """Ceilings in dollars; None is no ceiling. Checked before anything billed is started."""

    daily: float | None = None
    monthly: float | None = None
    per_box: float | None = None


class Argument(_Table, frozen=True):
    """One argument of a job."""

    type: Literal["str", "int", "float", "bool", "choice"] = "str"
    default: str | int | float | bool | None = None
    choices: tuple[str, ...] = ()
    help: str = ""
    required: bool = False


class Input(_Table, frozen=True):
    """A local file or folder a job reads. patterns: what counts as an item in a folder."""

    patterns: tuple[str, ...] = ("*",)
    help: str = ""
    required: bool = True


class JobSpec(_Table, frozen=True):
    """A job.toml, or a [jobs.NAME] table of devbox.toml. Exactly one of module (a module on the
    box with run(job)) and command (an argument list) is set; command items may hold {argument}
    and {input} names. outputs: name → path inside the run's output folder."""

    name: str = ""
    summary: str = ""
    module: str = ""
    command: tuple[str, ...] = ()
    args: dict[str, Argument] = {}
    inputs: dict[str, Input] = {}
    outputs: dict[str, str] = {}
    checkpoints: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    image: str = "cpu"
    vram: Bytes = Bytes(0)
    timeout: Seconds | None = None
    box: str = ""


class Checkpoint(_Table, frozen=True):
    """Model weights: where they come from and where they go on the box."""

    source: str
    path: str
    sha256: str = ""
    size: int | None = None
    secret: str = ""


class ProviderConfig(_Table, frozen=True):
    """[providers.NAME]: connection settings; which keys apply is the provider's to say."""

    endpoint: str = ""
    ssh_gateway: str = ""
    server_url: str = ""
    namespace: str = ""
    environment: str = ""
    docker_host: str = ""
    price: float | None = None
    pause_token: str = ""


class Spec(_Table, frozen=True):
    """A whole devbox.toml with the user config under it. root: the folder it was found in."""

    project: str = ""
    boxes: dict[str, BoxSpec] = {}
    jobs: dict[str, JobSpec] = {}
    checkpoints: dict[str, Checkpoint] = {}
    providers: dict[str, ProviderConfig] = {}
    budget: Budget = Budget()
    editor: str = ""
    root: Path = Path()
    origins: dict[str, str] = {}

    def box(self, name: str | None) -> tuple[str, BoxSpec]:
        """The named box, or the only one. NotFound lists what there is."""
        if name is None and len(self.boxes) == 1:
            return next(iter(self.boxes.items()))
        if name is not None and name in self.boxes:
            return name, self.boxes[name]
        known = ", ".join(self.boxes) or "none"
        asked = "no box was named" if name is None else f"no box {text.clean(name, 60)!r}"
        raise NotFound(
            f"{asked} in {FILE_NAME} (boxes: {known})",
            fix="name one of them, or create the file with: devbox init",
        )

    def provider(self, name: str) -> ProviderConfig:
        """Settings of one provider; hf-space and hf-job share [providers.hf]."""
        return self.providers.get(
            "hf" if name.startswith("hf-") else name, self.providers.get(name, ProviderConfig())
        )


def find(start: Path) -> Path | None:
    """The nearest devbox.toml at or above `start`."""
    for folder in (start, *start.parents):
        if (folder / FILE_NAME).is_file():
            return folder / FILE_NAME
    return None


def load(path: Path | None, user: Path | None = None) -> Spec:
    """The merged spec of `path` (None: only the user config) over the user config.

    SpecError names the file, the key and the fix.
    """
    user = paths.user_config() if user is None else user
    layers = [(p, _read(p)) for p in (user, path) if p is not None and p.is_file()]
    merged: dict[str, Any] = {"boxes": {}}
    origins: dict[str, str] = {}
    defaults: dict[str, Any] = {}
    for file, document in layers:
        _overlay(defaults, document.pop("defaults", {}), origins, file, ("defaults",))
        _overlay(merged, document, origins, file, ())
    source = path or user
    _expect_tables(merged, source)
    for name, table in merged["boxes"].items():
        _check(names.name, name, source, f"boxes.{name}")
        merged["boxes"][name] = _below(table, defaults, origins, f"boxes.{name}", "defaults")
    root = path.parent.absolute() if path else Path.cwd()
    sections: dict[str, Any] = {
        "boxes": _each(merged.pop("boxes"), BoxSpec, source, "boxes"),
        "jobs": _each(merged.pop("jobs", {}), JobSpec, source, "jobs"),
        "checkpoints": _each(merged.pop("checkpoints", {}), Checkpoint, source, "checkpoints"),
        "providers": _each(merged.pop("providers", {}), ProviderConfig, source, "providers"),
        "budget": _convert(merged.pop("budget", {}), Budget, source, "budget"),
    }
    for reserved in ("root", "origins"):
        if reserved in merged:
            raise _unknown(source, "", reserved, Spec)
    spec = _convert(merged, Spec, source, "")
    spec = msgspec.structs.replace(spec, root=root, origins=origins, **sections)
    if not spec.project:
        spec = msgspec.structs.replace(spec, project=project_name(root))
    _validate(spec, source)
    return spec


def decode_job(document: dict[str, Any], source: Path) -> JobSpec:
    """A job.toml's content as a JobSpec. SpecError as in `load`."""
    job = _convert(document, JobSpec, source, "")
    _validate_job(job.name, job, source, "")
    return job


def read_toml(path: Path) -> dict[str, Any]:
    """A TOML file's content. SpecError names the line when it does not parse."""
    return _read(path)


def encode_box(box: BoxSpec) -> bytes:
    """The frozen form kept in the database."""
    return msgspec.json.encode(box, enc_hook=_plain)


def decode_box(blob: bytes) -> BoxSpec:
    """Inverse of `encode_box`; values are seconds and bytes as numbers."""
    return msgspec.json.decode(blob, type=BoxSpec, dec_hook=_hook)


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SpecError(f"{path}: not valid TOML: {error}", fix=f"edit {path}") from error
    except OSError as error:
        raise SpecError(f"{path}: cannot be read: {error.strerror}") from error


def _overlay(
    base: dict[str, Any], over: Any, origins: dict[str, str], file: Path, at: tuple[str, ...]
) -> None:
    if not isinstance(over, dict):
        raise SpecError(f"{file}: {'.'.join(at)} must be a table", fix=f"edit {file}")
    for key, value in over.items():
        if isinstance(value, dict):
            existing = base.get(key)
            base[key] = dict(existing) if isinstance(existing, dict) else {}
            _overlay(base[key], value, origins, file, (*at, key))
        else:
            base[key] = value
            origins[".".join((*at, key))] = str(file)


def _below(
    table: dict[str, Any], under: dict[str, Any], origins: dict[str, str], at: str, from_: str
) -> dict[str, Any]:
    """`table` with `under` filled in where it says nothing."""
    out = dict(table)
    for key, value in under.items():
        here, there = f"{at}.{key}", f"{from_}.{key}"
        if isinstance(value, dict) and isinstance(out.get(key, {}), dict):
            out[key] = _below(out.get(key, {}), value, origins, here, there)
        elif key not in out:
            out[key] = value
            origins[here] = f"{origins.get(there, '')} [defaults]"
    return out


def _expect_tables(merged: dict[str, Any], source: Path) -> None:
    for section in ("boxes", "jobs", "checkpoints", "providers"):
        tables = merged.get(section, {})
        if not isinstance(tables, dict):
            raise SpecError(f"{source}: {section} must be a table", fix=f"write [{section}.NAME]")
        for name, table in tables.items():
            if not isinstance(table, dict):
                raise SpecError(
                    f"{source}: {section}.{text.clean(name, 40)} must be a table",
                    fix=f"write it as [{section}.{text.clean(name, 40)}]",
                )


def _each(tables: dict[str, Any], kind: type[T], source: Path, at: str) -> dict[str, T]:
    return {name: _convert(table, kind, source, f"{at}.{name}") for name, table in tables.items()}


def _convert(table: Any, kind: type[T], source: Path, at: str) -> T:
    try:
        return msgspec.convert(table, kind, dec_hook=_hook)
    except msgspec.ValidationError as error:
        message, _, where = str(error).partition(" - at `$")
        inner = where.rstrip("`").lstrip(".").replace("[...]", "")
        key = ".".join(part for part in (at, inner) if part)
        unknown = re.search(r"unknown field `(.*)`", message)
        if unknown:
            owner: Any = kind
            for part in filter(None, inner.split(".")):
                owner = getattr(owner, "__annotations__", {}).get(part, owner)
            raise _unknown(source, key, unknown[1], _table_class(owner)) from None
        raise SpecError(
            f"{source}: {text.clean(key, 200) or 'top level'}: {text.clean(message, 200)}",
            fix=f"edit {source}; `devbox config show` prints what is in force",
        ) from None


def _table_class(owner: Any) -> type[msgspec.Struct]:
    found = globals().get(owner.split("[")[0], Spec) if isinstance(owner, str) else owner
    return found if isinstance(found, type) and issubclass(found, msgspec.Struct) else Spec


def _unknown(source: Path, at: str, key: str, kind: type[msgspec.Struct]) -> SpecError:
    close = difflib.get_close_matches(key, kind.__struct_fields__, n=1)
    where = f"{text.clean(at, 100)}." if at else ""
    listing = ", ".join(f for f in kind.__struct_fields__ if f not in ("root", "origins"))
    fix = f"did you mean {close[0]!r}?" if close else f"the keys here are: {listing}"
    return SpecError(f"{source}: unknown key {where}{text.clean(key, 60)}", fix=fix)


def _hook(kind: type, value: Any) -> Any:
    if kind is Seconds:
        return Seconds(text.parse_duration(value) if isinstance(value, str) else value)
    if kind is Bytes:
        return Bytes(text.parse_size(value) if isinstance(value, str) else value)
    raise NotImplementedError(kind)  # why: msgspec's contract for a type the hook does not know


def _plain(value: Any) -> Any:
    return float(value) if isinstance(value, float) else int(value)


def project_name(folder: Path) -> str:
    """A valid project name made from a folder's."""
    slug = re.sub(r"[^a-z0-9]+", "-", folder.absolute().name.lower()).strip("-")[:40].strip("-")
    return slug if slug and slug[0].isalpha() else f"p-{slug}".strip("-")[:40]


def _check(
    rule: Callable[..., str], value: str, source: Path, key: str, what: str | None = None
) -> None:
    try:
        rule(value, what) if what else rule(value)
    except UsageError as error:
        raise SpecError(
            f"{source}: {text.clean(key, 100)}: {error.what}", fix=error.fix or f"edit {source}"
        ) from error


def _validate(spec: Spec, source: Path) -> None:
    _check(names.name, spec.project, source, "project", "project name")
    for name, box in spec.boxes.items():
        at = f"boxes.{name}"
        _check(names.remote_path, box.workdir, source, f"{at}.workdir", "workdir")
        _check(names.remote_path, box.sync.remote, source, f"{at}.sync.remote")
        for key, reference in box.secrets.items():
            _check(names.env_name, key, source, f"{at}.secrets.{key}")
            _check(secrets.check, reference, source, f"{at}.secrets.{key}")
        for key in box.env:
            _check(names.env_name, key, source, f"{at}.env.{key}")
        for key, volume in box.volumes.items():
            _check(names.remote_path, volume.mount, source, f"{at}.volumes.{key}.mount")
        if box.max_uptime <= 0 or box.idle.after <= 0:
            raise SpecError(f"{source}: {at}: max_uptime and idle.after must be above 0")
    for name, job in spec.jobs.items():
        _check(names.name, name, source, f"jobs.{name}", "job name")
        _validate_job(name, job, source, f"jobs.{name}")
    for name, checkpoint in spec.checkpoints.items():
        at = f"checkpoints.{name}"
        _check(names.remote_path, checkpoint.path, source, f"{at}.path")
        if checkpoint.secret:
            _check(secrets.check, checkpoint.secret, source, f"{at}.secret")


def _validate_job(name: str, job: JobSpec, source: Path, at: str) -> None:
    if bool(job.module) == bool(job.command):
        raise SpecError(
            f"{source}: job {text.clean(name, 40)}: set exactly one of module and command",
            fix='for your own program: command = ["python", "main.py"]',
        )
    for output, path in job.outputs.items():
        _check(names.inner_path, path, source, f"{at}.outputs.{output}".lstrip("."))
