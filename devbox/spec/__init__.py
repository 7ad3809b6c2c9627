"""devbox.toml ↔ typed spec. Unknown keys are refused; an error names file, key and the fix.

Values come from four places, later ones win: built-in defaults, the user config's [defaults],
the project's [defaults], the box's own table. `load` keeps where each value came from.
"""

from devbox.spec.box_tables import BoxSpec, Idle, OnProvider, Sync, Volume, choice_of, choices
from devbox.spec.checkpoints import Checkpoint
from devbox.spec.convert import OURS
from devbox.spec.job_tables import (
    Argument,
    Environment,
    Input,
    JobSpec,
    Memory,
    MemoryPoint,
    ServiceSpec,
)
from devbox.spec.load import (
    ad_hoc,
    asked,
    decode_job,
    decode_service,
    find,
    load,
    parse,
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
from devbox.spec.tables import FILE_NAME, Budget, FixedCost, Notify, Publish, Spec, Variant
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
    "FixedCost",
    "HfSettings",
    "Idle",
    "Input",
    "JobSpec",
    "LocalSettings",
    "Memory",
    "MemoryPoint",
    "ModalSettings",
    "Notify",
    "OnProvider",
    "ProviderSettings",
    "Providers",
    "Publish",
    "Seconds",
    "ServiceSpec",
    "Spec",
    "SshSettings",
    "Sync",
    "Variant",
    "Volume",
    "ad_hoc",
    "asked",
    "choice_of",
    "choices",
    "decode_box",
    "decode_job",
    "decode_service",
    "encode_box",
    "find",
    "is_headless",
    "lenient",
    "load",
    "parse",
    "project_name",
    "read_toml",
    "require_whole",
    "settings_type",
    "trust_file",
    "unread",
]
