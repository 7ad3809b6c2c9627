"""Modal sandboxes behind the provider contract.

The handle is the sandbox's id, and `sandbox:image` while the box is paused. The truth of a paused
box is at Modal: before a sandbox is ended for a pause it is tagged with its snapshot, so that a
crash at any point leaves either a running sandbox or one that names its files. After a crash before
the end the sandbox works on; what Modal kept at its end is newer then (`Generations.image`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

from devbox import names
from devbox.errors import Conflict, Gone, ProviderError, Unavailable
from devbox.images import templates
from devbox.model import BoxState, Offer
from devbox.providers.abilities import (
    CanAdmit,
    CanHost,
    CanLogIn,
    CanPause,
    CanRenew,
    Charge,
    HasBill,
    HasBuildLogs,
    HasHistory,
    HasPublicPorts,
    HasRunLogs,
    Hosted,
    HostRequest,
    Secrets,
)
from devbox.providers.base import Finding, Kept, Observation, Provider, Request, Step, at_once
from devbox.providers.modal import bill, entrypoint, hosted, image, login, logs, observe, record
from devbox.providers.modal.account import CALL, Account, resolve
from devbox.providers.modal.errors import Exists
from devbox.providers.modal.launch import LATE, Plan, launch, public_line, warnings
from devbox.providers.modal.pause import SOON, Pauses, ended, forgotten, still
from devbox.providers.modal.rates import Rates
from devbox.providers.modal.record import ENDED, PAUSED, Record
from devbox.providers.modal.sandbox_lineage import Generations
from devbox.providers.modal.sandboxes import Sandboxes
from devbox.providers.modal.sizes import CPU, hardware_name, size_of
from devbox.spec import BoxSpec, ModalSettings
from devbox.text import clean
from devbox.wire.messages import PauseRecipe

_RATES = 5.0  # seconds to wait for prices
_AT_ONCE = 8  # calls


__all__ = ["Modal", "make", "resolve"]


def make(config: ModalSettings) -> Provider:
    """Of the settings `server_url`, `environment` and `namespace` (the app's name) apply."""
    return Modal(config)


class Modal(
    Provider,
    CanPause,
    CanRenew,
    CanAdmit,
    CanHost,
    CanLogIn,
    HasBuildLogs,
    HasRunLogs,
    HasPublicPorts,
    HasHistory,
    HasBill,
):
    """Boxes in one app of the Modal account. clock: () → unix seconds."""

    name = "modal"
    bill_lag = bill.HOUR
    keeps_ceiling = True
    resume_takes = frozenset({"hardware", "env", "secrets", "volumes", "region", "max_uptime"})
    find_lag = 30.0
    create_lag = CALL
    queues = True
    go_back = "use a token of the workspace {}: modal profile activate, or MODAL_PROFILE"

    def __init__(self, config: ModalSettings, *, clock: Callable[[], float] = time.time) -> None:
        self._account = Account(config)
        self._sandboxes = Sandboxes(self._account)
        self._generations = Generations(self._sandboxes, clock)
        self._pauses = Pauses(self._sandboxes, self._generations, clock, self._tell)
        self._rates = Rates(self._live_rates, self._account.key, clock, self._tell)
        self._tunnels: dict[str, tuple[str, int]] = {}
        self._clock = clock

    def identity(self) -> str:
        return self._account.workspace()

    def offers(self) -> list[Offer]:
        return self._rates.offers(BoxSpec(provider=self.name))

    def offers_for(self, wanted: BoxSpec) -> list[Offer]:
        return self._rates.offers(wanted)

    def hardware_name(self, asked: str) -> str:
        return hardware_name(asked)

    def default_image(self, hardware: str) -> str:
        return templates.PLAIN if hardware_name(hardware) == CPU else templates.CUDA

    def create(self, request: Request) -> str:
        names.name(request.name)
        found = next(iter(self._generations.of_token(_valid(request.token))), None)
        if found is None or found.over:
            found = self._generations.running(request.name) or found
        if found is None or not self._lives_on(found):
            found = next(filter(self._lives_on, self._generations.boxes(name=request.name)), None)
        if found is None:
            self._warn(request)
            return self._start(request, None, request.token)
        return self._join(request, found)

    def observe(self, handle: str) -> Observation | None:
        found = self._generations.current(handle)
        if found is not None:
            return self._seen(found)
        sandbox, kept = record.parse(handle)
        if kept and self._sandboxes.has_image(kept):
            return observe.forgotten(record.handle(sandbox, kept))
        return None

    def find(self, token: str | None = None) -> list[Observation]:
        boxes = self._generations.boxes(**({} if token is None else {"token": _valid(token)}))
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            every = pool.map(self._seen, boxes)
            return [seen for seen in every if seen.state is not BoxState.TERMINATED]

    def history(self, token: str) -> list[Observation]:
        return [
            observe.over(each) if each.over else observe.running(each, None)
            for each in self._generations.of_token(_valid(token))
        ]

    def terminate(self, handle: str) -> None:
        _, kept = record.parse(handle)
        every = self._generations.all(handle)
        later: Unavailable | None = None
        for each in every:
            if not each.over:
                try:
                    self._sandboxes.tag(each.id, {"devbox-state": ENDED})
                except (Unavailable, Gone) as error:
                    # why: what costs is ended first; the tag is set when this is called again.
                    later = error if isinstance(error, Unavailable) else None
                self._pauses.end(each.id)
        if later is not None:
            raise later
        for each in every[:1]:
            if each.over and each.state != ENDED:
                for left in filter(None, {self._generations.image(each), each.image} - {each.base}):
                    self._sandboxes.delete_image(left)
                self._sandboxes.tag(each.id, {"devbox-state": ENDED})
        if not every and kept:
            self._sandboxes.delete_image(kept)

    def pause_keeps(self, wanted: BoxSpec) -> Kept:
        return Kept(True, "its files, in a snapshot, for 30 days")

    def pause(self, handle: str) -> str:
        return self.pause_by(at_once, handle)

    def pause_by(self, step: Step, handle: str) -> str:
        """A snapshot, its id into the tags, the end: a step each, so that a tag or an end that
        has to be tried again makes no second snapshot."""
        return self._pauses.pause(step, handle)

    def resume(self, request: Request, handle: str) -> str:
        found = self._generations.current(handle)
        if found is None:
            kept = record.parse(forgotten(handle))[1]
            return self._start(request, kept, request.token)
        if not found.over:
            if found.state == PAUSED:
                if not self._pauses.is_ending(found):
                    # Cut off between snapshot and end: save again, for it has run on since.
                    self.pause(handle)
                raise still(found)
            if found.state == ENDED:
                raise ended(found)
            return self._join(request, found)
        kept = record.parse(self._pauses.handle(found))[1]
        self.narrate(
            f"{request.name}: starting a new sandbox from its snapshot; files are as they were, "
            "programs that ran have to be started again"
        )
        self._warn(request)
        return self._start(request, kept, found.token)

    def renew(self, request: Request, handle: str, step: Step = at_once) -> str:
        found = step("look", lambda: self._generations.current(handle))
        if found is not None and not found.over and found.id != record.parse(handle)[0]:
            return found.id
        paused = self.pause_by(step, handle)
        return step("resume", lambda: self.resume(request, paused))

    def admit(self, handle: str, public_key: str) -> None:
        found = self._generations.current(handle)
        if found is None or found.over:
            raise Gone(f"the box of {clean(handle, 60)} does not run", fix="see: devbox ls")
        if self._sandboxes.run(found.id, entrypoint.admit(public_key)):
            raise ProviderError(f"{found.name} did not take this computer's ssh key")

    def host(self, request: HostRequest) -> Hosted:
        self._rates.check(request.hardware)
        return hosted.deploy(self._account, request, self.narrate_build(request.app))

    def own_guards(self, hardware: str) -> list[str]:
        return ["Modal ends the sandbox at max_uptime, and after 24 hours at the latest"]

    def lacks_hardware(self, stage: str, message: str) -> bool:
        return stage == observe.WAITING

    def watchdog(self, handle: str) -> PauseRecipe:
        record.parse(handle)
        return entrypoint.stop()

    def checks(self, wanted: Sequence[BoxSpec] = ()) -> list[Finding]:
        return login.checks(self._account)

    def secrets(self) -> Secrets:
        return login.needed()

    def has_secrets(self) -> bool:
        return login.has_token()

    def log_in(self, values: Sequence[str]) -> str:
        return login.log_in(self._account, values)

    def build_logs(self, handle: str, *, follow: bool) -> Iterator[str]:
        return logs.build(self._account, self._known(handle))

    def run_logs(self, handle: str, *, follow: bool) -> Iterator[str]:
        return logs.run(self._account, self._known(handle), follow=follow)

    def public_url(self, handle: str, port: int) -> str | None:
        found = self._sandboxes.public(self._known(handle).id, port)
        if found is None:
            return None
        host, at = found
        return f"https://{host}" if at == 443 else f"https://{host}:{at}"

    def bill(self, start: float, end: float) -> list[Charge]:
        found = bill.charges(self._account, start, end)
        return [charge._replace(handle=token) for token, charge in found]

    def _start(self, request: Request, kept: str | None, token: str) -> str:
        """A sandbox from the spec's image, or from a snapshot. One that runs already under this
        name is the answer when it is the same box, or was made by another computer."""
        hardware = self._rates.check(request.hardware)
        size = size_of(hardware, request.spec)
        price = self._rates.price(size)
        base = kept or image.build(self._account, request.spec, self.narrate_build(request.name))
        try:
            request.asking()
            latest = self._clock() + request.spec.start_timeout + LATE
            return launch(self._account, request, Plan(base, size, price, token, latest))
        except Exists:
            found = self._generations.running(request.name)
            if found is None or found.over:
                raise Unavailable(
                    f"an earlier sandbox named {request.name} is still ending",
                    retry_after=SOON,
                    no_effect=True,
                ) from None
            if kept and found.token != token:
                raise Conflict(
                    f"another box named {request.name} runs at Modal",
                    means="the paused one and its files are as they were",
                    fix="end the other one: devbox reconcile --provider modal --remove",
                ) from None
            return self._join(request, found)
        except Gone as error:
            if kept is None:
                raise
            raise Gone(
                f"the snapshot of {request.name} is gone: Modal keeps them for 30 days",
                means="its files cannot be brought back; it costs nothing",
                fix=f"devbox down {request.name}, then: devbox up {request.name}",
            ) from error

    def _join(self, request: Request, found: Record) -> str:
        """The handle of a box that is there; this computer's key is let in when another made it."""
        if not found.ours:
            raise Conflict(
                f"a sandbox named {request.name} that is not devbox's runs in the same Modal app",
                fix="choose another box name, or another app: [providers.modal] namespace",
            )
        if found.over:
            return self._pauses.handle(found)
        if found.state == ENDED:
            raise still(found)
        if found.tags.get("devbox-host") != record.host_tag(public_line(request.host_key)):
            self.admit(record.handle(found.id), request.public_key)
        return record.handle(found.id)

    def _lives_on(self, found: Record) -> bool:
        """Runs, or can be brought back, or Modal has not told yet whether it can."""
        return not found.over or self._generations.image(found) is not None

    def _seen(self, found: Record) -> Observation:
        if not found.over:
            tunnel = self._tunnels.get(found.id)
            if tunnel is None and found.scheduled:
                tunnel = self._tunnel(found.id)
            return observe.running(found, tunnel)
        kept = self._generations.image(found)
        if kept == "":
            return observe.saving(found)
        if kept and self._sandboxes.has_image(kept):
            return observe.paused(found, kept)
        return observe.over(found)

    def _tunnel(self, sandbox: str) -> tuple[str, int] | None:
        try:
            tunnel = self._sandboxes.tunnel(sandbox)
        except Gone:
            return None  # why: it has ended meanwhile; the next look says so
        if tunnel is not None:
            self._tunnels[sandbox] = tunnel
        return tunnel

    def _known(self, handle: str) -> Record:
        found = self._generations.current(handle)
        if found is None:
            raise Gone(f"Modal does not know {clean(handle, 60)}", fix="see: devbox ls --refresh")
        return found

    def _warn(self, request: Request) -> None:
        for line in warnings(request):
            self.narrate(f"{request.name}: {line}")

    def _tell(self, line: str) -> None:
        """To whoever listens now: `narrate` may be replaced after this was made."""
        self.narrate(line)

    def narrate_build(self, name: str) -> Callable[[str], None]:
        """Tells the lines of an image build."""
        return lambda line: self.tell_build(name, line)

    def _live_rates(self) -> dict[str, Decimal]:
        client = self._account.client()
        import modal

        workspace = modal.Workspace.from_context(client=client)
        said = self._account.do("asking for prices", workspace.billing.rates.aio, _RATES)
        return dict(said)


def _valid(token: str) -> str:
    if not record.VALUE.fullmatch(token):
        raise ProviderError(f"{clean(token, 60)!r} cannot be a tag at Modal")
    return token
