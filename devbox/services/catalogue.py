"""Which services there are: those bundled with the box half, and [services.NAME] of devbox.toml.

A service of the project hides a bundled one of the same name.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from devbox import box, spec
from devbox.errors import NotFound
from devbox.jobs.catalogue import checked
from devbox.spec import ServiceSpec, Spec
from devbox.text import clean, did_you_mean

EXAMPLE = """[services.mine] with command = ["python", "server.py", "--port", "{port}"]"""


def all_services(config: Spec) -> dict[str, ServiceSpec]:
    """Every service by name, bundled ones first. SpecError when one is malformed."""
    folder = Path(box.__file__).parent / "services"
    found = {one.name: one for one in map(_bundled, sorted(folder.glob("*/service.toml")))}
    for name, one in config.services.items():
        found[name] = checked(msgspec.structs.replace(one, name=name), f"[services.{name}]")
    return found


def find(config: Spec, name: str) -> ServiceSpec:
    """The service of that name. NotFound lists what there is; NotTrusted."""
    config.require_trust(f"services.{name}")
    known = all_services(config)
    if name not in known:
        raise NotFound(
            f"there is no service {clean(name, 60)!r} (services: {', '.join(known) or 'none'})",
            fix=f"{did_you_mean(name, known)}for one of your own, add to devbox.toml: {EXAMPLE}",
        )
    return known[name]


def _bundled(path: Path) -> ServiceSpec:
    found = spec.decode_service(spec.read_toml(path), path)
    # A module's name has no '-', and a service's has no '_'.
    name = path.parent.name.replace("_", "-")
    return checked(msgspec.structs.replace(found, name=name), str(path))
