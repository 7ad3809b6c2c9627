"""[boxes.NAME.volumes] as the Hub's volumes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal, cast

from devbox.errors import UsageError
from devbox.spec import BoxSpec
from devbox.text import clean

if TYPE_CHECKING:
    from huggingface_hub import Volume

_SOURCE = re.compile(
    r"(?:hf://)?(?:(buckets|models|datasets|spaces)/)?([\w.-]+/[\w.-]+)((?:/[\w.@ -]+)*)"
)


def of(spec: BoxSpec) -> list[Volume]:
    """source: "me/bucket", or "buckets/me/name", "datasets/…", "models/…", "spaces/…" as in the
    Hub's own addresses (an `hf://` in front is fine), with a folder inside it if wanted. mount:
    absolute. Repositories are always read-only. UsageError for what the Hub cannot mount."""
    from huggingface_hub import Volume

    made = []
    for name, volume in spec.volumes.items():
        found = _SOURCE.fullmatch(volume.source)
        if not found or ".." in volume.source:
            raise UsageError(
                f"volume {clean(name, 40)}: {clean(volume.source, 80)!r} is no source on the Hub",
                fix='write "me/bucket" or, for a repository, "datasets/me/name"',
            )
        if not volume.mount.startswith("/"):
            raise UsageError(
                f"volume {clean(name, 40)}: mount must be absolute on Hugging Face",
                fix='for example: mount = "/data"',
            )
        kind = cast(
            Literal["bucket", "model", "dataset", "space"],
            (found[1] or "buckets").removesuffix("s"),
        )
        made.append(
            Volume(
                type=kind,
                source=found[2],
                mount_path=volume.mount,
                read_only=volume.read_only or kind != "bucket",
                path=found[3].strip("/") or None,
            )
        )
    return made
