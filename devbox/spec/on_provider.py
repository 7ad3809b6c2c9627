"""What a box may have of its own at each of several providers."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from devbox.spec.values import Bytes, Number, Table

Port = Annotated[int, Meta(ge=1, le=65535)]


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
