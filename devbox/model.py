"""Frozen domain types shared by every room. Times are unix seconds (float), memory is bytes.

Money is integer micro-US-dollars per hour (`Price.micro_per_hour`), so that frozen prices compare
and add without rounding: $0.000164 per second is 590_400.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec


class BoxState(StrEnum):
    PROVISIONING = "provisioning"
    BUILDING = "building"
    STARTING = "starting"
    RUNNING = "running"
    PAUSING = "pausing"
    PAUSED = "paused"
    STOPPING = "stopping"
    TERMINATED = "terminated"
    FAILED = "failed"
    LOST = "lost"

    @property
    def is_over(self) -> bool:
        """No longer exists at the provider; its name is free again."""
        return self in (BoxState.TERMINATED, BoxState.LOST)

    @property
    def is_settled(self) -> bool:
        """Waits for nobody: running, paused or over."""
        return self.is_over or self in (BoxState.RUNNING, BoxState.PAUSED, BoxState.FAILED)


class Price(msgspec.Struct, frozen=True):
    """What one hour costs. micro_per_hour None means we do not know; it is never shown as 0.

    source: where it comes from ("live", "config", "catalogue 2026-07-21"). unit: seconds of the
    provider's billing unit, of which one that has begun counts whole; 0: time counts as measured.
    """

    micro_per_hour: int | None
    source: str = ""
    unit: int = 0


UNKNOWN_PRICE = Price(None, "unknown")


class Hardware(msgspec.Struct, frozen=True):
    """A provider's flavour. vram is per box (all GPUs together)."""

    name: str
    gpu: str = ""
    gpus: int = 0
    vram: int = 0
    cpus: float = 0
    memory: int = 0
    disk: int = 0


class Offer(msgspec.Struct, frozen=True):
    """Hardware with its price at one provider. as_of: when the price was true. region: the one
    that it is for, by which the price was multiplied: factor; '' for anywhere."""

    provider: str
    hardware: Hardware
    price: Price
    as_of: float
    note: str = ""
    region: str = ""
    factor: float = 1.0


class Endpoint(msgspec.Struct, frozen=True):
    """How ssh reaches a box. host_keys: 'ssh-ed25519 AAAA…' lines obtained through a channel we
    trust (None: the gateway's key is pinned on first use and its fingerprint shown).
    host_key_alias: the name of a gateway that several boxes share and that knows its users' own
    keys, else ''. via: a ProxyCommand of the user's own ssh config, with %h and %p, when there is
    one."""

    host: str
    port: int = 22
    user: str = "devbox"
    host_keys: tuple[str, ...] | None = None
    host_key_alias: str = ""
    via: str = ""


#: identity of a connection whose record cannot be read: nobody who answers is known to be it
UNREADABLE = "unreadable"


class Connection(msgspec.Struct, frozen=True):
    """Where a box was made, and who answered. settings: those of its provider at that time, with
    the defaults that the environment gave, and references to secrets in place of their values.

    identity: the provider's own word for who answered ("me", a Modal workspace, the id of a Docker
    engine); '' while nobody was asked, or where a provider knows no accounts.
    """

    settings: dict[str, Any] = {}
    identity: str = ""


class Box(msgspec.Struct, frozen=True):
    """A tracked remote environment, as last known. `seen` is the last time its provider answered
    about it; `spec` is the frozen `spec.BoxSpec` it was made from. project, root: the project it
    belongs to, by name and by its folder ('' for a box that was adopted). kept_until:
    the end of the last `devbox keep`. slug: its name at the
    provider, and host_alias its ssh host, both unique among live boxes and fixed when it is made
    ('' in rows older than these fields: then they follow from the name). `connection` is where
    it was made; None in rows of older versions. `unanswered` is the last time it was asked for
    without an answer, `unanswered_tries` how often: what these may make has no handle here.
    `given_up`: the user gave up on its end (`down --forget`). `choices`: the spec with all the
    choices that the box was asked for with, as `spec`; empty where there was one."""

    id: str
    name: str
    provider: str
    token: str
    state: BoxState
    hardware: str
    price: Price
    created: float
    updated: float
    seen: float
    handle: str = ""
    endpoint: Endpoint | None = None
    workdir: str = "work"
    stage: str = ""
    message: str = ""
    started: float | None = None
    deadline: float | None = None
    project: str = ""
    root: str = ""
    kept_until: float | None = None
    slug: str = ""
    host_alias: str = ""
    spec: bytes = b"{}"
    connection: Connection | None = None
    unanswered: float | None = None
    unanswered_tries: int = 0
    given_up: bool = False
    choices: bytes = b""
    #: why its provider could not be asked just now; never stored
    unreachable: str = ""

    @property
    def alias(self) -> str:
        """The ssh host alias."""
        return self.host_alias or f"devbox-{self.name}"

    @property
    def detail(self) -> str:
        """Stage and message, each said once and only where it is not the state's own word; and why
        both may be old."""
        old = f"unreachable: {self.unreachable}" if self.unreachable else ""
        parts = dict.fromkeys(part for part in (self.stage, self.message, old) if part)
        return " ".join(part for part in parts if part.casefold() != self.state)

    @property
    def place(self) -> tuple[str, str, str]:
        """What only one live box has: its project's folder and name, and its own name."""
        return self.root, self.project, self.name

    @property
    def ref(self) -> str:
        """What names this box wherever it is typed: FOLDER/NAME, or PROJECT/NAME."""
        return f"{self.root}/{self.name}" if self.root else self.qualified

    @property
    def qualified(self) -> str:
        """Its name with its project's, as every verb takes it."""
        return f"{self.project}/{self.name}" if self.project else self.name


