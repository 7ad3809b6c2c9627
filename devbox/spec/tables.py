"""The tables of devbox.toml as types. Durations are seconds, sizes are bytes."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta, structs

from devbox import text
from devbox.box.checkpoints.source import with_revision
from devbox.box.pieces import Spread
from devbox.errors import NotFound
from devbox.spec import trust
from devbox.spec.memory import Memory
from devbox.spec.on_provider import OnProvider, Port, Volume
from devbox.spec.provider_settings import Providers, ProviderSettings, settings_type, table_of
from devbox.spec.values import Bytes, Group, Number, Priority, Seconds, Table
from devbox.wire.messages import Policy
from devbox.wire.notices import NoticeKind

FILE_NAME = "devbox.toml"

#: keys of a box that say what hardware it is to have
_NEEDS = frozenset({"hardware", "gpu", "vram", "max_price"})


_POLICY = Policy()


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


class Budget(Table, frozen=True):
    """What may be spent, in dollars; None is no limit. Those of the user's config are for all boxes
    of the account, those of devbox.toml for the boxes of that project, and both count. daily,
    monthly: in a calendar day and month of this computer's time zone; total: ever; per_box: by each
    box from `up` to `down`. ask_above: `up` and `resume` ask before what may cost more than this
    until max_uptime. end_unpausable: at the cap, end a box that cannot pause, in the user's config
    only."""

    daily: Number | None = None
    monthly: Number | None = None
    total: Number | None = None
    per_box: Number | None = None
    ask_above: Number | None = None
    end_unpausable: bool = False

    @property
    def is_set(self) -> bool:
        """Some limit is."""
        return any(
            each is not None for each in (self.daily, self.monthly, self.total, self.per_box)
        )


class Notify(Table, frozen=True):
    """Who is told what happens to boxes and runs. webhook: an https address, or a reference to one;
    secret: a reference, signs what is posted there; events: kinds of notices, empty for all;
    desktop: on this computer's screen; on_event: a command that gets each as JSON on its stdin;
    apprise: addresses as Apprise takes them, or references."""

    webhook: str = ""
    secret: str = ""
    events: tuple[NoticeKind, ...] = ()
    desktop: bool = False
    on_event: tuple[str, ...] = ()
    apprise: tuple[str, ...] = ()

    @property
    def is_used(self) -> bool:
        return bool(self.webhook or self.desktop or self.on_event or self.apprise)


class FixedCost(Table, frozen=True):
    """What no ledger sees, shown beside it in reports: a subscription, storage, egress. monthly:
    dollars a month; else `size` at `per_gb` dollars a GB and month. since, until: the first and the
    last day it is paid for."""

    kind: Literal["subscription", "storage", "egress"] = "subscription"
    monthly: Number | None = None
    size: Bytes = Bytes(0)
    per_gb: Number | None = None
    since: dt.date | None = None
    until: dt.date | None = None


class Argument(Table, frozen=True):
    """One argument of a job."""

    type: Literal["str", "int", "float", "bool", "choice"] = "str"
    default: str | int | float | bool | None = None
    choices: tuple[str, ...] = ()
    help: str = ""
    required: bool = False


class Input(Table, frozen=True):
    """A local file or folder a job reads. patterns: what counts as an item in a folder. spread: how
    a run on several boxes divides it; files: by file; sequences: by video, and all pictures stay
    together where there is no video; scenes: by video, and the pictures of a folder stay
    together."""

    patterns: tuple[str, ...] = ("*",)
    help: str = ""
    required: bool = True
    spread: Spread | None = None


class Environment(Table, frozen=True):
    """A Python environment of a job's own on the box, instead of packages beside the box's Python.
    packages: as pip takes them; no_deps: exactly these, without what they declare to need; python:
    versions it works with, such as ">=3.9,<3.13"."""

    packages: tuple[str, ...] = ()
    no_deps: bool = False
    python: str = ""


class JobSpec(Table, frozen=True):
    """A job.toml, or a [jobs.NAME] table of devbox.toml. Exactly one of module (a module on the
    box with run(job)) and command (an argument list) is set; command items may hold {argument}
    and {input} names. outputs: name → path inside the run's output folder. packages: installed on
    the box where they are missing; with an environment they go into it, after its own and with
    their dependencies. gpus: how many each of its runs has for itself, waiting until they are free;
    priority: who is first of those that wait. schedule: when `devbox guard` runs it, as cron has
    it."""

    name: str = ""
    summary: str = ""
    module: str = ""
    command: tuple[str, ...] = ()
    args: dict[str, Argument] = {}
    inputs: dict[str, Input] = {}
    outputs: dict[str, str] = {}
    checkpoints: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    environment: Environment | None = None
    image: str = "cpu"
    gpus: Annotated[int, Meta(ge=0, le=1024)] = 0
    priority: Priority = "normal"
    vram: Bytes = Bytes(0)
    memory: Memory | None = None
    timeout: Seconds | None = None
    box: str = ""
    schedule: str = ""


class ServiceSpec(JobSpec, frozen=True):
    """A service.toml, or a [services.NAME] table of devbox.toml: a job that stays and answers
    requests. module: has create_app(service); command: may hold {port}. port: where it listens on
    the box's loopback, another where that is taken; health: the path that says whether it is
    ready, empty when taking a connection says it; start_timeout: how long that may take. expose:
    also at its provider's public URL, where every request must carry a token: what `token` refers
    to, such as env:SERVICE_TOKEN, else one that is made."""

    port: Annotated[int, Meta(ge=0, le=65535)] = 8000
    health: Annotated[str, Meta(pattern="^(/[!-~]*)?$")] = "/health"
    start_timeout: Seconds = Seconds(30 * 60)
    expose: bool = False
    token: str = ""


class Checkpoint(Table, frozen=True):
    """Model weights: where they come from (devbox.box.checkpoints.source), where they go on the
    box, and what they must be. revision: of an hf:// source. bytes: exactly, of a file; size: about
    how much, also of a folder, for the check of the disk. secret: a reference, such as hf:token.
    gated: only for accounts that accepted its terms. page: where those are, and the licence."""

    source: str
    path: str
    revision: str = ""
    sha256: str = ""
    bytes: Annotated[int, Meta(ge=0, le=1 << 60)] | None = None
    size: Bytes | None = None
    secret: str = ""
    gated: bool = False
    licence: str = ""
    page: str = ""

    @property
    def origin(self) -> str:
        """The source with its revision in it."""
        return with_revision(self.source, self.revision)

    def local(self, root: Path) -> Path | None:
        """Where it lies on this computer; None for a source elsewhere."""
        if not self.source.startswith((".", "/", "~")):
            return None
        return root / Path(self.source).expanduser()


class Variant(Table, frozen=True):
    """A model that `devbox publish` knows. parameters: how many it has. config, card: its files, in
    place of those of [publish]. expect: what its config must say, by dotted key."""

    parameters: Annotated[int, Meta(ge=1)]
    config: str = ""
    card: str = ""
    repo: str = ""
    expect: dict[str, str | int | float | bool] = {}


class Publish(Table, frozen=True):
    """What `devbox publish` judges a checkpoint by, and lays beside it; {variant} is its variant.
    profile: shipped counts, where variants is empty. tolerance: how far the count may be off, as a
    part of 1. lora_card: of adapters alone. sections: second headings a card must have. files,
    source: copied; source with what it imports of this project. buffers: names of tensors that are
    no parameters."""

    repo: str = "GesturaAI/stick-gen-{variant}"
    profile: Literal["code", "guide"] = "code"
    tolerance: Annotated[float, Meta(ge=0, lt=1)] = 0.05
    config: str = "configs/{variant}.yaml"
    card: str = "model_cards/{variant}.md"
    lora_card: str = "model_cards/stick-gen-{variant}-lora.md"
    sections: tuple[str, ...] = (
        *("Model Details", "Intended Uses", "Training Details", "Citation"),
    )
    licence: str = "LICENSE"
    files: tuple[str, ...] = ("requirements.txt", "CITATIONS.md")
    source: tuple[str, ...] = ("src/model", "src/inference", "src/data_gen")
    buffers: tuple[str, ...] = ()
    variants: dict[str, Variant] = {}


class Spec(Table, frozen=True):
    """A whole devbox.toml with the user config under it. timezone: of schedules, such as
    Europe/Berlin; '' for this computer's. root: the folder it was found in. file: the project's,
    None without one. budget: the project's; user_budget: that of the user config.
    withheld: settings of the project that are left out here because the user has not trusted them,
    key → shown value; `box`, `provider` and `checkpoint` refuse what they belong to. outdated:
    sentences for the user about old names of keys in it."""

    project: str = ""
    boxes: dict[str, BoxSpec] = {}
    jobs: dict[str, JobSpec] = {}
    services: dict[str, ServiceSpec] = {}
    checkpoints: dict[str, Checkpoint] = {}
    providers: Providers = Providers()
    budget: Budget = Budget()
    user_budget: Budget = Budget()
    costs: dict[str, FixedCost] = {}
    publish: Publish = Publish()
    notify: Notify = Notify()
    editor: str = ""
    timezone: str = ""
    root: Path = Path()
    origins: dict[str, str] = {}
    file: Path | None = None
    withheld: dict[str, str] = {}
    outdated: tuple[str, ...] = ()

    @property
    def has_budgets(self) -> bool:
        """Whether a budget counts for this project's boxes, or for all of the user's."""
        own = any(box.budget is not None for box in self.boxes.values())
        return own or self.budget.is_set or self.user_budget.is_set

    def require_trust(self, *at: str) -> None:
        """NotTrusted when a setting in one of these tables was withheld."""
        if self.file and any(
            f"{key}.".startswith(f"{table}.") for key in self.withheld for table in at
        ):
            raise trust.refusal(self.file, self.withheld)

    def box(self, name: str | None) -> tuple[str, BoxSpec]:
        """The named box, or the only one. NotFound lists what there is; NotTrusted."""
        if name is None and len(self.boxes) == 1:
            name = next(iter(self.boxes))
        if name is not None and name in self.boxes:
            self.require_trust(f"boxes.{name}", "defaults")
            return name, self.boxes[name]
        known = ", ".join(self.boxes) or "none"
        asked = "no box was named" if name is None else f"no box {text.clean(name, 60)!r}"
        if close := text.nearest(name or "", self.boxes):
            fix = f"did you mean {close}? devbox up {close}"
        elif self.boxes:
            fix = f"name one of them, such as: devbox up {next(iter(self.boxes))}"
        else:
            fix = "create the file with: devbox init"
        raise NotFound(f"{asked} in {FILE_NAME} (boxes: {known})", fix=fix)

    def with_changes(self, name: str | None, changes: Mapping[str, object]) -> Spec:
        """The same, but for some keys of one box. What is needed (gpu, vram, max_price) or another
        provider comes in place of hardware that the file names. Raises as `box`."""
        name, wanted = self.box(name)
        unnamed = {"provider", "gpu", "vram", "max_price"} & changes.keys()
        given = {**({"hardware": ""} if unnamed else {}), **changes}
        if "provider" in changes:
            given.setdefault("providers", ())
        # What is asked for now holds at every provider; another provider has its own hardware.
        over = changes.keys() | ({"hardware"} if _NEEDS & changes.keys() else set())
        own = over & set(OnProvider.__struct_fields__)
        on = {at: structs.replace(table, **dict.fromkeys(own)) for at, table in wanted.on.items()}
        changed = structs.replace(wanted, **{**given, "on": on})
        return structs.replace(self, boxes={**self.boxes, name: changed})

    def provider(self, name: str) -> ProviderSettings:
        """Settings of one provider; hf-space and hf-job share [providers.hf]. NotTrusted, and
        UsageError for a provider that does not exist."""
        kind = settings_type(name)
        self.require_trust(f"providers.{table_of(name)}")
        found = getattr(self.providers, table_of(name))
        assert isinstance(found, kind)
        return found

    def checkpoint(self, name: str) -> Checkpoint | None:
        """The checkpoint of that name, None when there is none. NotTrusted."""
        self.require_trust(f"checkpoints.{name}")
        return self.checkpoints.get(name)
