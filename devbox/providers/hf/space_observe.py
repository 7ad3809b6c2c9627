"""What the Hub says of a Space, as an Observation."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec

from devbox.errors import Gone, ProviderError
from devbox.model import BoxState, Endpoint, Price
from devbox.providers.base import Observation
from devbox.providers.hf import billing_period, gateway, logs, stages, tags
from devbox.providers.hf.hardware import FREE, Rates
from devbox.providers.hf.hub import Hub, repo_id
from devbox.providers.hf.local_records import LocalRecords, Notes
from devbox.providers.hf.stages import Runtime
from devbox.text import clean
from devbox.wire.codec import JsonObject

_EXPAND = ["runtime", "subdomain", "createdAt", "sha", "tags"]
_TAIL = 15
_FIXES = {
    "NO_APP_FILE": "it has no Dockerfile (or app.py)",
    "CONFIG_ERROR": "the metadata at the top of its README.md is wrong",
}


class Look:
    """Looks at Spaces of one Hub. gateway: "host:port" in place of ssh.hf.space, or ''."""

    def __init__(
        self,
        hub: Hub,
        rates: Rates,
        notebook: LocalRecords,
        gateway: str,
        clock: Callable[[], float],
    ) -> None:
        self._hub, self._rates, self._notebook = hub, rates, notebook
        self._gateway, self._clock = gateway, clock

    def at(self, handle: str) -> Observation | None:
        """One Space now; None when there is none, or it does not carry our tag."""
        notes = self._notebook.read(handle)
        try:
            return self._observation(handle, self.info(handle), notes)
        except Gone:
            self._hub.confirm_gone(handle)
        if not notes.ending:
            return None
        # We asked for its end, and know when: better than the moment someone looks again.
        return Observation(
            handle,
            notes.name,
            notes.token,
            BoxState.TERMINATED,
            stage="DELETED",
            ended_at=notes.ended if notes.since is None else notes.asked_stop,
        )

    def row(self, row: JsonObject) -> Observation | None:
        """A row of `listing`; None when it is not ours, or gone meanwhile."""
        handle = str(row["id"])
        try:
            tag = self.tag(handle)
            return self._observation(handle, row, self._notebook.read(handle), tag) if tag else None
        except Gone:
            return None

    def listing(self, namespace: str) -> Iterator[JsonObject]:
        """All Spaces of a namespace that have a usable id."""
        rows = self._hub.pages(
            f"listing the Spaces of {namespace}",
            "/api/spaces",
            {"author": namespace, "expand": _EXPAND},
        )
        for row in rows:
            if not isinstance(row, dict):
                continue
            try:
                repo_id(str(row["id"]))
            except (KeyError, ProviderError):
                continue  # why: one odd row must not hide the others
            yield row

    def info(self, handle: str) -> JsonObject:
        """The Space's own description. Gone when the Hub does not show it."""
        path, params = f"/api/spaces/{handle}", {"expand": _EXPAND}
        return self._hub.get(f"asking about {handle}", path, params)

    def runtime(self, handle: str) -> Runtime:
        return stages.runtime(self._hub.get(f"asking about {handle}", _runtime_path(handle)))

    def tag(self, handle: str) -> tags.Tag | None:
        """Its tag, read from its variables."""
        noted = self._notebook.read(handle).token
        return tags.of_variables(self.variables(handle), handle, noted)

    def variables(self, handle: str) -> JsonObject:
        """Key → {"value", …}, as the Hub gives them."""
        path = f"/api/spaces/{handle}/variables"
        return self._hub.get(f"reading the variables of {handle}", path)

    def _observation(
        self, handle: str, row: JsonObject, notes: Notes, tag: tags.Tag | None = None
    ) -> Observation | None:
        created = clean(str(row.get("createdAt") or ""), 40)
        if notes.created and notes.created != created:
            notes = Notes()  # about an earlier Space of this name
        before = msgspec.structs.replace(notes)
        runtime = stages.runtime(row.get("runtime"))
        known = notes.token and notes.created == created and not notes.adopted
        if tag is None:
            tag = notes.tag() if known else self.tag(handle)
        if tag is None and not notes.ending:
            return None
        if tag is not None:
            notes.token, notes.name, notes.adopted = tag.token, tag.name, tag.adopted
            notes.ceiling, notes.hardware = tag.ceiling, tag.hardware
        notes.created = created
        notes.subdomain = gateway.user(row.get("subdomain")) or notes.subdomain
        seen = self._judged(handle, row, notes, runtime)
        if notes.ending and notes.adopted:
            seen = self._let_go(handle, seen, tagged=tag is not None)
        if notes != before:
            self._notebook.write(handle, notes)
        return seen

    def _judged(self, handle: str, row: JsonObject, notes: Notes, runtime: Runtime) -> Observation:
        now = self._clock()
        made = self._hub.times.moment(row.get("createdAt")) or 0.0
        hardware = _hardware(notes, runtime)
        price = self._rates.price(hardware) if hardware else None
        free = price is not None and price.micro_per_hour == 0
        billing_period.follow(self._hub, handle, notes, runtime, now, made, free=free)
        state = runtime.state(now - made)
        return Observation(
            handle=handle,
            name=notes.name,
            token=notes.token,
            state=state,
            stage=runtime.words(),
            message=self._message(handle, row, notes, runtime, state),
            endpoint=self._endpoint(notes.subdomain),
            hardware=hardware,
            price=price if price is None or price.micro_per_hour is not None else _UNKNOWN,
            billed=runtime.billed,
            billed_since=notes.began if notes.since is None else notes.since,
            ended_at=notes.ended,
            deadline=notes.since + notes.ceiling if notes.since and notes.ceiling else None,
            dated=True,
        )

    def _let_go(self, handle: str, seen: Observation, *, tagged: bool) -> Observation:
        """An adopted Space whose end was asked for: ours no longer once it costs nothing. The tag
        goes only then, for a changed variable would start it again."""
        if seen.billed:
            return seen._replace(state=BoxState.STOPPING)
        if tagged:
            for key in tags.OURS:
                self._drop(handle, key)
        return seen._replace(state=BoxState.TERMINATED, stage="paused and let go", endpoint=None)

    def _drop(self, handle: str, key: str) -> None:
        try:
            self._hub.call(
                f"removing our tag from {handle}",
                lambda api: api.delete_space_variable(handle, key),
            )
        except Gone:
            return  # why: it was never set, or an earlier attempt removed it

    def _message(
        self,
        handle: str,
        row: JsonObject,
        notes: Notes,
        runtime: Runtime,
        state: BoxState,
    ) -> str:
        """Why it failed, with the last lines of the log that tells; read once a failure."""
        if state is not BoxState.FAILED:
            off = state is BoxState.RUNNING and not runtime.dev_mode
            return "Dev Mode is off: ssh will be refused" if off else runtime.error
        failure = f"{runtime.stage} {clean(str(row.get('sha')), 60)}"
        if notes.failure != failure:
            which = "run" if runtime.stage == "RUNTIME_ERROR" else "build"
            found = logs.tail(self._hub, f"/api/spaces/{handle}/logs/{which}", _TAIL)
            notes.failure = failure
            notes.tail = clean("\n".join(clean(line.text, 300) for line in found), 3000)
        reason = _FIXES.get(runtime.stage) or runtime.error
        where = f"{self._hub.endpoint}/spaces/{handle}"
        return "\n".join(part for part in (reason, notes.tail, f"see {where}") if part)

    def _endpoint(self, subdomain: str) -> Endpoint | None:
        return gateway.endpoint("ssh.hf.space", self._gateway, subdomain) if subdomain else None


_UNKNOWN = Price(None, "unknown")


def _hardware(notes: Notes, runtime: Runtime) -> str:
    """What it runs on; while it does not, what it will: a Space is born on free hardware and
    asks for its own last."""
    if not runtime.billed and runtime.requested in ("", FREE):
        return notes.hardware or runtime.requested
    return runtime.hardware


def _runtime_path(handle: str) -> str:
    return f"/api/spaces/{handle}/runtime"
