"""[providers.NAME]: one struct of connection settings per provider; the table's name is the tag.

The structs live here, next to each other, and not beside their providers: devbox.toml is checked
when it is read, before any provider's module is loaded, and `spec` imports no provider. A new
provider adds its struct here, its module, and its line in `providers.registry`.
"""

from __future__ import annotations

import msgspec

from devbox.errors import UsageError
from devbox.spec.values import Number, Table
from devbox.text import clean


class OwnSettings(Table, frozen=True):
    """Boxes on machines of the user's own. price: dollars an hour to reckon with; None: 0."""

    price: Number | None = None


class LocalSettings(OwnSettings, frozen=True):
    """[providers.local]."""


class SshSettings(OwnSettings, frozen=True):
    """[providers.ssh]."""


class DockerSettings(OwnSettings, frozen=True):
    """[providers.docker]. namespace: keeps the boxes of people who share an engine apart.
    docker_host: the engine; '' for what the docker command line would use."""

    namespace: str = ""
    docker_host: str = ""


class HfSettings(Table, frozen=True):
    """[providers.hf]. endpoint: the Hub; '' for HF_ENDPOINT, else the public one. git_endpoint: its
    git server, where that is another one. ssh_gateway: "host:port" in place of the Hub's.
    namespace: the account or organisation; '' for that of the token. pause_token: reference to a
    token with which a Space may pause itself."""

    endpoint: str = ""
    git_endpoint: str = ""
    ssh_gateway: str = ""
    namespace: str = ""
    pause_token: str = ""


class ModalSettings(Table, frozen=True):
    """[providers.modal]. namespace: the name of the app that holds the sandboxes. server_url: in
    place of Modal's."""

    server_url: str = ""
    namespace: str = ""
    environment: str = ""


class Providers(Table, frozen=True):
    """[providers]: the settings of each provider."""

    local: LocalSettings = LocalSettings()
    ssh: SshSettings = SshSettings()
    docker: DockerSettings = DockerSettings()
    hf: HfSettings = HfSettings()
    modal: ModalSettings = ModalSettings()


ProviderSettings = LocalSettings | SshSettings | DockerSettings | HfSettings | ModalSettings
#: name in [providers] → its struct
TABLES = {field.name: field.type for field in msgspec.structs.fields(Providers)}
#: provider → its name in [providers], where that is another
_SHARED = {"hf-space": "hf", "hf-job": "hf"}
PROVIDERS = tuple(
    name for table in TABLES for name in ([p for p, t in _SHARED.items() if t == table] or [table])
)
#: keys of a box's table that only these providers read
BOX_KEYS: dict[str, tuple[str, ...]] = {
    "host": ("ssh",),
    "pause_command": ("ssh",),
    "space": ("hf-space",),
    "region": ("modal",),
    "expose": ("modal", "hf-job"),
    "network_group": ("hf-job",),
}


def table_of(provider: str) -> str:
    """The name of a provider's table in [providers]."""
    return _SHARED.get(provider, provider)


def settings_type(provider: str) -> type[ProviderSettings]:
    """The struct of a provider's settings. UsageError for a provider that does not exist."""
    if provider not in PROVIDERS:
        raise UsageError(
            f"there is no provider {clean(provider, 40)!r}",
            fix=f"use one of: {', '.join(PROVIDERS)}",
        )
    kind: type[ProviderSettings] = TABLES[table_of(provider)]
    return kind
