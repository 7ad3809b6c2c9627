"""What the Hub says of a Job, as an Observation. Jobs tell their own times."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple
from urllib.parse import urlsplit

from devbox.errors import Gone, ProviderError
from devbox.model import BoxState, Endpoint, Price
from devbox.providers.base import Observation
from devbox.providers.hf import errors, gateway, logs, tags
from devbox.providers.hf.hardware import Rates, exposed
from devbox.providers.hf.hub import Hub
from devbox.providers.hf.local_records import LocalRecords
from devbox.providers.hf.times import Skew
from devbox.text import clean
from devbox.wire.codec import Json

#: until the Hub has found a machine for it, which it bills from then on only
WAITING = "SCHEDULING"
LIVE = (WAITING, "RUNNING")
_OVER = ("COMPLETED", "CANCELED", "DELETED")
_ID = re.compile(r"[A-Za-z0-9]{1,64}")
_HANDLE = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]{0,95})/([A-Za-z0-9]{1,64})")
_PUBLIC = re.compile(r"https://[A-Za-z0-9]{1,64}--([0-9]{1,5})(?:\.[A-Za-z0-9-]{1,63}){1,8}/?")
_TAIL = 15


class Row(NamedTuple):
    """A Job as the Hub describes it, with nothing in it that cannot be relied on. Times are unix
    seconds."""

    id: str
    created: float
    labels: Mapping[str, str]
    stage: str = WAITING
    message: str = ""
    started: float | None = None
    finished: float | None = None
    flavor: str = ""
    ssh: str = ""
    exposes: bool = False
    public: Mapping[int, str] = MappingProxyType({})  # port → URL

    def order(self) -> tuple[float, str]:
        """Who came first."""
        return (self.created, self.id)


class JobLook:
    """Looks at Jobs of one Hub. address: "host:port" in place of the Job's own ssh address."""

    def __init__(self, hub: Hub, rates: Rates, notebook: LocalRecords, address: str) -> None:
        self._hub, self._rates, self._notebook = hub, rates, notebook
        self._gateway = address

    def at(self, namespace: str, job: str) -> Observation | None:
        """One Job now; None when there is none, or it does not carry our tag."""
        try:
            return self.observation(namespace, self.info(namespace, job))
        except Gone:
            self._hub.confirm_gone(f"{namespace}/{job}")
            return None

    def info(self, namespace: str, job: str) -> Row:
        """One Job. Gone when the Hub does not show it."""
        said = self._hub.get(f"asking about the Job {job}", f"/api/jobs/{namespace}/{job}")
        found = row(said, self._hub.times)
        if found is None:
            raise errors.unreadable(f"asking about the Job {job}", "it describes no Job")
        return found

    def listing(
        self,
        namespace: str,
        *,
        labels: Mapping[str, str] | None = None,
        stages: Sequence[str] = (),
    ) -> list[Row]:
        """Jobs of a namespace with these labels, in one of these stages (none: in any)."""
        query = [("label", f"{key}={value}") for key, value in (labels or {}).items()]
        query += [("stage", stage) for stage in stages]
        said = self._hub.pages(
            f"listing the Jobs of {namespace}", f"/api/jobs/{namespace}", tuple(query)
        )
        rows = [found for each in said if (found := row(each, self._hub.times)) is not None]
        # The filter is the Hub's to apply; what is cancelled here must not hang on that alone.
        return [
            each
            for each in rows
            if (not stages or each.stage in stages)
            and all(each.labels.get(key) == value for key, value in (labels or {}).items())
        ]

    def observation(self, namespace: str, seen: Row) -> Observation | None:
        tag = tags.of_labels(seen.labels)
        if tag is None:
            return None
        handle = f"{namespace}/{seen.id}"
        state = self._state(handle, seen)
        over = seen.stage not in LIVE
        running = seen.stage == "RUNNING"
        begun = seen.started is not None
        deadline = seen.started + tag.ceiling if running and seen.started and tag.ceiling else None
        return Observation(
            handle=handle,
            name=tag.name,
            token=tag.token,
            state=state,
            stage=seen.stage,
            message=self._message(namespace, seen, state),
            endpoint=None if over or tags.L_COMMAND in seen.labels else self._endpoint(seen),
            hardware=seen.flavor,
            price=None if over else self._price(seen),
            # A stage we do not know counts as one that costs.
            billed=running or (not over and begun) or seen.stage not in (*LIVE, *_OVER, "ERROR"),
            billed_since=seen.started if begun else None,
            ended_at=(seen.finished or (None if begun else seen.created)) if over else None,
            deadline=deadline,
            dated=True,
        )

    def _price(self, seen: Row) -> Price | None:
        price = self._rates.price(seen.flavor) if seen.flavor else None
        return exposed(price) if price and seen.exposes else price

    def lines(self, namespace: str, job: str, *, follow: bool) -> Iterator[str]:
        """Its log. Without `follow` what there is now."""
        if not follow:
            found = logs.lines(self._hub, _log(namespace, job))
            yield from (line.text for line in found)
            return
        with errors.translated(f"reading the log of the Job {job}"):
            told = self._hub.call(
                f"reading the log of the Job {job}",
                lambda api: api.fetch_job_logs(job_id=job, namespace=namespace, follow=True),
            )
            for line in told:
                yield clean(line.rstrip("\n"), 4000)

    def _state(self, handle: str, seen: Row) -> BoxState:
        if seen.stage == "RUNNING":
            return BoxState.RUNNING
        if seen.stage == WAITING:
            return BoxState.PROVISIONING
        if seen.stage in _OVER:
            return BoxState.TERMINATED
        if seen.stage == "ERROR":
            # Its ceiling is an end as agreed, and so is one that we asked for.
            agreed = "timeout" in seen.message.lower() or self._notebook.read(handle).ending
            return BoxState.TERMINATED if agreed else BoxState.FAILED
        return BoxState.STARTING

    def _message(self, namespace: str, seen: Row, state: BoxState) -> str:
        if state is not BoxState.FAILED:
            return seen.message
        found = logs.tail(self._hub, _log(namespace, seen.id), _TAIL)
        said = clean("\n".join(clean(line.text, 300) for line in found), 3000)
        where = f"see {self._hub.endpoint}/jobs/{namespace}/{seen.id}"
        return "\n".join(part for part in (seen.message, said, where) if part)

    def _endpoint(self, seen: Row) -> Endpoint | None:
        if self._gateway:
            return gateway.endpoint("ssh.hf.jobs", self._gateway, seen.id)
        try:
            told = urlsplit(seen.ssh)
            host, port = told.hostname, told.port or 22
        except ValueError:
            return None
        user = gateway.user(told.username)
        if told.scheme != "ssh" or not host or not user:
            return None
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.-]{0,252}", host):
            return None
        return gateway.endpoint("ssh.hf.jobs", f"{host}:{port}", user)


