"""Waiting until a box that is starting lets us log in."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from devbox.errors import KeyRefused, NameUnknown, NoAnswer, SshError
from devbox.model import Box
from devbox.remote import agent_bootstrap
from devbox.remote.config import known_hosts, ssh_config
from devbox.remote.exec import Exec, NotFinished

if TYPE_CHECKING:
    from devbox.remote.connection import Connection

T = TypeVar("T")

_FIRST, _GROWTH, _LONGEST = 0.05, 1.6, 3.0  # seconds between attempts
#: seconds for which a key that is refused, and a name without an address, are tried again
REFUSED_FOR, UNKNOWN_FOR = 30.0, 20.0
_TELL_AFTER = 2.0  # seconds of refusals before they are told
# Seconds for each part of an attempt. What a tunnel takes before the box listens may lead nowhere
# permanently: an early attempt is given up soon, a late one may be on a slow line.
_PATIENCE, _MORE_PATIENCE, _MOST_PATIENCE = 4.0, 1.6, 15.0


def for_login(
    box: Box,
    *,
    timeout: float,
    clock: Callable[[], float],
    sleep: Callable[[float], None],
    first_use: Callable[[str], None] | None = None,
    refused: Callable[[], None] = lambda: None,
    log_in: Callable[[Box, float], T],
) -> T:
    """Poll until `log_in` works, at most `timeout` seconds; what it returned. It gets the box and
    the seconds that it has: `by_client`, or `by_library`, whose connection the caller closes.

    A key that is refused is tried again for `REFUSED_FOR` seconds, as a starting box may place
    our key after its server is up; `refused` is called once, when that is not over at once, for
    whoever can do something about it meanwhile. A host name without an address is waited for
    `UNKNOWN_FOR` seconds, as a new one may take moments to be published. A wrong host key ends
    the wait at once.
    first_use: narration of `known_hosts.pin_first_use`, which is called for an endpoint without
    known host keys; None never trusts a first answer. SshError says why there was no login.
    """
    begin = clock()
    refused_since: float | None = None
    unknown_since: float | None = None
    told = False
    pause, patience = _FIRST, _PATIENCE
    while True:
        try:
            left = max(1.0, begin + timeout - clock())
            _prepare(box, first_use, timeout=min(left, patience))
            return log_in(box, min(left, patience))
        except (NoAnswer, KeyRefused) as error:
            now, reason = clock(), error
        unknown_since = (unknown_since or now) if isinstance(reason, NameUnknown) else None
        if unknown_since is not None and now - unknown_since >= UNKNOWN_FOR:
            raise _gave_up(box, reason, now - begin)
        if isinstance(reason, NoAnswer):
            refused_since = None
            patience = min(patience * _MORE_PATIENCE, _MOST_PATIENCE)
        elif refused_since is None:
            refused_since = now
        elif now - refused_since >= REFUSED_FOR:
            raise reason
        elif now - refused_since >= _TELL_AFTER and not told:
            told = True
            refused()
        if now - begin + pause > timeout:
            raise _gave_up(box, reason, now - begin)
        sleep(pause)
        pause = min(pause * _GROWTH, _LONGEST)


def _resolve(box: Box) -> None:
    """NameUnknown when the box's host name has no address; ssh-keyscan would only be silent."""
    endpoint = box.endpoint
    if endpoint is None or endpoint.via:
        return
    try:
        socket.getaddrinfo(endpoint.host, endpoint.port, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        raise NameUnknown(
            f"the name {endpoint.host} of {box.name} does not resolve: {error.strerror}",
            fix=f"check this computer's network and DNS, then: devbox up {box.name}; "
            f"end it: devbox down {box.name}",
        ) from error


def by_client(box: Box, timeout: float) -> Exec:
    """A login by the ssh client and our config. What runs on the box next shares its connection,
    which is a new one: one that is there may be to an earlier life of the box."""
    ssh_config.abandon(box)
    line = Exec(box)
    try:
        done = line.run(agent_bootstrap.probe(), timeout=timeout, check=False)
    except NotFinished as error:  # a box that starts may be slow
        raise NoAnswer(error.what, box=box.id) from error
    line.is_new = done.code == 1
    return line


def by_library(box: Box, timeout: float) -> Connection:
    """A login that needs no ssh config."""
    from devbox.remote.connection import connect  # why: half the time of an `up` to import

    return connect(box, timeout=timeout)


def _prepare(box: Box, first_use: Callable[[str], None] | None, *, timeout: float) -> None:
    _resolve(box)
    told = box.endpoint is None or box.endpoint.host_keys is not None
    if first_use and not told and not known_hosts.pinned(known_hosts.alias(box)):
        known_hosts.pin_first_use(box, narrate=first_use, timeout=min(timeout, 5.0))


def _gave_up(box: Box, last: SshError, waited: float) -> SshError:
    """The last reason, with how long we waited; its type tells a caller which one it was."""
    return type(last)(
        f"no login on {box.name} after {waited:.0f} s: {last.what}",
        means="the box is up as far as its provider says, and may be costing money",
        fix=last.fix or f"try again: devbox up {box.name}; end it: devbox down {box.name}",
    )
