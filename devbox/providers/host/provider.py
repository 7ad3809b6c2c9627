"""Hosts you already have, behind the provider contract. The handle is the token.

Adopting a host puts devbox's public key into its authorized_keys (one line, marked with the box's
token) through the user's own ssh, and learns its host keys the same way. Letting it go takes the
line and the box half out again and ends what ran in the box's name. Nothing else is touched.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from math import inf

import msgspec

from devbox import names
from devbox.errors import AuthError, Conflict, DevboxError, Gone, ProviderError, UsageError
from devbox.model import BoxState, Endpoint, Hardware, Offer
from devbox.providers.abilities import CanAdmit, CanPause
from devbox.providers.base import Finding, Observation, Provider, Request, own_price
from devbox.providers.host import scripts, user_ssh
from devbox.providers.host.record import Record, Records
from devbox.providers.host.user_ssh import Unreached
from devbox.spec import BoxSpec, SshSettings
from devbox.text import clean
from devbox.wire.messages import PauseRecipe

HARDWARE = "host"
_NEEDED = ("python3", "rsync")
_TOKEN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")

# Seconds that letting a host go may take: runs are given time to end.
_RELEASE = 60.0
# Seconds that a machine may still answer after it was told to suspend.
_FALLING_ASLEEP = 90.0
# Seconds after an adoption in which the machine need not be asked whether it is there.
_SAME_MOMENT = 2.0


def make(config: SshSettings) -> Provider:
    """Of the settings only `price` applies: dollars an hour to reckon with."""
    return Host(config)


class Host(Provider, CanPause, CanAdmit):
    """Machines reached as `ssh TARGET`. clock: () → unix seconds."""

    name = "ssh"
    resume_takes = frozenset({"max_uptime"})
    bills = False
    end_deletes = False

    def __init__(
        self,
        config: SshSettings,
        *,
        records: Records | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._price = own_price(config)
        self._records = records or Records()
        self._clock = clock
        # token → when this process adopted it: the login that did so was a look at it too.
        self._answered: dict[str, float] = {}

    def offers(self) -> list[Offer]:
        note = "a machine you have: set host in the table of the box"
        return [Offer(self.name, Hardware(HARDWARE), self._price, self._clock(), note)]

    def end_means(self, wanted: BoxSpec) -> str:
        return "end what runs on it through devbox; its files stay"

    def create(self, request: Request) -> str:
        token = _valid(request.token)
        record = self._records.get(token) or self._reserve(request)
        if record.adopted:
            return token
        environment = {
            names.env_name(k): v for k, v in {**request.spec.env, **request.secrets}.items()
        }
        try:
            done = user_ssh.ask(
                record.target, scripts.adopt(token, request.public_key, environment)
            )
        except (AuthError, Unreached):
            self._records.remove(token)  # it surely did nothing
            raise
        keys = tuple(dict.fromkeys((*record.host_keys, *user_ssh.host_keys(done.out))))
        if done.code or not keys:
            self._records.remove(token)
            said = clean(done.err.strip()[-200:], 200) or "its host keys cannot be read"
            raise ProviderError(
                f"{clean(record.target, 80)} could not be adopted: {said}",
                fix="it needs a POSIX shell, a writable home folder, and its host key in your "
                "known_hosts or readable in /etc/ssh",
            )
        self._records.put(msgspec.structs.replace(record, host_keys=keys, adopted=True))
        self._answered[token] = self._clock()
        return token

    def observe(self, handle: str) -> Observation | None:
        record = self._records.get(_valid(handle))
        if record is None or not record.adopted:
            return None if record is None else self._seen(record)
        if self._clock() - self._answered.pop(handle, -inf) < _SAME_MOMENT:
            return self._seen(record)
        try:
            user_ssh.ask(record.target, "true")
        except Unreached:
            if record.paused is None:
                raise
            return self._seen(record)
        except AuthError as error:
            # It answers, so it is on; whether devbox's own key gets in is for the login to say.
            return self._seen(record, message=error.what)
        if record.paused is not None:
            if self._clock() - record.paused < _FALLING_ASLEEP:
                return self._seen(record)._replace(state=BoxState.PAUSING, billed=True)
            # It answers again, so the pause is over: it was woken, or never slept.
            record = self._awake(record)
        return self._seen(record)

    def find(self, token: str | None = None) -> list[Observation]:
        """The records; without asking the machines, which may be many and off."""
        records = self._records.all() if token is None else [self._records.get(_valid(token))]
        return [self._seen(record) for record in records if record is not None]

    def terminate(self, handle: str) -> None:
        record = self._records.get(_valid(handle))
        if record is None:
            return
        try:
            done = user_ssh.ask(record.target, scripts.release(record.token), timeout=_RELEASE)
        except DevboxError as error:
            error.means = "devbox's line stays in its authorized_keys, and the box shows stopping"
            error.fix = (
                f"{error.fix}; when it is gone permanently: devbox down {record.name} --forget"
            )
            raise
        if done.code:
            raise ProviderError(
                f"{clean(record.target, 80)} could not be let go: "
                f"{clean(done.err.strip()[-200:], 200)}",
                means="devbox's line is still in its authorized_keys",
                fix="devbox reconcile tries again",
            )
        self._records.remove(record.token)
        shown = clean(record.target, 80)
        if "left running" in done.out:
            self.narrate(f"{shown}: some programs that devbox started there may still run")
        if "kept runs" in done.out:
            self.narrate(f"{shown}: results of runs stay there, in ~/.devbox-box/runs")

    def forget(self, handle: str) -> str:
        record = self._records.get(_valid(handle))
        if record is None:
            return ""
        self._records.remove(record.token)
        return (
            f"if {clean(record.target, 80)} is ever switched on again, programs started there "
            f"through devbox continue, and devbox's key can log in until you type on it: "
            f"{scripts.by_hand(record.token)}"
        )

    def check_pause(self, handle: str) -> None:
        record = self._records.get(_valid(handle))
        if record is not None and not record.pause_command:
            raise ProviderError(
                f"{record.name} has no pause_command, so devbox cannot pause it",
                means="it keeps running",
                fix='set pause_command = ["systemctl", "suspend"], or let it go: devbox down',
            )

    def pause(self, handle: str) -> str:
        self.check_pause(handle)
        record = self._known(handle)
        before = record.paused
        # First, for the machine may be asleep before we hear that the command was taken.
        asked = msgspec.structs.replace(record, paused=before or self._clock())
        self._records.put(asked)
        try:
            user_ssh.ask(record.target, scripts.later(record.pause_command))
        except (AuthError, Unreached):
            if before is None:
                self._records.put(record)
                raise
        return handle

    def resume(self, request: Request, handle: str) -> str:
        record = self._known(handle)
        try:
            user_ssh.ask(record.target, "true")
        except Unreached as error:
            raise ProviderError(
                f"{clean(record.target, 80)} is off or asleep, and devbox cannot wake it",
                means="it is as it was",
                fix=f"switch it on, then: devbox resume {request.name}",
            ) from error
        if record.paused is not None:
            deadline = self._clock() + request.spec.max_uptime
            self._awake(msgspec.structs.replace(record, deadline=deadline))
        return handle

    def admit(self, handle: str, public_key: str) -> None:
        record = self._known(handle)
        done = user_ssh.ask(record.target, scripts.admit(handle, public_key))
        if done.code:
            said = clean(done.err.strip()[-200:], 200) or "it was not adopted for this box"
            raise Gone(f"{clean(record.target, 80)} did not take the new key: {said}")

    def can_arm(self, handle: str) -> bool:
        return bool(handle) and self.watchdog(handle) is not None

    def arm_help(self, handle: str) -> str:
        return "set pause_command in its table of devbox.toml"

    def watchdog(self, handle: str) -> PauseRecipe | None:
        record = self._records.get(_valid(handle))
        if record is None or not record.pause_command:
            return None
        return PauseRecipe("exec", tuple(record.pause_command))

    def login_help(self, handle: str) -> str:
        record = self._records.get(_valid(handle))
        if record is None:
            return ""
        return (
            f"see that sshd on {clean(record.target, 80)} reads ~/.ssh/authorized_keys "
            "(its setting AuthorizedKeysFile) and takes ed25519 keys"
        )

    def checks(self, wanted: Sequence[BoxSpec] = ()) -> list[Finding]:
        """Whether each machine that is asked for answers, and has what boxes need."""
        hosts = dict.fromkeys(spec.host for spec in wanted if spec.host)
        if not hosts:
            return [("unknown", "no machine was named", "devbox login ssh --host user@machine")]
        return [found for host in hosts for found in _machine(host)]

    def _reserve(self, request: Request) -> Record:
        """Our record, before anything is changed on the machine, so that a crash finds it."""
        target = request.spec.host
        if not target:
            raise UsageError(
                f"the box {request.name} names no host",
                fix=f'set host = "user@machine" in [boxes.{request.name}]',
            )
        found = user_ssh.way(target)

        def allow(other: Record) -> None:
            if (other.host, other.port, other.user) == found[:3]:
                raise Conflict(
                    f"{clean(target, 80)} is the box {other.name} already",
                    fix=f"use that one, or let it go with: devbox down {other.name}",
                )

        now = self._clock()
        return self._records.reserve(
            Record(
                token=request.token,
                name=request.name,
                target=target,
                host=found.host,
                port=found.port,
                user=found.user,
                via=found.via,
                host_keys=found.trusted,
                since=now,
                pause_command=request.spec.pause_command,
                deadline=now + request.spec.max_uptime,
            ),
            allow,
        )

    def _awake(self, record: Record) -> Record:
        awake = msgspec.structs.replace(record, paused=None, since=self._clock())
        self._records.put(awake)
        return awake

    def _known(self, handle: str) -> Record:
        record = self._records.get(_valid(handle))
        if record is None or not record.adopted:
            raise Gone(f"the host {handle} is not adopted", fix="see: devbox ls")
        return record

    def _seen(self, record: Record, message: str = "") -> Observation:
        """What a record says by itself."""
        running = record.adopted and record.paused is None
        state = BoxState.RUNNING if running else BoxState.PAUSED
        if not record.adopted:
            # Cut off half-way: `create` again finishes it.
            state, message = BoxState.FAILED, "its adoption was cut off"
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
            price=self._price,
            billed=running,
            billed_since=record.since if running else None,
            ended_at=record.paused,
            deadline=record.deadline,
        )


def _machine(target: str) -> list[Finding]:
    shown = clean(target, 80)
    try:
        found = user_ssh.way(target)
        done = user_ssh.ask(target, scripts.missing(_NEEDED))
    except DevboxError as error:
        return [("fail", error.what, error.fix or f"make this work first: ssh {shown}")]
    missing = [name for name in done.out.split() if name in _NEEDED]
    answers = f"{shown} answers at {clean(found.host, 80)} as {clean(found.user, 40)}"
    if done.code or missing:
        what = f"{answers}, and lacks {', '.join(missing) or 'a POSIX shell'}"
        return [("fail", what, f"install it there: {' '.join(missing)}")]
    return [("ok", f"{answers}; python3 and rsync are there", "")]


def _valid(token: str) -> str:
    if not _TOKEN.fullmatch(token):
        raise ProviderError(f"{clean(token, 60)!r} is not the handle of an adopted host")
    return token
