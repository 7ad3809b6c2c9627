"""The providers by name. Each module is imported when its provider is first used."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from types import ModuleType

from devbox.model import Hardware
from devbox.providers.base import Provider
from devbox.providers.hf import tags
from devbox.spec import ProviderSettings, settings_type

_MODULES = {
    "local": "devbox.providers.local.provider",
    "ssh": "devbox.providers.host.provider",
    "hf-space": "devbox.providers.hf.space",
    "hf-job": "devbox.providers.hf.job",
    "modal": "devbox.providers.modal.provider",
    "docker": "devbox.providers.docker.provider",
}

NAMES = tuple(_MODULES)

#: those that have a dated list of their hardware, and the module that reads it
_CATALOGUES = {
    "hf-space": "devbox.providers.hf.hardware",
    "hf-job": "devbox.providers.hf.hardware",
    "modal": "devbox.providers.modal.rates",
}

#: provider → where the project's code lies on its boxes before anything was synced
_CODE = {"hf-space": tags.code_folder}


def load(name: str, config: ProviderSettings) -> Provider:
    """The provider of that name. Each module has `make(config) -> Provider`."""
    made = _module(name).make(config)
    assert isinstance(made, Provider)
    return made


def catalogue(name: str) -> list[Hardware]:
    """What that provider is known to have without asking; none where it depends on the machine."""
    if name not in _CATALOGUES:
        return []
    found: list[Hardware] = import_module(_CATALOGUES[name]).catalogue(name)
    return found


def code_folder(name: str) -> str:
    """Where the image of a box of that provider has the project's code; '' for none."""
    return _CODE[name]() if name in _CODE else ""


def resolved(name: str, config: ProviderSettings) -> ProviderSettings:
    """The settings with what this computer's environment adds where they are silent, so that they
    lead to the same place from any folder and shell. A module may have
    `resolve(config) -> ProviderSettings`."""
    resolve = getattr(_module(name), "resolve", None)
    found: ProviderSettings = resolve(config) if resolve else config
    return found


def which(can: Callable[[Provider], bool]) -> tuple[str, ...]:
    """The names of the providers that can do something."""
    return tuple(name for name in NAMES if can(load(name, settings_type(name)())))


def _module(name: str) -> ModuleType:
    settings_type(name)  # refuses a name that is none
    return import_module(_MODULES[name])
