"""What an engine is asked to make: one container's settings, pure, and the labels by which we
know it again.

    devbox            1
    devbox.name       the box                 devbox.token     our tag
    devbox.namespace  whose boxes these are   devbox.host-key  the line of its sshd's public key
    devbox.login      user of ssh sessions    devbox.hardware  cpu or gpu
    devbox.uptime     seconds a start lasts
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import NamedTuple

from devbox import names
from devbox.errors import ProviderError, UsageError
from devbox.providers.base import Request
from devbox.providers.docker import entrypoint
from devbox.providers.docker.hardware import GPU
from devbox.text import clean

SSH = "22/tcp"
TOKEN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_VOLUME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,254}")
_PUBLIC_KEY = re.compile(r"[a-z0-9@.-]{3,60} [A-Za-z0-9+/]{16,16000}={0,2}(?: [^\x00-\x1f\x7f]*)?")
_LOG = {"Type": "json-file", "Config": {"max-size": "4m", "max-file": "2"}}


class Login(NamedTuple):
    """Who logs in: a name and an absolute home folder, as in the image."""

    user: str = "root"
    home: str = "/root"


def check(request: Request) -> None:
    """UsageError or ProviderError for a request that cannot become a container; nothing has been
    made then."""
    names.name(request.name)
    if not TOKEN.fullmatch(request.token):
        raise ProviderError(f"{clean(request.token, 60)!r} cannot be a label")
    if not _PUBLIC_KEY.fullmatch(request.public_key.strip()):
        raise ProviderError("the public key for the box is not one OpenSSH line")
    given = {**request.spec.env, **request.secrets}
    for key, value in given.items():
        names.env_name(key)
        if "\0" in value:
            raise UsageError(
                f"the value of {key} holds a NUL byte",
                fix=f"edit [boxes.{request.name}.env] in devbox.toml",
            )
    names.remote_path(request.spec.workdir, "workdir")
    _mounts(request, "/root")


def name_of(box: str, namespace: str) -> str:
    """The container's name: one a box, so that the engine itself refuses a second."""
    return f"devbox.{namespace}.{names.name(box)}" if namespace else f"devbox-{names.name(box)}"


def settings(
    request: Request,
    *,
    image: str,
    login: Login,
    hardware: str,
    host_key: str,
    namespace: str,
    memory: int,
) -> dict[str, object]:
    """The body of the engine's `POST /containers/create`. image: its id. host_key: the public
    line. memory: bytes of the engine's machine."""
    mounts = _mounts(request, login.home)
    ours = [m["Target"] for m in mounts if m["Type"] == "volume" and not m["ReadOnly"]]
    workdir = names.remote_path(request.spec.workdir, "workdir")
    work = workdir if workdir.startswith("/") else f"{login.home}/{workdir}"
    uptime = str(max(1, math.ceil(request.spec.max_uptime)))
    limit = int(request.spec.memory)
    return {
        "Image": image,
        "Entrypoint": ["/bin/sh", "-c", entrypoint.SCRIPT, "devbox"],
        "Cmd": [uptime, login.user, login.home, work, *ours],
        "User": "0:0",
        "WorkingDir": "/",
        "Hostname": request.name,
        "StopSignal": "SIGTERM",
        "Healthcheck": {"Test": ["NONE"]},
        "ExposedPorts": {SSH: {}},
        "Labels": {
            **ours_only(namespace),
            "devbox.name": request.name,
            "devbox.token": request.token,
            "devbox.host-key": host_key,
            "devbox.login": login.user,
            "devbox.hardware": hardware,
            "devbox.uptime": uptime,
        },
        "HostConfig": {
            "PortBindings": {SSH: [{"HostIp": "127.0.0.1", "HostPort": ""}]},
            "Mounts": mounts,
            "Tmpfs": {entrypoint.MEMORY: "rw,nosuid,nodev,noexec,mode=711,size=16m"},
            "NanoCpus": round((request.spec.cpu or 0) * 1e9),
            "Memory": limit,
            # Data loaders pass batches through /dev/shm; 64 MB, Docker's own size, ends them.
            "ShmSize": max(64 * 1024**2, (limit or memory) // 2),
            "LogConfig": _LOG,
            "RestartPolicy": {"Name": "no"},
            "DeviceRequests": [_GPUS] if hardware == GPU else [],
        },
    }


def ours_only(namespace: str) -> dict[str, str]:
    """The labels that every container of ours has."""
    return {"devbox": "1", "devbox.namespace": namespace}


def is_ours(labels: Mapping[str, str], namespace: str) -> bool:
    """Whether labels are those of a box of this namespace."""
    mine = ours_only(namespace)
    return all(labels.get(key) == value for key, value in mine.items()) and bool(
        TOKEN.fullmatch(labels.get("devbox.token", ""))
    )


_GPUS = {
    "Driver": "nvidia",
    "Count": -1,
    "Capabilities": [["gpu", "compute", "utility", "graphics", "video"]],
}


def _mounts(request: Request, home: str) -> list[dict[str, object]]:
    """Volumes of the engine by name, which it makes when they are new, or folders of its machine
    by absolute path. UsageError for another source."""
    made: list[dict[str, object]] = []
    for key, volume in request.spec.volumes.items():
        inside = names.remote_path(volume.mount, "mount")
        bind = volume.source.startswith("/")
        if bind:
            names.remote_path(volume.source, "volume source")
        elif not _VOLUME.fullmatch(volume.source):
            raise UsageError(
                f"{clean(volume.source, 60)!r} is not a volume of a Docker engine",
                means="nothing was started",
                fix=f"give [boxes.{request.name}.volumes.{clean(key, 40)}] the name of a volume, "
                "or an absolute path on the engine's machine",
            )
        made.append(
            {
                "Type": "bind" if bind else "volume",
                "Source": volume.source,
                "Target": inside if inside.startswith("/") else f"{home}/{inside}",
                "ReadOnly": volume.read_only,
            }
        )
    return made
