"""Whether the token may read what is gated: asked of the Hub before a box is paid for."""

from __future__ import annotations

from typing import NamedTuple

from devbox.box.checkpoints.source import HUB, Source, parse
from devbox.errors import AuthError, DevboxError, Gone
from devbox.providers.hf.hub import Hub
from devbox.providers.hf.model_repo import SETTINGS
from devbox.spec import Checkpoint, Spec
from devbox.spec.provider_settings import HfSettings


class Access(NamedTuple):
    """allowed: None when the Hub could not be asked. page: where the terms are accepted."""

    name: str
    allowed: bool | None
    page: str
    why: str = ""

    @property
    def sentence(self) -> str:
        if self.allowed is None:
            return (
                f"checkpoint {self.name} is gated; whether you may read it is unknown: {self.why}"
            )
        return (
            f"checkpoint {self.name} is gated, and this token may not read it: accept its terms at "
            f"{self.page} and give it a secret, such as hf:token"
        )


def of_gated(project: Spec, wanted: dict[str, Checkpoint]) -> dict[str, Access]:
    """Those of the checkpoints that are gated, by name, each asked of the Hub."""
    config = project.provider(SETTINGS)
    assert isinstance(config, HfSettings)
    asked: dict[tuple[str, str], tuple[bool | None, str]] = {}
    found = {}
    for name, each in wanted.items():
        if each.gated:
            origin = parse(each.origin, sha256=each.sha256)
            hub = Hub(config, reference=each.secret)
            key = (origin.place, each.secret)  # several files of one repository are one question
            if key not in asked:
                asked[key] = _ask(hub, origin)
            allowed, why = asked[key]
            page = each.page or f"{hub.endpoint}/{origin.place}"
            found[name] = Access(name, allowed, page, why)
    return found


def sentences(project: Spec) -> list[str]:
    """What stands in the way of the project's gated checkpoints; nothing where none is."""
    if not any(each.gated for each in project.checkpoints.values()):
        return []
    found = of_gated(project, project.checkpoints)
    return [access.sentence for access in found.values() if not access.allowed]


def _ask(hub: Hub, origin: Source) -> tuple[bool | None, str]:
    if origin.kind != HUB:
        return None, "it is not on the Hub"
    try:
        hub.call(f"asking for {origin.place}", lambda api: api.auth_check(origin.place))
    except (AuthError, Gone) as error:
        return False, error.what
    except DevboxError as error:
        return None, error.what
    return True, ""
