"""Where files live, as functions. DEVBOX_HOME moves all of devbox's own files at once."""

from __future__ import annotations

import os
from pathlib import Path

# A unix socket path holds 104 bytes on macOS; ssh appends "/" + 40 hex of %C + "." + 16 random.
_SOCKET_ROOM = 104 - 1 - 40 - 17


def home() -> Path:
    """devbox's own folder: $DEVBOX_HOME, else ~/.devbox. Created private (0700)."""
    path = Path(os.environ.get("DEVBOX_HOME") or Path.home() / ".devbox").absolute()
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path


def state_db() -> Path:
    return home() / "state.db"


def user_config() -> Path:
    """The user-level config that merges under each devbox.toml."""
    return home() / "config.toml"


def ssh_dir() -> Path:
    path = home() / "ssh"
    path.mkdir(mode=0o700, exist_ok=True)
    return path


def ssh_config() -> Path:
    """devbox's own ssh config; the person's file gets one Include of it."""
    return ssh_dir() / "config"


def known_hosts() -> Path:
    return ssh_dir() / "known_hosts"


def identity() -> Path:
    """The private key of this installation; the public half is beside it with .pub."""
    return ssh_dir() / "id_ed25519"


def control_dir() -> Path:
    """Folder of ControlMaster sockets; a short one under the temp folder when home is deep."""
    path = home() / "cm"
    if len(os.fsencode(path)) > _SOCKET_ROOM:
        # Here, for few homes are that deep and every command starts through this module.
        import hashlib
        import tempfile

        digest = hashlib.sha256(os.fsencode(path)).hexdigest()[:10]
        path = Path(tempfile.gettempdir()) / f"devbox-{os.getuid()}-{digest}"
    path.mkdir(mode=0o700, exist_ok=True)
    return path


def local_boxes() -> Path:
    """Where the local provider keeps its boxes, one folder each."""
    path = home() / "local"
    path.mkdir(mode=0o700, exist_ok=True)
    return path


def cache_dir() -> Path:
    path = home() / "cache"
    path.mkdir(mode=0o700, exist_ok=True)
    return path


def data(kind: str) -> Path:
    """A packaged data folder, 'images' or 'templates': from the wheel, else the checkout."""
    package = Path(__file__).parent
    packed = package / "_data" / kind
    return packed if packed.is_dir() else package.parent / kind
