"""A sandbox as an observation, whose message says what became of the files."""

from __future__ import annotations

from datetime import UTC, datetime

from devbox.model import BoxState, Endpoint
from devbox.providers.base import Observation
from devbox.providers.modal import record
from devbox.providers.modal.launch import LONGEST
from devbox.providers.modal.record import ENDED, PAUSED, Record
from devbox.providers.modal.sandboxes import KEPT

# GenericResult.GenericStatus of modal_proto.api_pb2
_SUCCESS, _FAILURE, _TERMINATED, _TIMEOUT, _INIT_FAILURE, _INTERNAL, _IDLE = 1, 2, 3, 4, 5, 6, 7
_EVICTED, _THRASHING, _KILLED = 8, 9, 10
_MORE = "ask for more with memory in devbox.toml"
_LOST = "files outside volumes are gone"
_WHY = {
    _SUCCESS: "it ended by itself",
    _TERMINATED: "it was ended",
    _TIMEOUT: "its time was over",
    _IDLE: "Modal found it idle",
    _INTERNAL: "Modal failed to keep it running",
    _EVICTED: f"out of memory: Modal ended it, as its machine had none left; {_MORE}",
    _THRASHING: f"out of memory: Modal ended it, as it only swapped any more; {_MORE}",
    _KILLED: f"out of memory: the kernel killed it; {_MORE}",
}


#: of a sandbox without a task, which Modal's own client takes for a wait for capacity (`create` in
#: modal/sandbox/_impl_v1.py of 1.6.4)
WAITING = "waiting for capacity"


def running(found: Record, tunnel: tuple[str, int] | None) -> Observation:
    """Of a sandbox that is not over. tunnel: where its sshd answers."""
    if found.state == ENDED:
        state, stage = BoxState.STOPPING, "ending"
    elif found.state == PAUSED or found.ended is not None:
        state, stage = BoxState.PAUSING, "ending"
    elif not found.scheduled:
        state, stage = BoxState.PROVISIONING, WAITING
    elif tunnel is None:
        state, stage = BoxState.STARTING, "starting"
    else:
        state, stage = BoxState.RUNNING, "running"
    endpoint = None
    if tunnel is not None:
        key = found.host_key
        endpoint = Endpoint(tunnel[0], tunnel[1], "root", (key,) if key else None)
    capped = found.timeout >= LONGEST
    return _seen(found, record.handle(found.id), state)._replace(
        stage=stage,
        message=f"Modal ends it after {LONGEST // 3600} h" if capped else "",
        endpoint=endpoint,
        billed=found.scheduled and found.ended is None,
        billed_since=found.started,
        ended_at=found.ended,
        deadline=found.started + found.timeout if found.started and found.timeout else None,
    )


def paused(found: Record, image: str) -> Observation:
    """Of a finished sandbox whose files Modal keeps in `image`."""
    until = "for 30 days"
    if found.ended:
        until = f"until {datetime.fromtimestamp(found.ended + KEPT, UTC):%Y-%m-%d}"
    by_itself = "" if found.whole else f"{_why(found)}; "
    if by_itself and image == found.image and not found.untouched:
        by_itself += "its files are those of a pause before that, as Modal has no newer ones; "
    return _seen(found, record.handle(found.id, image), BoxState.PAUSED)._replace(
        stage="snapshot",
        message=f"{by_itself}files are kept {until}, its processes are gone",
        billed_since=found.started,
        ended_at=found.ended,
    )


def saving(found: Record) -> Observation:
    """Of a finished sandbox of which Modal has not told yet what became of its files."""
    return _seen(found, record.handle(found.id), BoxState.PAUSING)._replace(
        stage="saving its files",
        message=f"{_why(found)}; Modal has not told yet whether its files are saved",
        billed_since=found.started,
        ended_at=found.ended,
    )


def over(found: Record) -> Observation:
    """Of a finished sandbox without files."""
    lost = "" if found.untouched else f"; {_LOST}"
    message = "" if found.state == ENDED else f"{_why(found)}{lost}"
    return _seen(found, record.handle(found.id), BoxState.TERMINATED)._replace(
        message=message, billed_since=found.started, ended_at=found.ended
    )


def forgotten(handle: str) -> Observation:
    """Of a paused box whose sandbox Modal lists no more, while it keeps the files."""
    return Observation(
        handle=handle,
        name="",
        token="",
        state=BoxState.PAUSED,
        stage="snapshot",
        message="files are kept, its processes are gone",
    )


def _seen(found: Record, handle: str, state: BoxState) -> Observation:
    price = found.price
    return Observation(
        handle=handle,
        name=found.name,
        token=found.token,
        state=state,
        hardware=found.size.hardware if found.size else "",
        price=None if price.micro_per_hour is None else price,
    )


def _why(found: Record) -> str:
    if found.scheduled and found.untouched:
        return "it got its machine only after nobody waited for it, and ended itself at once"
    if found.status == _FAILURE:
        return f"its main process ended with code {found.code}"
    if found.status == _INIT_FAILURE:
        return f"it could not start: {found.reason or 'no reason given'}"
    return _WHY.get(found.status, "it ended")
