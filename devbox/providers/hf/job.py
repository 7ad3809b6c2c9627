"""Boxes on Hugging Face Jobs. The handle is "namespace/id". A Job cannot pause: it ends."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

from msgspec import structs

from devbox.errors import Conflict, Gone, Locked, ProviderError, Unavailable, had_no_effect
from devbox.files import locked
from devbox.images import templates
from devbox.model import BoxState, Offer
from devbox.providers.abilities import (
    HasHistory,
    HasPublicPorts,
    HasRunLogs,
)
from devbox.providers.base import Finding, Kept, Observation, Provider, Request
from devbox.providers.hf import account, errors, image, local_records, tags, volumes
from devbox.providers.hf import job_command as keepalive
from devbox.providers.hf.hardware import Rates, exposed, has_gpu
from devbox.providers.hf.hub import ANSWER, Hub, resolve
from devbox.providers.hf.job_observe import LIVE, WAITING, JobLook, Row, job_id
from devbox.providers.hf.local_records import LocalRecords, Notes
from devbox.providers.hf.space_create import ceiling, check
from devbox.spec import BoxSpec, HfSettings
from devbox.text import clean
from devbox.wire.messages import PauseRecipe

_ON_ITS_WAY = (BoxState.PROVISIONING, BoxState.STARTING, BoxState.RUNNING)
_PATIENCE = 60.0  # seconds to wait for another process that creates the same box


__all__ = ["HfJob", "make", "resolve"]


def make(config: HfSettings) -> Provider:
    """Jobs of [providers.hf]: endpoint, namespace, ssh_gateway."""
    return HfJob(config)


class HfJob(account.HubProvider, HasHistory, HasRunLogs, HasPublicPorts):
    """A Job that stays up for ssh until it is cancelled, stopped from inside, or times out; or
    one that is the spec's `command`, and over when that is.

    clock: () → unix seconds.
    """

    name = "hf-job"
    product = "jobs"
    keeps_ceiling = True
    # Nothing documents how long a listing may lag. A create may take as long to answer as the
    # client waits for it, and still take effect.
    find_lag = 45.0
    create_lag = ANSWER + 15.0
    may_double = True
    go_back = "log in to the Hub as {}: devbox login hf-job --again"
    runs_commands = True

    def __init__(self, config: HfSettings, *, clock: Callable[[], float] = time.time) -> None:
        self._hub = Hub(config, clock)
        self._clock = clock
        self._rates = Rates(self._hub, self.product, self.name, clock)
        self._notebook = LocalRecords(self._hub.endpoint)
        self._look = JobLook(self._hub, self._rates, self._notebook, config.ssh_gateway)

    def offers_for(self, wanted: BoxSpec) -> list[Offer]:
        found = self.offers()
        if not wanted.expose:
            return found
        return [structs.replace(each, price=exposed(each.price)) for each in found]

    def default_image(self, hardware: str) -> str:
        """A Job has no image built for it, so one with torch in it comes from the registry."""
        return image.TORCH if has_gpu(hardware) else templates.PLAIN

    def create(self, request: Request) -> str:
        """Run the Job, or join the live one of this box name.

        Jobs have no names that are unique, so two computers may both start one. Each then lists
        what carries the name: the one created first stays, and whoever made a later one cancels
        it and takes the first. While the listing lags, `observe` does that, and until then the
        Job does not show as running.
        """
        check(request)
        namespace = self._hub.namespace()
        try:
            with locked(
                local_records.folder() / f"{namespace}.{request.name}.lock", timeout=_PATIENCE
            ):
                return self._create(namespace, request)
        except Locked as error:
            raise Unavailable(
                error.what, means="nothing was started", fix=error.fix, no_effect=True
            ) from error

    def observe(self, handle: str) -> Observation | None:
        seen = self._look.at(*job_id(handle))
        noted = self._notebook.read(handle)
        if seen is None or noted.asked_start is None or seen.state not in _ON_ITS_WAY:
            return seen
        first = self._settled(handle, noted)
        if first is None:
            return seen._replace(state=BoxState.STARTING, stage="waiting to be listed")
        return seen if first == handle else self._look.at(*job_id(first))

    def find(self, token: str | None = None) -> list[Observation]:
        """Live Jobs with our tag; with a token also one that is over."""
        namespace = self._hub.namespace()
        if token is None:
            rows = self._look.listing(namespace, stages=LIVE)
        else:
            rows = self._of_token(namespace, token)
        found = [self._look.observation(namespace, row) for row in rows]
        return [seen for seen in found if seen is not None]

    def history(self, token: str) -> list[Observation]:
        return self.find(token)

    def terminate(self, handle: str) -> None:
        namespace, job = job_id(handle)
        try:
            row = self._look.info(namespace, job)
            if tags.of_labels(row.labels) is None:
                return
            noted = self._notebook.read(handle)
            noted.ending, noted.asked_stop = True, self._clock()
            self._notebook.write(handle, noted)
            if row.stage in LIVE:
                self._cancel(namespace, job)
        except Gone:
            self._hub.confirm_gone(handle)

    def run_logs(self, handle: str, *, follow: bool) -> Iterator[str]:
        return self._look.lines(*job_id(handle), follow=follow)

    def public_url(self, handle: str, port: int) -> str | None:
        return self._look.info(*job_id(handle)).public.get(port)

    def pause_keeps(self, wanted: BoxSpec) -> Kept:
        """It has no pause: its watchdog ends it, and its disk ends with it."""
        return Kept(False, "only its volumes" if wanted.volumes else "none of its files")

    def own_guards(self, hardware: str) -> list[str]:
        return ["the Hub ends the Job at max_uptime"]

    def lacks_hardware(self, stage: str, message: str) -> bool:
        return stage == WAITING or errors.lacks_hardware(message)

    def watchdog(self, handle: str) -> PauseRecipe:
        """Its main process watches a file, and ends the Job when it appears."""
        namespace, job = job_id(handle)
        token = self._notebook.read(handle).token
        if not token:
            tag = tags.of_labels(self._look.info(namespace, job).labels)
            token = tag.token if tag else ""
        if not token:
            raise Gone(f"{clean(handle, 120)} is no devbox", fix="see: devbox ls --refresh")
        return keepalive.recipe(token)

    def login_help(self, handle: str) -> str:
        return account.login_help(self._hub)

    def checks(self, wanted: Sequence[BoxSpec] = ()) -> list[Finding]:
        return account.checks(self._hub, dev_mode=False)

    def _create(self, namespace: str, request: Request) -> str:
        first = self._first(namespace, request)
        if first is None and request.spec.command:
            # It may be over by now, and must not run twice.
            first = min(self._of_token(namespace, request.token), key=Row.order, default=None)
        if first is not None:
            return f"{namespace}/{first.id}"
        self._wait_for_listing(request)
        row = self._run(namespace, request)
        handle = f"{namespace}/{row.id}"
        return self._settled(handle, self._notebook.read(handle)) or handle

    def _settled(self, handle: str, noted: Notes) -> str | None:
        """The Job that stays, of all of this name: the one that was created first. A later one of
        ours is cancelled. None while the listing does not tell: it shows everything that is older
        than what it shows, so it must show ours, or have had its time."""
        namespace, job = job_id(handle)
        rows = self._live(namespace, noted.name)
        mine = next((row for row in rows if row.id == job), None)
        if mine is None and self._clock() - (noted.asked_start or 0.0) < self.find_lag:
            return None
        order = (mine or self._look.info(namespace, job)).order()
        first = min(rows, key=Row.order, default=mine)
        noted.asked_start = None
        if first is None or first.order() >= order:
            self._notebook.write(handle, noted)
            return handle
        self.narrate(f"{noted.name}: another computer started it first; going on with that one")
        self._cancel(namespace, job)
        noted.ending = True
        self._notebook.write(handle, noted)
        return f"{namespace}/{first.id}"

    def _first(self, namespace: str, request: Request) -> Row | None:
        """The live Job of this box that was created first."""
        return min(self._live(namespace, request.name), key=Row.order, default=None)

    def _of_token(self, namespace: str, token: str) -> list[Row]:
        if not tags.is_token(token):
            return []
        return self._look.listing(namespace, labels={tags.L_TOKEN: token})

    def _live(self, namespace: str, name: str) -> list[Row]:
        """The live Jobs of that box name that carry our tag."""
        rows = self._look.listing(namespace, labels={tags.L_NAME: name}, stages=LIVE)
        return [row for row in rows if tags.of_labels(row.labels)]

    def _wait_for_listing(self, request: Request) -> None:
        """A lost reply leaves a Job that the listing may not show yet: nothing is run again for
        this token until it would."""
        noted = self._notebook.read(_asked(request.token))
        if noted.asked_start is None:
            return
        whole = self.find_lag + self.create_lag
        left = noted.asked_start + whole - self._clock()
        if 0 < left <= whole:
            raise Unavailable(
                f"{request.name} was asked for a moment ago and is not listed yet",
                means="nothing more was started",
                fix=f"devbox up {request.name}",
                retry_after=left,
                no_effect=True,
            )

    def _run(self, namespace: str, request: Request) -> Row:
        noted = Notes(token=request.token, name=request.name, asked_start=self._clock())
        self._notebook.write(_asked(request.token), noted)
        own, group = list(request.spec.command), request.spec.network_group
        labels = {
            tags.L_TOKEN: request.token,
            tags.L_NAME: request.name,
            tags.L_CEILING: str(ceiling(request)),
            **({tags.L_COMMAND: "1"} if own else {}),
        }
        try:
            made = self._hub.call(
                f"running the Job of {request.name}",
                lambda api: api.run_job(
                    image=image.base(request.spec.image),
                    command=own or keepalive.command(request),
                    env=dict(request.spec.env),
                    secrets=dict(request.secrets) or None,
                    flavor=request.hardware or None,
                    timeout=ceiling(request),
                    name=tags.space_name(request.name),
                    labels=labels,
                    volumes=volumes.of(request.spec) or None,
                    ssh=not own,
                    namespace=namespace,
                    expose_public=list(request.spec.expose) or None,
                    network_group=group or None,
                    network_aliases=[request.name] if group else None,
                ),
            )
        except (ProviderError, Conflict) as error:
            if had_no_effect(error):  # refused: there is none to wait for
                self._notebook.write(_asked(request.token), Notes())
            raise
        self._notebook.write(f"{namespace}/{made.id}", noted)
        created = made.created_at.timestamp() if made.created_at else self._clock()
        return Row(id=made.id, created=created, labels=labels)

    def _cancel(self, namespace: str, job: str) -> None:
        try:
            self._hub.call(
                f"cancelling the Job {job}",
                lambda api: api.cancel_job(job_id=job, namespace=namespace),
            )
        except (ProviderError, Conflict) as error:
            # Refused because it is over already: that is what was wanted.
            over = type(error) is ProviderError or isinstance(error, Conflict)
            if not over or self._look.info(namespace, job).stage in LIVE:
                raise


def _asked(token: str) -> str:
    """Where the notes of a token are kept whose Job has no id yet."""
    return f"?{token}"
