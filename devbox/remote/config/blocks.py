"""The text of an ssh config: one Host block a box. Pure, and the same for this machine and for
the Windows side of WSL, which differ only in their `Place`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import PurePath
from typing import NamedTuple

from devbox import names
from devbox.errors import SshError
from devbox.model import Box
from devbox.remote import keys, offered
from devbox.remote.config import known_hosts
from devbox.spec import decode_box
from devbox.text import clean

#: Resolves only where this config is read; no box can have it, for names hold no dot.
PROBE, PROBE_HOST = "devbox.include-check", "include-check.devbox.invalid"
HEADER = "# Written by devbox, which replaces the whole file; put your own settings elsewhere.\n"
_UNUSABLE = re.compile(r'[\x00-\x1f\x7f"\\]|\$\{')
_LOOPBACK = ("127.0.0.1", "::1")

# Said here so that nothing in a later `Host *` of the user's file changes them: everything in the
# list of `ssh -G` that can stop a login, an editor or scp. "+" and a member is the default list.
_FIXED = (
    "PreferredAuthentications publickey",
    "PubkeyAuthentication yes",
    "PubkeyAcceptedKeyTypes +ssh-ed25519",
    "PKCS11Provider none",
    "AddKeysToAgent no",
    "BatchMode no",
    "HostKeyAlgorithms +ssh-ed25519",
    "Ciphers +aes128-ctr",
    "MACs +hmac-sha2-256",
    "KexAlgorithms +curve25519-sha256",
    "GlobalKnownHostsFile none",
    "StrictHostKeyChecking yes",
    "UpdateHostKeys no",
    "CheckHostIP no",
    "VerifyHostKeyDNS no",
    "CanonicalizeHostname no",
    "ProxyUseFdpass no",
    "Tunnel no",
    "ClearAllForwardings no",
    "ExitOnForwardFailure no",
    "RequestTTY auto",
    "RemoteCommand none",
    "PermitLocalCommand no",
    "ServerAliveInterval 30",
    "ServerAliveCountMax 3",
    "ConnectTimeout 15",
)
# Keyword in the list of an ssh that knows it: the line. An older ssh refuses a file with a word it
# does not know, for every host; IgnoreUnknown would have to stand above all blocks, where it would
# take the place of the user's own.
_NEWER = {
    "sessiontype": "SessionType default",  # 8.7
    "stdinnull": "StdinNull no",  # 8.7
    "forkafterauthentication": "ForkAfterAuthentication no",  # 8.7
    "pubkeyacceptedalgorithms": "KnownHostsCommand none",  # both 8.5
    "requiredrsasize": "RequiredRSASize 1024",  # 9.1
}


class Place(NamedTuple):
    """Where ssh finds things, as it reads paths there. own_keys: the user's own key files.
    control: folder of ControlMaster sockets, None where ssh has none (Windows). known: the
    keywords that this ssh lists."""

    identity: PurePath
    own_keys: tuple[PurePath, ...]
    known_hosts: PurePath
    control: PurePath | None
    known: frozenset[str] = frozenset()


def render(boxes: Iterable[Box], place: Place) -> str:
    """The whole config. SshError or UsageError when an endpoint or a path is not usable in it."""
    for path in (
        place.identity,
        place.known_hosts,
        *place.own_keys,
        place.control or place.identity,
    ):
        quoted(path)
    probe = f"Host {PROBE}\n  HostName {PROBE_HOST}\n"
    return "\n".join([HEADER + probe, *(block(box, place) for box in boxes)])


def block(box: Box, place: Place) -> str:
    """One box with an endpoint. Raises as `render`."""
    endpoint = box.endpoint
    if endpoint is None:
        raise SshError(f"box {box.name} has no ssh address yet")
    shared, forwards = keys.offers_own_keys(box), decode_box(box.spec).forward_agent
    files = [place.identity, *(place.own_keys if shared else ())][: offered.MOST]
    lines = [
        f"HostName {names.host(endpoint.host)}",
        f"Port {names.port(endpoint.port)}",
        f"User {names.user(endpoint.user)}",
        f"HostKeyAlias {known_hosts.alias(box)}",
        f"UserKnownHostsFile {quoted(place.known_hosts)}",
        *(f"IdentityFile {quoted(file)}" for file in files),
        "IdentitiesOnly yes",
        # Only an agent that ssh has is forwarded; which of its keys log in, IdentitiesOnly says.
        f"IdentityAgent {'SSH_AUTH_SOCK' if shared or forwards else 'none'}",
        f"ForwardAgent {'yes' if forwards else 'no'}",
        *_FIXED,
        *(line for keyword, line in _NEWER.items() if keyword in place.known),
    ]
    if place.control:
        socket = quoted(place.control)[:-1] + '/%C"'
        lines += ["ControlMaster auto", f"ControlPath {socket}", "ControlPersist 10m"]
    else:
        lines += ["ControlMaster no", "ControlPath none"]
    # Without a proxy of its own a box is reached directly, as devbox's own verbs do.
    lines.append(f"ProxyCommand {_one_line(endpoint.via) if endpoint.via else 'none'}")
    if endpoint.host in _LOOPBACK:
        lines += ["AddressFamily any", f"BindAddress {endpoint.host}"]
    return "\n".join([f"Host {names.name(box.name) and box.alias}", *map("  {}".format, lines), ""])


def is_usable(path: PurePath) -> bool:
    """Whether an ssh config can name the path."""
    return not _UNUSABLE.search(path.as_posix())


def _one_line(command: str) -> str:
    """A ProxyCommand of the user's own config. SshError for one that is more than a line."""
    if not command.isprintable() or len(command) > 2000:
        raise SshError(f"the ProxyCommand {clean(command, 80)!r} cannot be written to a config")
    return command


def quoted(path: PurePath, *, tokens: bool = True) -> str:
    """A path as one word of an ssh config; with `tokens` its '%' doubled, for the settings
    where ssh expands %-tokens. SshError for characters that no ssh version reads back."""
    text = path.as_posix()
    if not is_usable(path):
        raise SshError(
            f"ssh cannot be told of the path {clean(text, 120)!r}",
            fix="set DEVBOX_HOME to a folder without quotes, backslashes or '${' in its name",
        )
    return '"{}"'.format(text.replace("%", "%%") if tokens else text)
