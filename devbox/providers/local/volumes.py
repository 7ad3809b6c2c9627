"""Volumes of local boxes: folders beside the boxes, linked into HOME, that outlive them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from devbox import names
from devbox.errors import ProviderError
from devbox.spec import Volume


def mount(root: Path, home: Path, volumes: Mapping[str, Volume]) -> None:
    """Link every volume into a box's HOME, making it when it is new. root: where volumes are."""
    for name, volume in volumes.items():
        source = root / names.inner_path(volume.source, "volume source")
        if volume.read_only:
            raise ProviderError(
                f"a local box cannot hold the volume {name} read-only",
                fix=f"remove read_only from volume {name} in devbox.toml, or use another provider",
            )
        if volume.mount.startswith("/"):
            raise ProviderError(
                f"a local box can have the volume {name} only inside its own folder",
                fix=f'use a relative path, such as mount = "{name}"',
            )
        source.mkdir(mode=0o700, parents=True, exist_ok=True)
        _link(home / names.inner_path(volume.mount, "mount"), source)


def _link(place: Path, source: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    if place.is_symlink() and place.readlink() == source:
        return
    try:
        place.symlink_to(source)
    except FileExistsError as error:
        raise ProviderError(
            f"the box has files where a volume should be: {place.name}",
            means="nothing was changed",
            fix="move them away on the box, or give the volume another mount",
        ) from error
