"""A whole devbox.toml as types: money, notices, publishing, and the tables that have modules of
their own. Durations are seconds, sizes are bytes."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta, structs

from devbox import text
from devbox.errors import NotFound
from devbox.spec import trust
from devbox.spec.box_tables import BoxSpec, OnProvider
from devbox.spec.checkpoints import Checkpoint
from devbox.spec.job_tables import JobSpec, ServiceSpec
from devbox.spec.provider_settings import Providers, ProviderSettings, settings_type, table_of
from devbox.spec.values import Bytes, Number, Table
from devbox.wire.notices import NoticeKind

FILE_NAME = "devbox.toml"

#: keys of a box that say what hardware it is to have
_NEEDS = frozenset({"hardware", "gpu", "vram", "max_price"})


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
