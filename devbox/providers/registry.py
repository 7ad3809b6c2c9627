"""The providers by name. Each module is imported when its provider is first used."""

from __future__ import annotations

from importlib import import_module

from devbox.errors import UsageError
from devbox.providers.base import Provider
from devbox.spec import ProviderConfig
from devbox.text import clean

_MODULES = {
    "local": "devbox.providers.local.provider",
    "ssh": "devbox.providers.host.provider",
    "hf-space": "devbox.providers.hf.space",
    "hf-job": "devbox.providers.hf.job",
    "modal": "devbox.providers.modal.provider",
    "docker": "devbox.providers.docker.provider",
}

NAMES = tuple(_MODULES)


def load(name: str, config: ProviderConfig) -> Provider:
    """The provider of that name. Each module has `make(config) -> Provider`."""
    if name not in _MODULES:
        raise UsageError(
            f"there is no provider {clean(name, 40)!r}", fix=f"use one of: {', '.join(NAMES)}"
        )
    made = import_module(_MODULES[name]).make(config)
    assert isinstance(made, Provider)
    return made