class Interval(msgspec.Struct, frozen=True):
    """A stretch of one billed state at one frozen price. end None: still running."""

    id: int
    box_id: str
    box_name: str
    provider: str
    hardware: str
    price: Price
    start: float
    end: float | None


class Event(msgspec.Struct, frozen=True):
    """Something that happened to a box; its message is for the user."""

    id: int
    box_id: str
    at: float
    kind: str
    message: str


class RunState(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    UNKNOWN = "unknown"

    @property
    def is_over(self) -> bool:
        return self in (RunState.SUCCEEDED, RunState.FAILED, RunState.CANCELLED)


class Run(msgspec.Struct, frozen=True):
    """One execution of a job on a box. request, status: the JSON sent and the last status.json.
    batch: the id of the batch that it is a part of, else ''."""

    id: str
    box_id: str
    box_name: str
    job: str
    state: RunState
    created: float
    started: float | None = None
    ended: float | None = None
    exit_code: int | None = None
    request: bytes = b"{}"
    status: bytes = b"{}"
    batch: str = ""


class Batch(msgspec.Struct, frozen=True):
    """A run that is spread over several boxes, its workers. box_name: the table of devbox.toml
    that they are copied from. root: the project's folder. request: what was asked for, as JSON
    (`devbox.scale.batch.Asked`)."""

    id: str
    job: str
    box_name: str
    root: str
    state: RunState
    created: float
    ended: float | None = None
    message: str = ""
    request: bytes = b"{}"


class PieceState(StrEnum):
    WAITING = "waiting"
    GIVEN = "given"
    DONE = "done"
    FAILED = "failed"

    @property
    def is_settled(self) -> bool:
        return self in (PieceState.DONE, PieceState.FAILED)


class Piece(msgspec.Struct, frozen=True):
    """What a batch never splits: a file, a video, a folder of pictures. weight: in one unit for all
    of a batch, seconds or bytes. worker, round: who has it, or had it last; 0 for nobody yet;
    also_worker, also_round: who has it as well. tries: how often it failed; lost: how often a
    worker was lost that was at work on it. seconds: its share of its round's time. bytes: of its
    files, as the batch began."""

    name: str
    weight: float
    state: PieceState = PieceState.WAITING
    worker: int = 0
    round: int = 0
    tries: int = 0
    lost: int = 0
    seconds: float | None = None
    error: str = ""
    bytes: int = 0
    also_worker: int = 0
    also_round: int = 0


class WorkerState(StrEnum):
    STARTING = "starting"
    OPEN = "open"
    CLOSED = "closed"
    OVER = "over"
    LOST = "lost"

    @property
    def is_over(self) -> bool:
        return self in (WorkerState.OVER, WorkerState.LOST)


class Worker(msgspec.Struct, frozen=True):
    """A box at work on a batch. number: its own in the batch, never used twice. closed: it was
    told that no more rounds come. rounds: number of the last one it was given. run: the id of its
    part, an ordinary run; '' before it began. message: why it is lost."""

    number: int
    box_name: str
    state: WorkerState = WorkerState.STARTING
    box_id: str = ""
    run: str = ""
    rounds: int = 0
    message: str = ""


class PieceCounts(msgspec.Struct, frozen=True):
    """Pieces of a batch by state."""

    waiting: int = 0
    given: int = 0
    done: int = 0
    failed: int = 0

    @property
    def total(self) -> int:
        return self.waiting + self.given + self.done + self.failed
