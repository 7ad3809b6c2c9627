"""Whether boxes that were resumed have their files: at Modal each life begins from an image."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from modal_proto import api_pb2

from devbox.providers.modal import entrypoint
from tests.emulators.modal import Sandbox
from tests.emulators.modal.hollow import HollowMachine
from tests.emulators.modal.images import Image
from tests.simulation.life import Life

_ASKED = api_pb2.GenericResult.GENERIC_STATUS_TERMINATED
OLD = 60.0  # seconds before the end of what ended by itself that its files may be of


def resumed(life: Life) -> list[str]:
    """Each sandbox of a box but the first begins with the files of the one before: of its end,
    where that came by itself and Modal kept them."""
    wrong = []
    for before, after in _followed(life):
        kept = [each.created_at for each in _left(life, before, after.created_at)]
        name, old = after.tags["devbox-name"], max(kept, default=0.0) - after.image.created_at
        if kept and not _is_of(after.image, before):
            wrong.append(f"{name} began again without the files it had")
        elif kept and before.result.status != _ASKED and old > OLD:
            wrong.append(f"{name} began again with files {old:.0f} s older than those it had")
    return wrong


def _followed(life: Life) -> Iterator[tuple[Sandbox, Sandbox]]:
    boxes: dict[str, list[Sandbox]] = {}
    for each in life.world.modal.world.sandboxes.values():
        late = each.result is not None and each.result.exitcode == entrypoint.TOO_LATE
        if each.started_at is not None and not late:
            boxes.setdefault(each.tags["devbox-token"], []).append(each)
    for generations in boxes.values():
        yield from itertools.pairwise(sorted(generations, key=lambda each: each.created_at))


def _left(life: Life, sandbox: Sandbox, until: float) -> Iterator[Image]:
    """The images of its files that could be had by then."""
    for image in life.world.modal.world.images.values():
        is_lost = image.id == sandbox.exit_image and sandbox.exit_error
        if _is_of(image, sandbox) and not is_lost and image.created_at <= until:
            yield image


def _is_of(image: Image, sandbox: Sandbox) -> bool:
    assert isinstance(sandbox.machine, HollowMachine)
    return bool(image.layers) and image.layers[0] in sandbox.machine.snapshots
