"""The one ed25519 key of this installation, host keys for new boxes, and whose keys may log in."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from devbox import files, paths
from devbox.errors import SshError
from devbox.model import Box
from devbox.process import run

_DEFAULT_NAMES = ("id_ed25519", "id_ecdsa", "id_rsa")


def ensure_identity() -> str:
    """Make this installation's key once and return its public line ('ssh-ed25519 AAAA… devbox').

    Safe under many processes at once. A key that exists is never replaced: SshError when it
    cannot be read, because a new one would lock the user out of the boxes that know the old.
    """
    private = paths.identity()
    public = private.with_name(private.name + ".pub")
    if not (private.exists() and public.exists()):
        with files.locked(paths.ssh_dir() / "identity.lock"):
            if not private.exists():
                _make(private, public)
            elif not public.exists():
                _make_private(private)
                files.write_atomic(public, _public_of(private), mode=0o644)
    _make_private(private)
    return public.read_text(encoding="utf-8").strip()


def require_identity(box: Box) -> None:
    """SshError when this installation's key is gone: a new one would not be let in."""
    if not paths.identity().exists():
        raise SshError(
            f"this computer's ssh key {paths.identity()} is gone",
            means=f"{box.name} is as it was, and knows only that key",
            fix="restore the file from a backup, or make a new key and have the box take it: "
            f"devbox up {box.name}",
        )


def new_host_key() -> tuple[str, str]:
    """A fresh ed25519 host key for one box: (private key in OpenSSH PEM form, public line)."""
    with tempfile.TemporaryDirectory(dir=paths.ssh_dir(), prefix=".host") as folder:
        file = Path(folder) / "key"
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "devbox-host", "-f", str(file)])
        return file.read_text(), file.with_name("key.pub").read_text().strip()


def offers_own_keys(box: Box) -> bool:
    """Whether the user's own keys and agent may be offered besides this installation's key: at a
    provider's gateway, which its boxes share and which knows its users."""
    return bool(box.endpoint and box.endpoint.host_key_alias)


def persons_keys(folder: Path | None = None) -> tuple[Path, ...]:
    """The default private key files that exist in `folder` (None: the user's ~/.ssh)."""
    folder = folder or Path.home() / ".ssh"
    return tuple(folder / name for name in _DEFAULT_NAMES if os.path.isfile(folder / name))


def _make(private: Path, public: Path) -> None:
    """The public half is placed first: a private key that exists is therefore complete."""
    with tempfile.TemporaryDirectory(dir=private.parent, prefix=".new") as folder:
        file = Path(folder) / "key"
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "devbox", "-f", str(file)])
        os.replace(file.with_name("key.pub"), public)
        os.replace(file, private)


def _make_private(private: Path) -> None:
    """ssh ignores a key that others may read, as one copied back from a backup may be."""
    if private.stat().st_mode & 0o077:
        private.chmod(0o600)


def _public_of(private: Path) -> str:
    done = run(["ssh-keygen", "-y", "-P", "", "-f", str(private)], check=False)
    if done.code:
        raise SshError(
            f"the ssh key {private} cannot be read: {done.err.strip()[-200:]}",
            means="boxes that know this key cannot be reached without it",
            fix=f"restore {private} from a backup, or move it away to make a new one",
        )
    return done.out.strip() + "\n"
