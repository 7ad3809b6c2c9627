"""A container as an observation, from what `docker inspect` says of it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from devbox import names
from devbox.errors import UsageError
from devbox.model import BoxState, Endpoint, Price
from devbox.providers.base import Observation
from devbox.providers.docker.answers import Container, State
from devbox.providers.docker.container import SSH
from devbox.providers.docker.entrypoint import ASKED, CEILING, UNUSABLE
from devbox.text import clean

#: seconds that whoever made a container has to start it
ABANDONED = 60.0
_KILLED = 137
_OVER = ("removing", "dead")


def seen(info: Container, *, price: Price, via: str, now: float) -> Observation:
    """info: of a container that is ours. via: the way to its machine's loopback."""
    labels, state = info["Config"]["Labels"], info["State"]
    status = str(state.get("Status"))
    running = bool(state.get("Running")) and status not in _OVER
    started = moment(state.get("StartedAt"))
    endpoint = _endpoint(info, via)
    what, message = _state(info, endpoint is not None, now)
    uptime = str(labels.get("devbox.uptime", ""))
    lives = running and started is not None and uptime.isdecimal()
    return Observation(
        handle=str(info["Id"]),
        name=_name(labels),
        token=str(labels["devbox.token"]),
        state=what,
        stage=clean(status, 40),
        message=message,
        endpoint=endpoint,
        hardware=clean(str(labels.get("devbox.hardware", "")), 40),
        price=price,
        billed=running,
        billed_since=started,
        ended_at=moment(state.get("FinishedAt")),
        deadline=started + int(uptime) if lives and started is not None else None,
    )


def never_started(info: Container) -> bool:
    """It was made, and nothing of it has run yet."""
    return bool(info["State"].get("Status") == "created")


def is_broken(info: Container) -> bool:
    """Its image or its files kept it from running: `create` may try once more."""
    state = info["State"]
    return bool(state.get("Status") == "exited" and state.get("ExitCode") == UNUSABLE)


def is_abandoned(info: Container, now: float) -> bool:
    """Never started by who made it, who has gone."""
    made = moment(info.get("Created"))
    return never_started(info) and (made is None or now - made > ABANDONED)


def is_over(info: Container) -> bool:
    """Its removal has begun."""
    return info["State"].get("Status") in _OVER


def moment(said: object) -> float | None:
    """Unix seconds of a time as engines write it; None for none, which they write as year 1."""
    if not isinstance(said, str) or len(said) > 40 or said.startswith("0001-"):
        return None
    try:
        at = datetime.fromisoformat(said)
    except ValueError:
        return None
    return at.timestamp() if at.tzinfo else None


def _state(info: Container, reachable: bool, now: float) -> tuple[BoxState, str]:
    state = info["State"]
    status = str(state.get("Status"))
    if status == "created":
        return _unstarted(info, now)
    if is_broken(info):
        return BoxState.FAILED, ""
    if status == "exited":
        return BoxState.PAUSED, _why(state)
    if status == "running" and reachable:
        return BoxState.RUNNING, ""
    return _STATES.get(status, (BoxState.STARTING, ""))


_STATES = {
    "removing": (BoxState.STOPPING, ""),
    "dead": (BoxState.STOPPING, ""),
    "paused": (BoxState.PAUSED, "frozen by docker pause: it holds its memory, and costs"),
}


def _unstarted(info: Container, now: float) -> tuple[BoxState, str]:
    error = clean(str(info["State"].get("Error") or ""), 300)
    if error:
        return BoxState.FAILED, error
    if is_abandoned(info, now):
        return BoxState.FAILED, "it was made and never started"
    return BoxState.PROVISIONING, ""


def _why(state: State) -> str:
    code = state.get("ExitCode")
    if state.get("OOMKilled"):
        return "it ran out of memory, so that the engine ended it; its files are kept"
    known = {
        ASKED: "",
        CEILING: "its max_uptime was over; its files are kept",
        _KILLED: "it was killed, or the engine's machine went down; its files are kept",
    }
    if isinstance(code, int) and code in known:
        return known[code]
    return f"its main process ended with code {code}; its files are kept"


def _endpoint(info: Container, via: str) -> Endpoint | None:
    labels = info["Config"]["Labels"]
    ports = (info.get("NetworkSettings") or {}).get("Ports") or {}
    for each in ports.get(SSH) or ():
        try:
            port = names.port(each["HostPort"])
            user = names.user(labels["devbox.login"])
        except (UsageError, KeyError):
            continue  # why: not what we asked the engine for, so there is no way in by it
        host_key = str(labels.get("devbox.host-key", ""))
        return Endpoint("127.0.0.1", port, user, (host_key,), via=via)
    return None


def _name(labels: Mapping[str, str]) -> str:
    try:
        return names.name(str(labels.get("devbox.name", "")))
    except UsageError:
        return "unnamed"
