"""Hosts you already have, behind the provider contract. The handle is the token.

Adopting a host puts devbox's public key into its authorized_keys (one line, marked with the box's
token) through the person's own ssh, and reads its host keys the same way. Letting it go takes the
line out again and stops the box half. Nothing else on the machine is touched.
"""

from __future__ import annotations

import re
import shlex
import time
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from devbox.errors import Conflict, Gone, ProviderError, SshError, Unavailable, UsageError
from devbox.model import BoxState, Endpoint, Hardware, Offer, Price
from devbox.providers.base import CanPause, Observation, Provider, Request
from devbox.providers.host import person
from devbox.providers.host.record import Record, Records
from devbox.spec import ProviderConfig
from devbox.text import clean

HARDWARE = "host"
_TOKEN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")

# Seconds that a machine may still answer after it was told to suspend.
_FALLING_ASLEEP = 90.0

_ADOPT = """\
set -eu
umask 077
mkdir -p ~/.ssh
touch ~/.ssh/authorized_keys
grep -qF {mark} ~/.ssh/authorized_keys || printf '%s\\n' {line} >> ~/.ssh/authorized_keys
cat /etc/ssh/ssh_host_*_key.pub
"""
_RELEASE = """\
set -eu
pid=$(sed -n 's/.*"pid": *\\([0-9]*\\).*/\\1/p' ~/.devbox-box/agent.json 2>/dev/null || true)
[ -z "$pid" ] || kill "$pid" 2>/dev/null || true
file=$(readlink -f ~/.ssh/authorized_keys)
if grep -qF {mark} "$file" 2>/dev/null; then
    cp -p "$file" "$file.devbox" && { grep -vF {mark} "$file" > "$file.devbox" || true; }
    mv "$file.devbox" "$file"
fi
"""


def make(config: ProviderConfig) -> Provider:
    """Of the settings only `price` applies: dollars an hour to reckon with."""
    return Host(config)


class Host(Provider, CanPause):
    """Machines reached as `ssh TARGET`. clock: () → unix seconds."""

    name = "ssh"

    def __init__(
        self,
        config: ProviderConfig,
        *,
        records: Records | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._price = (
            Price(0, "own machine")
            if config.price is None
            else Price(round(config.price * 1_000_000), "config")
        )
        self._records = records or Records()
        self._clock = clock

    def offers(self) -> list[Offer]:
        note = "a machine you have: set host in [boxes.NAME]"
        return [Offer(self.name, Hardware(HARDWARE), self._price, self._clock(), note)]

    def create(self, request: Request) -> str:
        token = _valid(request.token)
        if self._records.get(token):
            return token
        target = request.spec.host
        if not target:
            raise UsageError(
                f"the box {request.name} names no host",
                fix=f'set host = "user@machine" in [boxes.{request.name}]',
            )
        found = person.way(target)
        for other in self._records.all():
            if (other.host, other.port, other.user) == found[:3]:
                raise Conflict(
                    f"{clean(target, 80)} is the box {other.name} already",
                    fix=f"use that one, or let it go with: devbox down {other.name}",
                )
        line = f"{request.public_key.strip()} {_mark(token)}"
        done = person.ask(
            target,
            _ADOPT.format(mark=shlex.quote(_mark(token)), line=shlex.quote(line)),
        )
        keys = person.host_keys(done.out)
        if done.code or not keys:
            raise ProviderError(
                f"{clean(target, 80)} could not be adopted: {clean(done.err.strip(), 200)}",
                fix="it needs a POSIX shell, a writable ~/.ssh and readable host keys in /etc/ssh",
            )
        now = self._clock()
        self._records.put(
            Record(
                token=token,
                name=request.name,
                target=target,
                host=found.host,
                port=found.port,
                user=found.user,
                via=found.via,
                host_keys=keys,
                since=now,
                pause_command=request.spec.pause_command,
                deadline=now + request.spec.max_uptime,
            )
        )
        return token

    def observe(self, handle: str) -> Observation | None:
        record = self._records.get(_valid(handle))
        if record is None:
            return None
        try:
            person.ask(record.target, "true")
        except Unavailable:
            if record.paused is None:
                raise
            return _seen(record, BoxState.PAUSED, self._price)
        except SshError as error:
            return _seen(record, BoxState.RUNNING, self._price, message=error.what)
        if record.paused is not None:
            if self._clock() - record.paused < _FALLING_ASLEEP:
                return _seen(record, BoxState.PAUSING, self._price)
            # It answers again, so the pause is over: it was woken, or never slept.
            record = msgspec.structs.replace(record, paused=None, since=self._clock())
            self._records.put(record)
        return _seen(record, BoxState.RUNNING, self._price)

    def find(self, token: str | None = None) -> list[Observation]:
        """The records; without asking the machines, which may be many and off."""
        records = self._records.all() if token is None else [self._records.get(_valid(token))]
        return [
            _seen(r, BoxState.RUNNING if r.paused is None else BoxState.PAUSED, self._price)
            for r in records
            if r is not None
        ]

    def terminate(self, handle: str) -> None:
        record = self._records.get(_valid(handle))
        if record is None:
            return
        person.ask(record.target, _RELEASE.replace("{mark}", shlex.quote(_mark(record.token))))
        self._records.remove(record.token)

    def pause(self, handle: str) -> str:
        record = self._records.get(_valid(handle))
        if record is None:
            raise Gone(f"the adopted host {handle} was let go")
        if not record.pause_command:
            raise ProviderError(
                f"{record.name} has no pause_command, so devbox cannot pause it",
                means="it keeps running",
                fix='set pause_command = ["systemctl", "suspend"], or let it go: devbox down',
            )
        self._records.put(msgspec.structs.replace(record, paused=self._clock()))
        command = shlex.join(record.pause_command)
        # Detached: a machine that suspends takes this very connection down with it.
        script = f"nohup sh -c {shlex.quote('sleep 1; ' + command)} >/dev/null 2>&1 &\n"
        person.ask(record.target, script)
        return handle

    def resume(self, request: Request, handle: str) -> str:
        record = self._records.get(_valid(handle))
        if record is None:
            raise Gone(f"the adopted host {handle} was let go")
        try:
            person.ask(record.target, "true")
        except Unavailable as error:
            raise ProviderError(
                f"{clean(record.target, 80)} is off or asleep, and devbox cannot wake it",
                fix=f"switch it on, then: devbox resume {request.name}",
            ) from error
        now = self._clock()
        deadline = now + request.spec.max_uptime
        self._records.put(
            msgspec.structs.replace(record, paused=None, since=now, deadline=deadline)
        )
        return handle

    def watchdog(self, handle: str) -> Mapping[str, Any] | None:
        record = self._records.get(_valid(handle))
        if record is None or not record.pause_command:
            return None
        return {"kind": "exec", "argv": list(record.pause_command)}


def _seen(record: Record, state: BoxState, price: Price, *, message: str = "") -> Observation:
    running = state is not BoxState.PAUSED
    return Observation(
        handle=record.token,
        name=record.name,
        token=record.token,
        state=state,
        message=message,
        endpoint=Endpoint(
            record.host, record.port, record.user, host_keys=record.host_keys, via=record.via
        ),
        hardware=HARDWARE,
        price=price,
        billed=running,
        billed_since=record.since if running else None,
        ended_at=record.paused,
        deadline=record.deadline,
    )


def _mark(token: str) -> str:
    return f"devbox:{token}"


def _valid(token: str) -> str:
    if not _TOKEN.fullmatch(token):
        raise ProviderError(f"{clean(token, 60)!r} is not the handle of an adopted host")
    return token
