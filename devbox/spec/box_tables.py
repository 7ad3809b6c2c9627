"""A [boxes.NAME] table, and what it leaves to choose between."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal

from msgspec import Meta, structs

from devbox.spec.values import Bytes, Group, Number, Seconds, Table
from devbox.wire.messages import Policy

Port = Annotated[int, Meta(ge=1, le=65535)]
_POLICY = Policy()


class Volume(Table, frozen=True):
    """Storage that outlives the box. source: the provider's own name of it."""

    source: str
    mount: str
    read_only: bool = False


class OnProvider(Table, frozen=True):
    """[boxes.NAME.on.PROVIDER]: what a box with several providers is to have at that one, in place
    of what its own table says. None: as there."""

    hardware: str | tuple[str, ...] | None = None
    gpu: str | None = None
    vram: Bytes | None = None
    max_price: Number | None = None
    image: str | None = None
    build_args: dict[str, str] | None = None
    workdir: str | None = None
    space: str | None = None
    region: str | None = None
    cpu: Number | None = None
    memory: Bytes | None = None
    expose: tuple[Port, ...] | None = None
    volumes: dict[str, Volume] | None = None


class Idle(Table, frozen=True):
    """When a box counts as idle. after: quiet time until pause; warn: how long before that the
    warning appears; idle_vram_after: VRAM held without any GPU use for this long counts
    as idle;
    gpu_util, cpu_util: per cent below which hardware is quiet; ssh_bytes: bytes a minute, in
    either direction, below which a connection is quiet; net_bytes: bytes a minute of network from
    which a transfer counts as use; save_command: run on the box before a pause, at most
    save_timeout long."""

    enabled: bool = _POLICY.enabled
    after: Seconds = Seconds(_POLICY.after)
    warn: Seconds = Seconds(_POLICY.warn)
    idle_vram_after: Seconds = Seconds(_POLICY.stuck_after)
    gpu_util: Number = _POLICY.gpu_util
    cpu_util: Number = _POLICY.cpu_util
    ssh_bytes: Bytes = Bytes(int(_POLICY.ssh_bytes))
    net_bytes: Bytes = Bytes(int(_POLICY.net_bytes))
    save_command: tuple[str, ...] = _POLICY.save_command
    save_timeout: Seconds = Seconds(_POLICY.save_timeout)


class Sync(Table, frozen=True):
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


class BoxSpec(Table, frozen=True):
    """What a user asks for in one [boxes.NAME] table. providers: several, in order of preference;
    provider is the first of them then. hardware: one, or several in that order. choose: what is
    asked for first; capacity_timeout: how long one of several choices may wait for hardware until
    the next is asked for. `spec.choices` has each as a box of just that. gpu: a GPU's name at any
    provider, as L40S, or as A100:2 for two of them. build_args: of the image's Dockerfile, as BASE
    or PIP_INDEX; they stay readable in the image. command: the box is this program, headless, and
    ends with it; there is no ssh to it. image: empty for what its provider chooses for the
    hardware. workdir: empty for the one of its provider. start_timeout, login_timeout: how long
    `up` waits for the provider, and for ssh. cpu: as the provider counts: physical cores at Modal,
    vCPU at Hugging Face. expose: ports that get a public URL. network_group: boxes that name the
    same one reach each other on every port, by their names. setup: commands that the box's shell
    runs in the workdir, once on each new disk. schedule, pause_at: when `devbox guard` brings it up
    and pauses it, as cron has it (or pause_at as 20:00), by the file's `timezone`. max_runs: runs
    under way at once, further ones wait; services are not among them. budget:
    dollars that the box may cost from `up` to `down`, in place of the project's budget.per_box.
    dotfiles: what `git clone` takes, or a folder here. git_identity: give the box the name and
    email that git has here. forward_agent: of ssh, while a connection lasts."""

    provider: str = "local"
    providers: tuple[str, ...] = ()
    hardware: str | tuple[str, ...] = ""
    choose: Literal["first", "cheapest"] = "first"
    capacity_timeout: Seconds = Seconds(5 * 60)
    gpu: str = ""
    vram: Bytes = Bytes(0)
    max_price: Number | None = None
    image: str = ""
    build_args: dict[str, str] = {}
    command: tuple[str, ...] = ()
    workdir: str = ""
    max_uptime: Seconds = Seconds(8 * 3600)
    max_runs: Annotated[int, Meta(ge=1, le=10_000)] | None = None
    budget: Number | None = None
    start_timeout: Seconds = Seconds(45 * 60)
    login_timeout: Seconds = Seconds(5 * 60)
    host: str = ""
    space: str = ""
    region: str = ""
    cpu: Number | None = None
    memory: Bytes = Bytes(0)
    expose: tuple[Port, ...] = ()
    network_group: Group = ""
    pause_command: tuple[str, ...] = ()
    schedule: str = ""
    pause_at: str = ""
    setup: tuple[str, ...] = ()
    dotfiles: str = ""
    git_identity: bool = True
    forward_agent: bool = False
    idle: Idle = Idle()
    sync: Sync = Sync()
    volumes: dict[str, Volume] = {}
    secrets: dict[str, str] = {}
    env: dict[str, str] = {}
    on: dict[str, OnProvider] = {}

    @property
    def first_hardware(self) -> str:
        """The hardware that is named first; '' for none."""
        return self.hardware if isinstance(self.hardware, str) else self.hardware[0]


def choices(box: BoxSpec) -> tuple[BoxSpec, ...]:
    """Each provider and named hardware that a box may have, in the order they are written, as a
    box of just that: `hardware` is one name, or '' where needs are named instead."""
    return tuple(
        structs.replace(at, hardware=name)
        for at in (_at(box, provider) for provider in box.providers or (box.provider,))
        for name in ([at.hardware] if isinstance(at.hardware, str) else at.hardware)
    )


def choice_of(
    box: BoxSpec, provider: str, hardware: str, name_of: Callable[[str], str] = str
) -> BoxSpec:
    """The choice that a box at that provider, on that hardware, is one of: the one that names its
    hardware, else the first of its provider, else the first. name_of: the provider's own name of
    hardware."""
    found = choices(box)
    there = [each for each in found if each.provider == provider]
    same = [each for each in there if name_of(each.first_hardware) == hardware]
    return (same or there or list(found))[0]


def _at(box: BoxSpec, provider: str) -> BoxSpec:
    """The box at one of its providers."""
    table = box.on.get(provider)
    own = {k: v for k, v in structs.asdict(table).items() if v is not None} if table else {}
    if {"gpu", "vram"} & own.keys():
        own = {"hardware": "", **own}  # what is needed there comes in place of what is named here
    single = {"provider": provider, "providers": (), "on": {}, "choose": "first"}
    return structs.replace(box, **own, **single)