def job_id(handle: str) -> tuple[str, str]:
    """(namespace, id) of a handle. ProviderError when it is none."""
    found = _HANDLE.fullmatch(handle)
    if not found or ".." in handle:
        raise ProviderError(f"{clean(handle, 60)!r} is not the handle of a Job")
    return found[1], found[2]


def row(said: Json, times: Skew) -> Row | None:
    """A Job's description; None when it does not even have a usable id."""
    if not isinstance(said, dict):
        return None
    name = said.get("id")
    if not isinstance(name, str) or not _ID.fullmatch(name):
        return None
    status = said.get("status")
    status = status if isinstance(status, dict) else {}
    ports = said.get("expose")
    labels = said.get("labels")
    labels = labels if isinstance(labels, dict) else {}
    return Row(
        id=name,
        created=times.moment(said.get("createdAt")) or 0.0,
        labels={k: v for k, v in labels.items() if isinstance(v, str)},
        stage=clean(str(status.get("stage") or ""), 60),
        message=clean(str(status.get("message") or ""), 300),
        started=times.moment(said.get("startedAt")),
        finished=times.moment(said.get("finishedAt")),
        flavor=clean(str(said.get("flavor") or ""), 60),
        ssh=str(status.get("sshUrl") or "")[:300],
        exposes=bool(ports.get("ports")) if isinstance(ports, dict) else False,
        public=_urls(status.get("exposeUrls")),
    )


def _urls(said: object) -> dict[int, str]:
    """Port → URL of "https://JOB--PORT.hf.jobs"; anything else is left out."""
    urls = [each for each in said if isinstance(each, str)] if isinstance(said, list) else []
    found = [(_PUBLIC.fullmatch(each), each) for each in urls[:100]]
    return {int(match[1]): each for match, each in found if match}


def _log(namespace: str, job: str) -> str:
    return f"/api/jobs/{namespace}/{job}/logs"
