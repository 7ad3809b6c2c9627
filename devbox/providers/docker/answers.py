"""What an engine answers, as far as devbox reads it (docs.docker.com/reference/api/engine)."""

from __future__ import annotations

from typing import TypedDict


class State(TypedDict, total=False):
    """Of a container. Times are RFC 3339, year 1 for none."""

    Status: str
    Running: bool
    Paused: bool
    Restarting: bool
    OOMKilled: bool
    ExitCode: int
    Error: str
    StartedAt: str
    FinishedAt: str


class Config(TypedDict):
    """Labels: null for a container that was made with none, which is no box."""

    Labels: dict[str, str]


class Port(TypedDict):
    HostPort: str


class Network(TypedDict, total=False):
    """Ports: by "22/tcp"; null for one that is not published."""

    Ports: dict[str, list[Port] | None] | None


class _Container(TypedDict):
    Id: str
    State: State
    Config: Config


class Container(_Container, total=False):
    """`GET /containers/ID/json`."""

    Name: str
    Created: str
    NetworkSettings: Network | None


class Info(TypedDict, total=False):
    """`GET /info`. MemTotal: bytes."""

    ID: str
    DockerRootDir: str
    NCPU: int
    MemTotal: int
    OSType: str
    Runtimes: dict[str, object] | None
    ServerVersion: str
