"""The person's own ssh: how devbox gets to a host for the first time.

It uses their config, agent and known_hosts exactly as `ssh TARGET` does, so a jump host, a port or
a key they have set up just works, and their host-key check is the channel we trust.
"""

from __future__ import annotations

import re
import shlex
from typing import NamedTuple

from devbox import names
from devbox.errors import SshError, Unavailable, UsageError
from devbox.process import Completed, run
from devbox.text import clean

_TARGET = re.compile(r"(?:ssh://)?(?:[A-Za-z0-9_][A-Za-z0-9._-]{0,63}@)?[^@\s]{1,253}")
_KEY = re.compile(r"(?:ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp\d+) [A-Za-z0-9+/=]+")
_TIMEOUT = 20.0
# What ssh itself says with exit code 255, as opposed to the far command.
_REFUSED = ("Permission denied", "Too many authentication failures")
_UNKNOWN = ("Host key verification failed", "No ED25519 host key is known", "host key is known for")


class Way(NamedTuple):
    """How the person's ssh reaches a target: what `ssh -G` resolves."""

    host: str
    port: int
    user: str
    via: str


def way(target: str) -> Way:
    """UsageError for a target that is none; SshError when the person's config is broken."""
    if not _TARGET.fullmatch(target) or target.startswith("-"):
        raise UsageError(
            f"{clean(target, 80)!r} is not an ssh target",
            fix='set host = "user@machine", or a Host of your ~/.ssh/config',
        )
    done = run(["ssh", "-G", "--", target], check=False, timeout=_TIMEOUT)
    if done.code:
        raise SshError(
            f"ssh cannot make out {clean(target, 80)}: {clean(done.err.strip()[-200:], 200)}",
            fix=f"make this work first: ssh {target}",
        )
    settings = dict(line.partition(" ")[::2] for line in done.out.splitlines())
    return Way(
        names.host(settings["hostname"]),
        names.port(settings["port"]),
        names.user(settings["user"]),
        _via(settings),
    )


def ask(target: str, script: str, *, timeout: float = _TIMEOUT) -> Completed:
    """Run a shell script on the target as `ssh TARGET` would, without ever asking a question.

    SshError says how the person's own login fails; Unavailable when nobody answers.
    """
    options = ["-o", "BatchMode=yes", "-o", "ConnectTimeout=10", "-T"]
    done = run(
        ["ssh", *options, "--", target, "sh -s"],
        input=script.encode(),
        check=False,
        timeout=timeout,
    )
    if done.code != 255:
        return done
    said = clean(done.err.strip()[-300:], 300)
    by_hand = f"make this work first, without a password: ssh {shlex.quote(target)}"
    if any(word in done.err for word in _UNKNOWN):
        raise SshError(f"your ssh does not know the host key of {clean(target, 80)}", fix=by_hand)
    if any(word in done.err for word in _REFUSED):
        raise SshError(f"{clean(target, 80)} does not let you in: {said}", fix=by_hand)
    raise Unavailable(f"{clean(target, 80)} does not answer: {said}", fix=by_hand)


def host_keys(output: str) -> tuple[str, ...]:
    """The public host keys in a script's output, without comments."""
    return tuple(dict.fromkeys(_KEY.findall(output)))


def _via(settings: dict[str, str]) -> str:
    command = settings.get("proxycommand", "none")
    if command != "none":
        return command
    jump = settings.get("proxyjump", "none")
    if jump == "none":
        return ""
    *before, last = jump.split(",")
    through = f"-J {shlex.quote(','.join(before))} " if before else ""
    host, _, port = last.rpartition(":") if re.search(r"(?<![:\w]):?\d+$", last) else (last, "", "")
    at = f"-p {port} " if port and host else ""
    return f"ssh {through}{at}-W [%h]:%p -- {shlex.quote(host or last)}"
