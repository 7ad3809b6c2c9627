"""Which keys a login offers and in which order: the same for ssh and for paramiko.

A server ends a connection after some keys that it does not know (OpenSSH: six), so an agent that
holds many could keep the right one from being tried. At most `MOST` are offered: this
installation's, the user's default ones and, as far as there is room, those of their agent. Keys
that the agent holds come first, as in ssh (sshconnect2.c, pubkey_prepare).
"""

from __future__ import annotations

import base64
import binascii
from pathlib import Path
from typing import TYPE_CHECKING

from devbox import files, paths
from devbox.errors import DevboxError
from devbox.model import Box
from devbox.process import run
from devbox.remote import keys

if TYPE_CHECKING:
    import paramiko

MOST = 5
_AGENT_PATIENCE = 3.0  # seconds; an agent may wait for someone to unlock it


def key_files(box: Box) -> tuple[Path, ...]:
    """The identity files of a box, as its ssh config names them."""
    if not keys.offers_own_keys(box):
        return (paths.identity(),)
    return (paths.identity(), *own_files())[:MOST]


def own_files() -> tuple[Path, ...]:
    """The user's default keys, then the agent's as `remember_agent` wrote them."""
    return (*keys.persons_keys(), *sorted(paths.ssh_dir().glob("agent-*.pub")))


def remember_agent() -> None:
    """Write the public halves of the keys that only the agent holds to files, which is how an ssh
    config names such a key. No agent, or one that does not answer: no files."""
    try:
        done = run(["ssh-add", "-L"], check=False, timeout=_AGENT_PATIENCE)
        lines = [] if done.code else done.out.splitlines()
    except DevboxError:
        lines = []
    known = {_blob(file) for file in (paths.identity(), *keys.persons_keys())}
    fresh = [line for line in lines if (blob := _decoded(line)) and blob not in known]
    wanted = {
        paths.ssh_dir() / f"agent-{n}.pub": f"{line}\n" for n, line in enumerate(fresh[: MOST - 1])
    }
    for file in paths.ssh_dir().glob("agent-*.pub"):
        if file not in wanted:
            file.unlink(missing_ok=True)
    for file, text in wanted.items():
        if not file.is_file() or file.read_text(encoding="utf-8") != text:
            files.write_atomic(file, text, mode=0o600)


class Offer:
    """paramiko's `auth_strategy` for one login."""

    def __init__(self, box: Box, user: str) -> None:
        self._box, self._user = box, user

    def authenticate(self, transport: paramiko.Transport) -> list[str]:
        """Offer the keys one by one. AuthenticationException when none is taken."""
        import paramiko

        for key in _in_order(self._box):
            try:
                return list(transport.auth_publickey(self._user, key))
            except paramiko.AuthenticationException:
                continue
        raise paramiko.AuthenticationException("no key was accepted")


def _in_order(box: Box) -> list[paramiko.PKey]:
    """The keys of `key_files` that can sign: those of the agent first, in its order."""
    import paramiko

    wanted = key_files(box)
    listed = {blob for file in wanted if (blob := _blob(file))}
    agent = paramiko.Agent().get_keys() if keys.offers_own_keys(box) else ()
    held = {key.asbytes(): key for key in agent if key.asbytes() in listed}
    loaded = [_load(file) for file in wanted if _blob(file) not in held and file.suffix != ".pub"]
    return [*held.values(), *(key for key in loaded if key is not None)]


def _load(file: Path) -> paramiko.PKey | None:
    """A private key that needs no passphrase; None for any other."""
    import paramiko

    try:
        return paramiko.PKey.from_path(file)
    except (paramiko.SSHException, OSError, ValueError, TypeError, paramiko.pkey.UnknownKeyType):
        return None


def _blob(file: Path) -> bytes | None:
    """The public key of a private key file or of a .pub file."""
    public = file if file.suffix == ".pub" else file.with_name(file.name + ".pub")
    try:
        return _decoded(public.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return None


def _decoded(line: str) -> bytes | None:
    try:
        return base64.b64decode(line.split()[1], validate=True)
    except (IndexError, ValueError, binascii.Error):
        return None
