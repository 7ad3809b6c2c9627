"""The providers by name. Each module is imported when its provider is first used."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

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
    made = _module(name).make(config)
    assert isinstance(made, Provider)
    return made


def resolved(name: str, config: ProviderConfig) -> ProviderConfig:
    """The settings with what this computer's environment adds where they are silent, so that they
    lead to the same place from any folder and shell. A module may have
    `resolve(config) -> ProviderConfig`."""
    resolve = getattr(_module(name), "resolve", None)
    found = resolve(config) if resolve else config
    assert isinstance(found, ProviderConfig)
    return found


def _module(name: str) -> ModuleType:
    if name not in _MODULES:
        raise UsageError(
            f"there is no provider {clean(name, 40)!r}", fix=f"use one of: {', '.join(NAMES)}"
        )
    return import_module(_MODULES[name])
