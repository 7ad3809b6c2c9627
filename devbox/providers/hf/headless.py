"""Detached commands as Hugging Face Jobs: no ssh, no box, an end of their own.

engine = Headless(config)
handle = engine.submit(Command(token="…", name="train", argv=["python", "train.py"], …))
engine.observe(handle); engine.run_logs(handle, follow=True); engine.cancel(handle)
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from devbox.errors import Gone, UsageError
from devbox.model import Price, RunState
from devbox.providers.base import HasRunLogs
from devbox.providers.hf import image, tags, volumes
from devbox.providers.hf.hardware import Rates
from devbox.providers.hf.hub import Hub
from devbox.providers.hf.job_look import LIVE, JobLook, Row, job_id
from devbox.providers.hf.notes import Notebook
from devbox.spec import BoxSpec, ProviderConfig, Volume

_STATES = {
    "SCHEDULING": RunState.QUEUED,
    "RUNNING": RunState.RUNNING,
    "COMPLETED": RunState.SUCCEEDED,
    "CANCELED": RunState.CANCELLED,
    "DELETED": RunState.CANCELLED,
    "ERROR": RunState.FAILED,
}


class Command(NamedTuple):
    """What to run. token: random, unique to this run, our tag at the Hub; name: for a person.
    image: as in a box's spec. timeout: seconds, always set, as a Job without one ends after 30
    minutes. secrets: resolved values, which go to the Hub's own secret store only."""

    token: str
    name: str
    argv: Sequence[str]
    hardware: str
    timeout: float
    image: str = "cpu"
    env: Mapping[str, str] = {}
    secrets: Mapping[str, str] = {}
    volumes: Mapping[str, Volume] = {}


class Seen(NamedTuple):
    """A run as the Hub tells it, with the Hub's own times (unix seconds). price: of an hour on
    its hardware; None when it is not known."""

    handle: str
    token: str
    state: RunState
    stage: str
    message: str
    started: float | None
    ended: float | None
    hardware: str
    price: Price | None


class Headless(HasRunLogs):
    """Runs commands as Jobs. The handle is "namespace/id"."""

    def __init__(self, config: ProviderConfig, *, clock: Callable[[], float] = time.time) -> None:
        self._hub = Hub(config)
        self._rates = Rates(self._hub, "jobs", "hf-job", clock)
        self._look = JobLook(self._hub, self._rates, Notebook(self._hub.endpoint), "", clock)

    def submit(self, command: Command) -> str:
        """Start it; returns the handle. Called again with the same token it returns the first
        one's, as far as the Hub lists it already. Raises as a provider does."""
        if not command.argv or not tags.is_token(command.token) or command.timeout <= 0:
            raise UsageError("a headless run needs a command, a token and a timeout")
        namespace = self._hub.namespace()
        known = self._listed(namespace, command.token)
        if known:
            return f"{namespace}/{min(known, key=Row.order).id}"
        mounted = volumes.of(BoxSpec(volumes=dict(command.volumes)))
        made = self._hub.call(
            f"running {command.name} as a Job",
            lambda api: api.run_job(
                image=image.base(command.image),
                command=list(command.argv),
                env=dict(command.env),
                secrets=dict(command.secrets) or None,
                flavor=command.hardware or None,
                timeout=max(1, math.ceil(command.timeout)),
                name=f"{tags.PREFIX}{command.name}",
                labels={tags.L_RUN: command.token},
                volumes=mounted or None,
                namespace=namespace,
            ),
        )
        return f"{namespace}/{made.id}"

    def observe(self, handle: str) -> Seen | None:
        """The run now; None when the Hub does not know it, or it is no run of ours."""
        namespace, job = job_id(handle)
        try:
            row = self._look.info(namespace, job)
        except Gone:
            self._hub.confirm_gone(handle)
            return None
        return self._seen(namespace, row)

    def find(self, token: str | None = None) -> list[Seen]:
        """Live runs of this account, or those of one token, whatever their state."""
        namespace = self._hub.namespace()
        rows = (
            self._look.listing(namespace, stages=LIVE)
            if token is None
            else self._listed(namespace, token)
        )
        return [seen for row in rows if (seen := self._seen(namespace, row)) is not None]

    def cancel(self, handle: str) -> None:
        """Ask to end it. One that is over or gone is success."""
        namespace, job = job_id(handle)
        try:
            if self._look.info(namespace, job).stage in LIVE:
                self._hub.call(
                    f"cancelling the Job {job}",
                    lambda api: api.cancel_job(job_id=job, namespace=namespace),
                )
        except Gone:
            self._hub.confirm_gone(handle)

    def run_logs(self, handle: str, *, follow: bool) -> Iterator[str]:
        return self._look.lines(*job_id(handle), follow=follow)

    def _listed(self, namespace: str, token: str) -> list[Row]:
        if not tags.is_token(token):
            return []
        return self._look.listing(namespace, labels={tags.L_RUN: token})

    def _seen(self, namespace: str, row: Row) -> Seen | None:
        token = row.labels.get(tags.L_RUN)
        if not token:
            return None
        return Seen(
            handle=f"{namespace}/{row.id}",
            token=token,
            state=_STATES.get(row.stage, RunState.UNKNOWN),
            stage=row.stage,
            message=row.message,
            started=row.started,
            ended=row.finished,
            hardware=row.flavor,
            price=self._rates.price(row.flavor) if row.flavor else None,
        )
