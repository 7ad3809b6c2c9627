"""devbox.toml ↔ typed spec. Unknown keys are refused; an error names file, key and the fix.

Values come from four places, later ones win: built-in defaults, the user config's [defaults],
the project's [defaults], the box's own table. `load` keeps where each value came from.
"""

from devbox.spec.convert import OURS
from devbox.spec.load import (
    asked,
    decode_job,
    find,
    load,
    project_name,
    read_toml,
    trust_file,
)
from devbox.spec.provider_settings import (
    DockerSettings,
    HfSettings,
    LocalSettings,
    ModalSettings,
    Providers,
    ProviderSettings,
    SshSettings,
    settings_type,
)
from devbox.spec.stored import (
    decode_box,
    encode_box,
    is_headless,
    lenient,
    require_whole,
    unread,
)
from devbox.spec.tables import (
    FILE_NAME,
    Argument,
    BoxSpec,
    Budget,
    Checkpoint,
    Environment,
    Idle,
    Input,
    JobSpec,
    Publish,
    Spec,
    Sync,
    Variant,
    Volume,
)
from devbox.spec.values import Bytes, Seconds

__all__ = [
    "FILE_NAME",
    "OURS",
    "Argument",
    "BoxSpec",
    "Budget",
    "Bytes",
    "Checkpoint",
    "DockerSettings",
    "Environment",
    "HfSettings",
    "Idle",
    "Input",
    "JobSpec",
    "LocalSettings",
    "ModalSettings",
    "ProviderSettings",
    "Providers",
    "Publish",
    "Seconds",
    "Spec",
    "SshSettings",
    "Sync",
    "Variant",
    "Volume",
    "asked",
    "decode_box",
    "decode_job",
    "encode_box",
    "find",
    "is_headless",
    "lenient",
    "load",
    "project_name",
    "read_toml",
    "require_whole",
    "settings_type",
    "trust_file",
    "unread",
]
