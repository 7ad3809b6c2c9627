"""Everything one Modal workspace remembers, as plain records."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import string
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from grpclib import GRPCError, Status

from tests.emulators.common import Calls, Clock, Knobs, Meter
from tests.emulators.modal import prices
from tests.emulators.modal.store import Store

if TYPE_CHECKING:
    from tests.emulators.modal.functions import Deployed, Layout
    from tests.emulators.modal.images import Image
    from tests.emulators.modal.sandbox import Sandbox

T = TypeVar("T")

ALPHABET = string.ascii_letters + string.digits
V1_LENGTH, V2_LENGTH = 22, 26


@dataclass(frozen=True)
class Stages:
    """How long things take, in seconds of the emulator's clock."""

    image_build: float = 0.2
    scheduling: float = 0.1
    stopping: float = 0.05
    snapshot: float = 0.1
    queue: float = 0.05
    """Between two tries of a sandbox for which there was no machine."""


@dataclass
class App:
    id: str
    name: str
    environment: str
    created_at: float
    tags: dict[str, str] = field(default_factory=dict)
    stopped: bool = False


@dataclass
class Secret:
    id: str
    name: str
    values: dict[str, str]


@dataclass
class Volume:
    id: str
    name: str
    path: Path
    created_at: float


@dataclass(frozen=True)
class MountedFile:
    content: bytes
    mode: int


class World:
    """The workspace. Touched only on the emulator's loop, but safe to look at from outside."""

    def __init__(
        self,
        *,
        clock: Clock,
        stages: Stages,
        store: Store,
        list_lag: float,
        strict_builds: bool,
        reach: Sequence[int],
        workspace: str,
    ) -> None:
        self.workspace = workspace
        self.clock = clock
        self.stages = stages
        self.store = store
        self.list_lag = list_lag
        self.strict_builds = strict_builds
        self.reach = tuple(reach)
        self.calls = Calls()
        self.knobs = Knobs()
        self.meter = Meter(clock)
        self.url = ""
        self.apps: dict[str, App] = {}
        self.images: dict[str, Image] = {}
        self.image_cache: dict[str, Image] = {}
        self.secrets: dict[str, Secret] = {}
        self.volumes: dict[str, Volume] = {}
        self.files: dict[str, bytes] = {}
        self.mounts: dict[str, dict[str, MountedFile]] = {}
        self.modals_mounts: set[str] = set()
        self.sandboxes: dict[str, Sandbox] = {}
        self.functions: dict[str, Deployed] = {}
        self.layouts: dict[str, Layout] = {}  # by app id, of those that were published
        self.full: set[str] = set()
        """Knob: GPUs of which none is free; a sandbox that asks for one stays in the queue."""
        self.gpus = dict(prices.GPU)
        """Micro-USD per second of each GPU, for sandboxes that begin."""
        self.on_boot: Callable[[str], None] = lambda sandbox_id: None
        """Knob: called with the id of each sandbox that begins to run."""
        self.begun: set[asyncio.Task[None]] = set()
        """Boots and ends of sandboxes that are under way."""
        self._last_moment = 0.0

    def app(self, app_id: str) -> App:
        return found(self.apps, app_id, "App")

    def image(self, image_id: str) -> Image:
        """A usable image.

        Raises:
            GRPCError: NOT_FOUND when it never existed or its time to live is over.
        """
        image = found(self.images, image_id, "Image")
        if image.expires_at is not None and image.expires_at <= self.clock.now():
            raise GRPCError(Status.NOT_FOUND, f"Image with ID '{image_id}' has expired")
        return image

    def sandbox(self, sandbox_id: str) -> Sandbox:
        return found(self.sandboxes, sandbox_id, "Sandbox")

    def task(self, task_id: str) -> Sandbox:
        """The sandbox of a task, finished or not."""
        for sandbox in self.sandboxes.values():
            if sandbox.task_id == task_id:
                return sandbox
        raise GRPCError(Status.NOT_FOUND, f"Task '{task_id}' not found")

    def begin(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Do a part of a sandbox's life in the background."""
        task = asyncio.ensure_future(work)
        self.begun.add(task)
        task.add_done_callback(self.begun.discard)
        return task

    def moment(self) -> float:
        """Now, but never the same moment twice: listings page by it."""
        self._last_moment = max(self.clock.now(), self._last_moment + 1e-5)
        return self._last_moment


def found(table: dict[str, T], key: str, what: str) -> T:
    """Look up an object.

    Raises:
        GRPCError: NOT_FOUND, in Modal's words.
    """
    if key not in table:
        raise GRPCError(Status.NOT_FOUND, f"{what} with ID '{key}' not found")
    return table[key]


def new_id(prefix: str, length: int = V1_LENGTH) -> str:
    """``prefix`` and random letters; 22 of them mean the first generation of sandboxes."""
    return f"{prefix}-" + "".join(secrets.choice(ALPHABET) for _ in range(length))


def digest(*parts: bytes) -> str:
    """One hash over several parts, none of which can run into the next."""
    state = hashlib.sha256()
    for part in parts:
        state.update(len(part).to_bytes(8, "big") + part)
    return state.hexdigest()
