"""Which Space a deploy is for."""

from __future__ import annotations

import shlex
from typing import NamedTuple

import msgspec

from devbox import spec
from devbox.errors import Conflict, UsageError
from devbox.model import Box
from devbox.providers.hf.repository import SpaceRepository
from devbox.workspace import Workspace

PROVIDER = "hf-space"


class Target(NamedTuple):
    """repository: the Space. title, box: name and spec that a new README and Dockerfile are made
    by; those of the box that the Space is, where it is one."""

    repository: SpaceRepository
    title: str
    box: spec.BoxSpec


def find(ws: Workspace, name: str | None, space: str = "") -> Target:
    """`space` itself; else the Space that box `name` is, or is to be; without a name, that of
    the only box on Spaces. UsageError when that says nothing."""
    boxes = {key: box for key, box in ws.spec.boxes.items() if box.provider == PROVIDER}
    if name and "/" in name:
        name = _own_name(ws, name)
    if name is None and len(boxes) == 1:
        name = next(iter(boxes))
    if name is None and not space:
        listed = ", ".join(boxes)
        raise UsageError(
            f"which Space? {'boxes on Spaces: ' + listed if boxes else 'no box is on one'}",
            fix=f"devbox deploy {next(iter(boxes))}" if boxes else "devbox deploy --space me/name",
        )
    box = spec.BoxSpec(provider=PROVIDER) if name is None else ws.spec.box(name)[1]
    tracked = None if space else _tracked(ws, name or "")
    handle = space or (tracked.handle if tracked else "") or box.space
    if not handle:
        raise UsageError(
            f"the box {name} has no Space yet",
            fix=f'devbox up {name}, or set space = "me/name" in [boxes.{name}], '
            "or: devbox deploy --space me/name",
        )
    config = ws.settings_of(tracked) if tracked else ws.spec.provider(PROVIDER)
    hardware = tracked.hardware if tracked else box.first_hardware
    provider = ws.provider_of(tracked) if tracked else ws.provider(PROVIDER)
    box = msgspec.structs.replace(box, image=box.image or provider.default_image(hardware))
    return Target(SpaceRepository(config, handle), name or ws.spec.project, box)


def _own_name(ws: Workspace, asked: str) -> str:
    """The name of a box that was named with its project. Conflict for another project's: what is
    deployed is the code of this folder."""
    box = ws.box(asked)
    if ws.here.has(box):
        return box.name
    raise Conflict(
        f"{box.qualified} is deployed from its own folder, and this is {ws.here.root}",
        means="nothing was pushed",
        fix=f"cd {shlex.quote(box.root or '.')} && devbox deploy {box.name}",
    )


def _tracked(ws: Workspace, name: str) -> Box | None:
    """The tracked box of that name, while it lives on a Space."""
    tracked = ws.store.boxes.own(name, ws.here)
    if tracked is None or tracked.state.is_over or tracked.provider != PROVIDER:
        return None
    return tracked
