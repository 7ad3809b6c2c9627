"""Where files live, as functions. DEVBOX_HOME moves all of devbox's own files at once."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from devbox.errors import DevboxError
from devbox.files import private_dir

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
        return private_dir(path, parents=True)
    except OSError as error:
        from devbox.text import clean  # why here: as above

        why = "it is a file" if path.is_file() else error.strerror
        raise DevboxError(
            f"devbox's own folder {clean(str(path), 200)} cannot be used: {why}",
            means="nothing was read or changed; boxes that run keep costing",
            fix="set DEVBOX_HOME to a folder of yours that can be written",
        ) from error


def state_db() -> Path:
    return home() / "state.db"


def user_config() -> Path:
    """The user-level config that merges under each devbox.toml."""
    return home() / "config.toml"


def ssh_dir() -> Path:
    return private_dir(home() / "ssh")


def ssh_config() -> Path:
    """devbox's own ssh config; the user's file gets one Include of it."""
    return ssh_dir() / "config"


def known_hosts() -> Path:
    return ssh_dir() / "known_hosts"


def identity() -> Path:
    """The private key of this installation; the public half is beside it with .pub."""
    return ssh_dir() / "id_ed25519"


def control_dir() -> Path | None:
    """Folder of ControlMaster sockets: in devbox's own, or where that is too deep for a socket, a
    short one that is ours alone. None without such a place: ssh then shares no connections."""
    path = home() / "cm"
    if _fits(path):
        return private_dir(path)
    # Here, for few homes are that deep and every command starts through this module.
    import hashlib
    import tempfile

    digest = hashlib.sha256(os.fsencode(path)).hexdigest()[:10]
    for place in (tempfile.gettempdir(), "/tmp"):  # noqa: S108
        path = Path(place, f"devbox-{os.getuid()}-{digest}")
        if _fits(path):
            # Anyone may have made it first in a shared folder.
            with suppress(DevboxError, OSError):
                return private_dir(path)
    return None


def _fits(path: Path) -> bool:
    return len(os.fsencode(path)) <= _SOCKET_ROOM


def local_boxes() -> Path:
    """Where the local provider keeps its boxes, one folder each."""
    return private_dir(home() / "local")


def cache_dir() -> Path:
    return private_dir(home() / "cache")


def data(kind: str) -> Path:
    """A packaged data folder, 'images' or 'templates': from the wheel, else the checkout."""
    package = Path(__file__).parent
    packed = package / "_data" / kind
    return packed if packed.is_dir() else package.parent / kind
