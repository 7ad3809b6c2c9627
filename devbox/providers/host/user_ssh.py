"""The user's own ssh: how devbox gets to a host for the first time.

It uses their config, agent and known_hosts exactly as `ssh TARGET` does, so a jump host, a port or
a key they have set up just works, and their host-key check is the channel we trust.
"""

from __future__ import annotations

import os
import pwd
import re
import shlex
from pathlib import Path
from typing import NamedTuple

from devbox import names
from devbox.errors import (
    AuthError,
    ProviderError,
    TookTooLong,
    Unavailable,
    UsageError,
)
from devbox.process import Completed, run
from devbox.remote import refusal
from devbox.remote.refusal import Refusal
from devbox.text import clean

_TARGET = re.compile(r"(?:ssh://)?(?:[A-Za-z0-9_][A-Za-z0-9._-]{0,63}@)?[^@\s\x00-\x1f\x7f]{1,253}")
_KEY = re.compile(r"(?:ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp\d+) [A-Za-z0-9+/=]+")
_BEGINS = "devbox-output-begins"
_TIMEOUT = 20.0

# What would get in the way of one quiet command: questions, forwards of ports that are taken,
# a command of its own, an own program, and a shared connection left behind in the background.
_OPTIONS = (
    "BatchMode=yes",
    "ConnectTimeout=10",
    "ClearAllForwardings=yes",
    "RemoteCommand=none",
    "PermitLocalCommand=no",
    "ControlPersist=no",
    "ForwardAgent=no",
    "RequestTTY=no",
)


class Unreached(Unavailable):
    """Nobody answered: whatever was asked surely did nothing."""


class Way(NamedTuple):
    """How the user's ssh reaches a target: what `ssh -G` resolves. via: a ProxyCommand, or ''.
    trusted: the host keys that their known_hosts files hold for it."""

    host: str
    port: int
    user: str
    via: str
    trusted: tuple[str, ...]


def way(target: str) -> Way:
    """UsageError for a target that is none; ProviderError when ssh cannot make it out."""
    if not _TARGET.fullmatch(target) or target.startswith("-"):
        raise UsageError(
            f"{clean(target, 80)!r} is not an ssh target",
            fix='set host = "user@machine", or a Host of your ~/.ssh/config',
        )
    done = run(["ssh", *_config(), "-G", "--", target], check=False, timeout=_TIMEOUT)
    if done.code:
        raise ProviderError(
            f"ssh cannot make out {clean(target, 80)}: {clean(done.err.strip()[-200:], 200)}",
            fix=f"make this work first: ssh {shlex.quote(clean(target, 80))}",
        )
    settings = dict(line.partition(" ")[::2] for line in done.out.splitlines())
    host, port = names.host(settings["hostname"]), names.port(settings["port"])
    return Way(host, port, names.user(settings["user"]), _via(settings), _trusted(settings, host))


def ask(target: str, script: str, *, timeout: float = _TIMEOUT) -> Completed:
    """Run a shell script on the target as `ssh TARGET` would, without ever asking a question.

    AuthError when the user's own login is refused or the host is not known to them, Unreached
    when nobody answers, Unavailable when it is unknown how far the script came.
    """
    shown = clean(target, 80)
    try:
        done = run(
            [*command(), "--", target, "sh -s"],
            input=f"echo {_BEGINS}\n{script}".encode(),
            check=False,
            timeout=timeout,
            env={**os.environ, "SSH_ASKPASS_REQUIRE": "never", "LC_ALL": "C"},
        )
    except TookTooLong as error:
        raise Unavailable(f"{shown} did not answer within {timeout:.0f} s") from error
    if done.code != refusal.FAILED:
        # A login shell may print lines of its own before.
        return done._replace(out=done.out.rpartition(f"{_BEGINS}\n")[2])
    raise failure(target, done.err)


def command(*options: str) -> list[str]:
    """The user's ssh, which never asks a question, up to its target. options: more of -o."""
    words = [word for option in (*_OPTIONS, *options) for word in ("-o", option)]
    return ["ssh", *_config(), *words]


def failure(target: str, err: str) -> AuthError | Unavailable:
    """The error for what ssh itself printed when it did not get to the target."""
    shown = clean(target, 80)
    by_hand = f"make this work first, without a password: ssh {shlex.quote(shown)}"
    said = clean(err.strip()[-300:], 300)
    match refusal.of(err):
        case Refusal.HOST_KEY_CHANGED:
            return AuthError(
                f"{shown} shows another host key than the one your ssh knows",
                means="someone may be in between, or it was installed again; nothing was sent to "
                "it",
                fix=by_hand,
            )
        case Refusal.HOST_KEY_UNKNOWN:
            return AuthError(f"your ssh does not know the host key of {shown}", fix=by_hand)
        case Refusal.KEY:
            return AuthError(f"{shown} does not let you in: {said}", fix=by_hand)
        case Refusal.NAME | Refusal.UNREACHED:
            return Unreached(f"{shown} does not answer: {said}", fix=by_hand)
        case Refusal.CUT:
            return Unavailable(f"{shown} does not answer: {said}", fix=by_hand)


def host_keys(output: str) -> tuple[str, ...]:
    """The public host keys in a text, without comments."""
    return tuple(dict.fromkeys(_KEY.findall(output)))


def _config() -> list[str]:
    """ssh looks for its config in the home of the passwd file; a HOME that was moved is ours to
    follow."""
    file = Path.home() / ".ssh" / "config"
    moved = Path.home() != Path(pwd.getpwuid(os.getuid()).pw_dir)
    return ["-F", str(file)] if moved and file.exists() else []


def _trusted(settings: dict[str, str], host: str) -> tuple[str, ...]:
    name = settings.get("hostkeyalias", "")
    if not name:
        name = host if settings["port"] == "22" else f"[{host}]:{settings['port']}"
    found = ""
    for key in ("userknownhostsfile", "globalknownhostsfile"):
        for file in settings.get(key, "").split():
            path = Path(file).expanduser()
            if path.is_file():
                argv = ["ssh-keygen", "-F", name, "-f", str(path)]
                lines = run(argv, check=False, timeout=_TIMEOUT).out.splitlines()
                found += "\n".join(line for line in lines if not line.startswith(("#", "@"))) + "\n"
    return host_keys(found)


def _via(settings: dict[str, str]) -> str:
    command = settings.get("proxycommand", "none")
    if command != "none":
        # Only ours would know them by another name: %n is what the user typed.
        return command.replace("%n", "%h")
    jump = settings.get("proxyjump", "none")
    if jump == "none":
        return ""
    *before, last = jump.split(",")
    words = ["ssh", *_config(), "-o", "ServerAliveInterval=30", "-o", "ControlMaster=no"]
    words += ["-J", ",".join(before)] if before else []
    return f"{shlex.join(words)} -W '[%h]:%p' -- {shlex.quote(f'ssh://{last}')}"
