"""devbox's own known_hosts: host keys pinned by alias, so that strict checking can stay on.

One line a key: `ALIAS TYPE BASE64`. Only keys from a channel we trust come in through `pin`;
`pin_first_use` is the one door for a gateway whose key nobody told us.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence

from devbox import files, names, paths
from devbox.errors import HostKeyRefused, NoAnswer, SshError
from devbox.model import Box
from devbox.process import run
from devbox.text import clean

# In the order they are preferred in: a client settles on the first one it knows a key of.
_TYPES = (
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "ssh-rsa",
)
_ALIAS = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,252}")


def alias(box: Box) -> str:
    """The name a box's host key is pinned under. SshError when its provider gave a bad one."""
    name = (box.endpoint.host_key_alias if box.endpoint else "") or box.alias
    if not _ALIAS.fullmatch(name):
        raise SshError(f"the host key alias {clean(name, 60)!r} of box {box.name} is not usable")
    return name


def pin(name: str, host_keys: Sequence[str]) -> None:
    """Make `host_keys` ('ssh-ed25519 AAAA… [comment]' lines) the only keys of alias `name`."""
    update({name: host_keys})


def pinned(name: str) -> tuple[str, ...]:
    """The 'TYPE BASE64' lines pinned under alias `name`."""
    return tuple(rest for alias_, rest in _lines() if alias_ == name)


def update(
    pins: Mapping[str, Sequence[str]], forget: Callable[[str], bool] = lambda _: False
) -> None:
    """Replace the keys of every alias in `pins` and drop the aliases `forget` says yes to, in
    one atomic write under a lock. SshError when a key is malformed; then nothing is changed."""
    fresh = {name: [_checked(key) for key in keys] for name, keys in pins.items()}
    with files.locked(paths.ssh_dir() / "known_hosts.lock"):
        before = list(_lines())
        after = [
            (name, rest) for name, rest in before if name not in fresh and not forget(name)
        ] + [(name, key) for name, keys in fresh.items() for key in keys]
        if after != before or not paths.known_hosts().exists():
            text = "".join(f"{name} {rest}\n" for name, rest in after)
            files.write_atomic(paths.known_hosts(), text, mode=0o600)


def pin_first_use(
    box: Box, *, narrate: Callable[[str], None] = lambda _: None, timeout: float = 5.0
) -> str:
    """Ask the box's gateway for its key, pin it, and return its fingerprint ('SHA256:…').

    The fingerprint goes to `narrate`, because this first answer is believed. A key that is
    already pinned stays; its fingerprint is returned. HostKeyRefused when the provider told us
    the box's keys (then they are pinned already), NoAnswer when nothing answers in `timeout` s.
    """
    endpoint, name = box.endpoint, alias(box)
    if endpoint is None or endpoint.host_keys is not None:
        raise HostKeyRefused(f"the host key of box {box.name} must come from its provider")
    known = pinned(name)
    if known:
        return fingerprint(known[0])
    argv = ["ssh-keyscan", "-T", str(max(1, round(timeout))), "-p", str(endpoint.port)]
    argv += ["-t", "ed25519,ecdsa,rsa", "--", names.host(endpoint.host)]
    done = run(argv, check=False, timeout=4 * timeout + 5)
    found = [line.split(" ", 1)[1] for line in done.out.splitlines() if _is_answer(line)]
    if not found:
        raise NoAnswer(
            f"{endpoint.host} port {endpoint.port} does not answer as an ssh server",
            fix=f"try again; see the state with: devbox status {box.name}",
        )
    found.sort(key=lambda key: _TYPES.index(key.split()[0]))
    pin(name, found)
    mark = fingerprint(found[0])
    narrate(f"trusting {endpoint.host} on first use: {found[0].split()[0]} {mark}")
    return mark


def fingerprint(host_key: str) -> str:
    """'SHA256:…' of a 'TYPE BASE64' line, as `ssh-keygen -l` prints it."""
    digest = hashlib.sha256(base64.b64decode(_checked(host_key).split()[1])).digest()
    return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


def _is_answer(line: str) -> bool:
    return not line.startswith("#") and len(line.split()) == 3 and line.split()[1] in _TYPES


def _checked(host_key: str) -> str:
    """'TYPE BASE64' of one key line, without its comment."""
    parts = host_key.split(None, 2)[:2]
    try:
        if len(parts) != 2 or parts[0] not in _TYPES or len(parts[1]) > 4096:
            raise ValueError
        blob = base64.b64decode(parts[1], validate=True)
        if not blob.startswith(len(parts[0]).to_bytes(4, "big") + parts[0].encode()):
            raise ValueError
    except (ValueError, binascii.Error):
        raise SshError(f"not an ssh host key: {clean(host_key, 60)!r}") from None
    return " ".join(parts)


def _lines() -> Iterable[tuple[str, str]]:
    if paths.known_hosts().exists():
        for line in paths.known_hosts().read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, rest = line.partition(" ")
            if rest:
                yield name, rest
