"""Where files live, as functions. DEVBOX_HOME moves all of devbox's own files at once."""

from __future__ import annotations

import os
from pathlib import Path

from devbox.errors import DevboxError

# A unix socket path holds 104 bytes on macOS; ssh appends "/" + 40 hex of %C + "." + 16 random.
_SOCKET_ROOM = 104 - 1 - 40 - 17


def home() -> Path:
    """devbox's own folder: $DEVBOX_HOME, else ~/.devbox. Created private (0700). DevboxError when
    it cannot be used: everything devbox remembers lives there."""
    named = os.environ.get("DEVBOX_HOME", "")
    try:
        path = Path(named).expanduser() if named else Path.home() / ".devbox"
    except RuntimeError as error:
        raise DevboxError(
            "this account has no home folder for devbox to keep its record in",
            fix="set DEVBOX_HOME to a folder of yours, with its whole path",
        ) from error
    if not path.is_absolute():
        from devbox.text import clean  # why here: every command starts through this module

        raise DevboxError(
            f"DEVBOX_HOME is relative ({clean(named, 100)}), so each folder would have its own",
            means="nothing was read or changed",
            fix=f"give its whole path: export DEVBOX_HOME={clean(str(path.absolute()), 200)}",
        )
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        from devbox.text import clean  # why here: as above

        why = "it is a file" if path.is_file() else error.strerror
        raise DevboxError(
            f"devbox's own folder {clean(str(path), 200)} cannot be used: {why}",
            means="nothing was read or changed; boxes that run keep costing",
            fix="set DEVBOX_HOME to a folder of yours that can be written",
        ) from error
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
