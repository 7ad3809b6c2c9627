"""A job.toml, a service.toml, and the same as tables of devbox.toml."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from msgspec import Meta, field

from devbox.box.pieces import Spread
from devbox.spec.values import Bytes, Number, Priority, Seconds, Table


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


class MemoryPoint(Table, frozen=True):
    """One measurement. vram: what one GPU held at most; memory: the machine's, 0 where it was not
    measured. at: the value of the argument that `by` names. where: what other arguments were."""

    vram: Bytes
    memory: Bytes = Bytes(0)
    at: Number | None = None
    where: dict[str, str | int | float | bool] = field(default_factory=dict)


class Memory(Table, frozen=True):
    """Measured points of a job's memory, which `devbox plan` reads. source: who measured, where and
    when. by: the argument whose value the memory grows with; empty for one that does not vary."""

    source: str
    points: tuple[MemoryPoint, ...]
    by: str = ""

    def faults(self, arguments: Mapping[str, str]) -> str:
        """What is wrong with it, for a job with these arguments, name → type; '' for nothing."""
        if not self.points or not self.source.strip():
            return "memory needs at least one of points, and source"
        if self.by and arguments.get(self.by) not in ("int", "float"):
            return f"memory.by = {self.by!r} names no argument that is a number"
        for point in self.points:
            if (point.at is None) == bool(self.by):
                return "memory: each point needs `at` when `by` is set, and none without it"
            for name in point.where:
                if name not in arguments or name == self.by:
                    return f"memory: where.{name} names no other argument of the job"
        return ""


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

    @property
    def takes_words(self) -> bool:
        """A command without declared arguments takes the words after -- as they are."""
        return bool(self.command) and not self.args and not self.inputs


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
