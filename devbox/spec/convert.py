"""TOML values → typed tables, with errors that name file, key and the fix."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar, get_args, get_origin

import msgspec

from devbox import names, secrets, text
from devbox.box.address import is_readable
from devbox.described import described
from devbox.errors import SpecError, UsageError
from devbox.spec import checkpoints
from devbox.spec.box_tables import BoxSpec
from devbox.spec.job_tables import JobSpec, ServiceSpec
from devbox.spec.provider_settings import PROVIDERS, TABLES, Providers, table_of
from devbox.spec.tables import Notify, Publish, Spec
from devbox.spec.values import Bytes, Seconds
from devbox.wire.jobs import VERSIONS

T = TypeVar("T", bound=msgspec.Struct)
#: a repository that a box can clone, or a folder of this computer
_DOTFILES = r"(https|ssh|file)://[!-~]+$|[\w.-]+@[\w.-]+:[!-~]+$|[./~][^\0\n]*$"
_ALIAS = 34  # characters of an alias in a network group (huggingface_hub 2.4.0, run_job)
OURS = (
    "root",
    "origins",
    "file",
    "withheld",
    "outdated",
    "user_budget",
)  # fields of Spec that are no keys of the file


def convert(table: object, kind: type[T], source: Path, at: str) -> T:
    try:
        return msgspec.convert(table, described(kind), dec_hook=hook)
    except msgspec.ValidationError as error:
        message, _, where = str(error).partition(" - at `$")
        inner = where.rstrip("`").lstrip(".").replace("[...]", "")
        key = ".".join(part for part in (at, inner) if part)
        stray = re.search(r"unknown field `(.*)`", message)
        if stray:
            raise unknown(source, key, stray[1], _table_class(kind, inner)) from None
        raise SpecError(
            f"{source}: {text.clean(key, 200) or 'top level'}: {text.clean(message, 200)}",
            fix=f"edit {source}; `devbox config show` prints what is in force",
        ) from None


def each(tables: object, kind: type[T], source: Path, at: str) -> dict[str, T]:
    """The tables of a section, which `tables` is: a table of tables."""
    assert isinstance(tables, dict)
    return {name: convert(table, kind, source, f"{at}.{name}") for name, table in tables.items()}


def unknown(source: Path, at: str, key: str, kind: type[msgspec.Struct]) -> SpecError:
    known = [field for field in kind.__struct_fields__ if field not in OURS]
    close = text.nearest(key, known)
    where = f"{text.clean(at, 100)}." if at else ""
    listing = ", ".join(known)
    fix = f"did you mean {close!r}?" if close else f"the keys here are: {listing}"
    owners = [name for name, table in TABLES.items() if key in table.__struct_fields__]
    if kind is Providers and key in PROVIDERS:
        fix = f"write [providers.{table_of(key)}]"
    elif owners and at.startswith("providers."):
        fix = f"it is a key of [providers.{owners[0]}]; the keys here are: {listing}"
    return SpecError(f"{source}: unknown key {where}{text.clean(key, 60)}", fix=fix)


def _table_class(kind: type[msgspec.Struct], path: str) -> type[msgspec.Struct]:
    """The struct of the table at a dotted path below the struct `kind`."""
    for part in filter(None, path.split(".")):
        types = {field.name: field.type for field in msgspec.structs.fields(kind)}
        found = types.get(part, kind)
        found = get_args(found)[1] if get_origin(found) is dict else found
        kind = found if isinstance(found, type) and issubclass(found, msgspec.Struct) else kind
    return kind


def hook(kind: type, value: object) -> Seconds | Bytes:
    """Durations and sizes as a file writes them: text with a unit, or a plain 0."""
    if kind not in (Seconds, Bytes):
        raise NotImplementedError(kind)  # why: msgspec's contract for a type the hook does not know
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise ValueError("write it as text with a unit")
    written = value if isinstance(value, str) else f"{value:.15g}"
    if kind is Seconds:
        return Seconds(0 if value == 0 else text.parse_duration(written))
    return Bytes(0 if value == 0 else text.parse_size(written))


def check(
    rule: Callable[..., str], value: str, source: Path, key: str, what: str | None = None
) -> None:
    try:
        rule(value, what) if what else rule(value)
    except UsageError as error:
        raise SpecError(
            f"{source}: {text.clean(key, 100)}: {error.what}", fix=error.fix or f"edit {source}"
        ) from error


def validate(spec: Spec, source: Path) -> None:
    check(names.name, spec.project, source, "project", "project name")
    for name, box in spec.boxes.items():
        at = f"boxes.{name}"
        check(names.remote_path, box.workdir or ".", source, f"{at}.workdir", "workdir")
        check(names.remote_path, box.sync.remote, source, f"{at}.sync.remote")
        for key, reference in box.secrets.items():
            check(names.env_name, key, source, f"{at}.secrets.{key}")
            check(secrets.check, reference, source, f"{at}.secrets.{key}")
        for key in box.build_args:
            check(names.env_name, key, source, f"{at}.build_args.{key}")
        for key in box.env:
            check(names.env_name, key, source, f"{at}.env.{key}")
        for key, volume in box.volumes.items():
            check(names.remote_path, volume.mount, source, f"{at}.volumes.{key}.mount")
        _validate_setup(box, source, at)
        _validate_choices(box, source, at)
        _validate_times(box, source, at)
        _validate_schedule(box, source, at)
        _validate_group(name, box, source, at)
    for name, job in spec.jobs.items():
        check(names.name, name, source, f"jobs.{name}", "job name")
        validate_job(name, job, source, f"jobs.{name}")
    _check_zone(spec.timezone, source)
    _validate_money(spec, source)
    _validate_publish(spec.publish, source)
    _validate_notify(spec.notify, source)
    for name, service in spec.services.items():
        check(names.name, name, source, f"services.{name}", "service name")
        validate_job(name, service, source, f"services.{name}")
        if service.token:
            check(secrets.check, service.token, source, f"services.{name}.token")
    for name, checkpoint in spec.checkpoints.items():
        at = f"checkpoints.{name}"
        check(names.remote_path, checkpoint.path, source, f"{at}.path")
        if checkpoint.secret:
            check(secrets.check, checkpoint.secret, source, f"{at}.secret")
        checkpoints.validate(checkpoint, source, at)


def _validate_times(box: BoxSpec, source: Path, at: str) -> None:
    """SpecError for a time that must not be 0."""
    times = {
        "max_uptime": box.max_uptime,
        "idle.after": box.idle.after,
        "start_timeout": box.start_timeout,
        "login_timeout": box.login_timeout,
        "capacity_timeout": box.capacity_timeout,
    }
    for key, seconds in times.items():
        if seconds <= 0:
            raise SpecError(f"{source}: {at}.{key} must be above 0", fix=f"edit {source}")


def _validate_choices(box: BoxSpec, source: Path, at: str) -> None:
    """SpecError for what is wrong in a list of hardware, and in a table of one provider."""
    _validate_hardware(box.hardware, source, f"{at}.hardware")
    for provider, own in box.on.items():
        _validate_hardware(own.hardware, source, f"{at}.on.{provider}.hardware")
        for key, volume in (own.volumes or {}).items():
            inside = f"{at}.on.{provider}.volumes.{key}.mount"
            check(names.remote_path, volume.mount, source, inside)


def _validate_hardware(hardware: str | tuple[str, ...] | None, source: Path, at: str) -> None:
    """SpecError for a list that names nothing, or something twice."""
    if not isinstance(hardware, tuple):
        return
    if not all(hardware):
        raise SpecError(f"{source}: {at}: a name in the list is empty", fix="leave it out")
    refuse_repeats(hardware, source, at, "names in order of preference, or one name")


def refuse_repeats(listed: Sequence[object], source: Path, at: str, takes: str) -> None:
    """SpecError for an empty list, and for one that has something twice. takes: what is to be
    written there."""
    if not listed:
        raise SpecError(f"{source}: {at} is an empty list", fix=f"write {takes}, or leave it out")
    for each in listed:
        if listed.count(each) > 1:
            twice = text.clean(str(each), 60)
            raise SpecError(f"{source}: {at} has {twice!r} twice", fix="leave one of them out")


def _validate_setup(box: BoxSpec, source: Path, at: str) -> None:
    """SpecError for lines and dotfiles that cannot be used."""
    for number, line in enumerate(box.setup, 1):
        if not line.strip() or "\0" in line:
            raise SpecError(f"{source}: {at}.setup: line {number} is empty", fix="leave it out")
    if box.setup and box.command:
        raise SpecError(
            f"{source}: {at}.setup: a box with `command` has no login to set it up over",
            fix="let the command do it, or leave command out",
        )
    asked = box.dotfiles
    if asked and not re.match(_DOTFILES, asked):
        raise SpecError(
            f"{source}: {at}.dotfiles: {text.clean(asked, 100)!r} is no repository or folder",
            fix='write for example dotfiles = "https://github.com/me/dotfiles" or "~/dotfiles"',
        )
    if re.match(r"[a-z]+://[^/@]*:[^/@]*@", asked):
        raise SpecError(
            f"{source}: {at}.dotfiles holds a password, which would be written to disks",
            fix="use a public repository, or a folder of this computer",
        )


def _validate_schedule(box: BoxSpec, source: Path, at: str) -> None:
    _check_cron(box.schedule, source, f"{at}.schedule")
    _check_cron(box.pause_at, source, f"{at}.pause_at")
    if box.pause_at and box.command:
        raise SpecError(
            f"{source}: {at}.pause_at: a box with `command` ends with its command",
            fix="set max_uptime to what it may take at most, or leave pause_at out",
        )


def _validate_group(name: str, box: BoxSpec, source: Path, at: str) -> None:
    if box.network_group and len(name) > _ALIAS:
        raise SpecError(
            f"{source}: {at}: others of its network_group would reach it by its name, and such a "
            f"name has at most {_ALIAS} characters",
            fix="give the box a shorter name",
        )


def _check_cron(written: str, source: Path, at: str) -> None:
    from devbox.spec import cron  # why here: few projects have any

    if written:
        example = '"0 8 * * 1-5": 8:00 from Monday to Friday'
        _check_time(cron.expression, written, source, at, example)


def _check_zone(name: str, source: Path) -> None:
    from devbox.spec import cron

    _check_time(cron.zone, name, source, "timezone", 'timezone = "Europe/Berlin"')


def _check_time(
    read: Callable[[str], object], written: str, source: Path, at: str, example: str
) -> None:
    try:
        read(written)
    except ValueError as error:
        raise SpecError(
            f"{source}: {at} = {text.clean(written, 60)!r}: {error}",
            fix=f"write for example {example}",
        ) from None


def _validate_notify(table: Notify, source: Path) -> None:
    """Addresses are https, or references to one that is looked at when it is used."""
    if table.secret:
        check(secrets.check, table.secret, source, "notify.secret")
    if "://" not in table.webhook:
        if table.webhook:
            check(secrets.check, table.webhook, source, "notify.webhook")
    elif not table.webhook.startswith(("https://", "http://")) or is_readable(table.webhook):
        raise SpecError(
            f"{source}: notify.webhook is not an https address",
            means="notices name boxes and runs, and could be read on the way",
            fix="write https://…, or a reference such as env:NAME to such an address",
        )


def _validate_money(spec: Spec, source: Path) -> None:
    for name, paid in spec.costs.items():
        if (paid.monthly is None) == (paid.per_gb is None):
            raise SpecError(
                f"{source}: costs.{text.clean(name, 60)}: say either monthly, or size and per_gb",
                fix=f"edit {source}; for example: monthly = 9",
            )


def _validate_publish(table: Publish, source: Path) -> None:
    """Everything named in it lies in the project."""
    paths = {f"publish.{key}": getattr(table, key) for key in ("config", "card", "lora_card")}
    paths |= {f"publish.files: {path}": path for path in (*table.files, table.licence)}
    paths |= {f"publish.source: {path}": path for path in table.source}
    for name, variant in table.variants.items():
        check(names.name, name, source, f"publish.variants.{name}", "variant")
        at = f"publish.variants.{name}"
        paths |= {f"{at}.config": variant.config, f"{at}.card": variant.card}
    for key, path in paths.items():
        if path:
            check(names.inner_path, path, source, key)


def validate_job(name: str, job: JobSpec, source: Path, at: str) -> None:
    _check_cron(job.schedule, source, f"{at}.schedule".lstrip("."))
    if isinstance(job, ServiceSpec) and job.schedule:
        raise SpecError(
            f"{source}: service {text.clean(name, 40)}: a service has no schedule",
            fix="give its box a schedule, or write what is to run as a job",
        )
    if bool(job.module) == bool(job.command):
        raise SpecError(
            f"{source}: job {text.clean(name, 40)}: set exactly one of module and command",
            fix='for your own program: command = ["python", "main.py"]',
        )
    portless = isinstance(job, ServiceSpec) and job.command and not job.port
    if portless and "{port}" not in " ".join(job.command):
        raise SpecError(
            f"{source}: service {text.clean(name, 40)}: it has no port",
            fix="set port to where it listens, or use {port} in its command",
        )
    if isinstance(job, ServiceSpec) and job.expose and (job.command or not job.port):
        raise SpecError(
            f"{source}: service {text.clean(name, 40)}: only a service with a module and a port "
            "can be public, since devbox checks the token in its app",
            fix="set port, and write it as a module with create_app (docs/services.md)",
        )
    types = {key: each.type for key, each in job.args.items()}
    if job.memory and (fault := job.memory.faults(types)):
        raise SpecError(
            f"{source}: job {text.clean(name, 40)}: {text.clean(fault, 200)}",
            fix='write for example points = [{ at = 64, vram = "14GB" }]',
        )
    environment = job.environment
    if environment and not re.fullmatch(VERSIONS, environment.python):
        raise SpecError(
            f"{source}: job {text.clean(name, 40)}: environment.python = "
            f"{text.clean(environment.python, 40)!r} is no range of Python versions",
            fix='write for example python = ">=3.9,<3.13"',
        )
    for output, path in job.outputs.items():
        check(names.inner_path, path, source, f"{at}.outputs.{output}".lstrip("."))
