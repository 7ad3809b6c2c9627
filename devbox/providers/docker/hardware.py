"""What an engine has to offer, and whether boxes can run on it."""

from __future__ import annotations

from pathlib import Path

from devbox.errors import DevboxError, ProviderError
from devbox.model import Hardware
from devbox.providers.base import Finding
from devbox.providers.docker.answers import Info
from devbox.providers.docker.engine import Engine
from devbox.providers.local import hardware as machine
from devbox.spec import BoxSpec
from devbox.text import clean, size

CPU, GPU = "cpu", "gpu"


def detect(engine: Engine, wanted: BoxSpec | None = None) -> list[Hardware]:
    """The engine's machine without its GPUs, and with all of them where it has the NVIDIA
    runtime. wanted: with its limits. An engine does not tell its GPUs' memory; this machine
    does, so vram is 0 for one elsewhere."""
    info: Info = engine.call("asking the engine what it has", lambda api: api.info())
    cpus = float(info.get("NCPU") or 0)
    memory = int(info.get("MemTotal") or 0)
    if wanted is not None:
        cpus = min(wanted.cpu or cpus, cpus)
        memory = min(int(wanted.memory) or memory, memory)
    found = [Hardware(CPU, cpus=cpus, memory=memory)]
    if has_gpus(info):
        known = machine.detect(Path("/"))[-1] if engine.is_local else Hardware(GPU)
        gpus = known.gpus if known.name == GPU else 0
        found.append(Hardware(GPU, known.gpu or "NVIDIA", gpus or 1, known.vram, cpus, memory))
    return found


def has_gpus(info: Info) -> bool:
    """Whether an engine can hand NVIDIA GPUs to a container. info: its own `docker info`."""
    runtimes = info.get("Runtimes")
    return isinstance(runtimes, dict) and "nvidia" in runtimes


def check(wanted: str, info: Info) -> str:
    """The hardware itself. ProviderError when the engine has not got it."""
    kind = wanted or CPU
    if kind == CPU or (kind == GPU and has_gpus(info)):
        return kind
    if kind == GPU:
        raise ProviderError(
            "this Docker engine has no NVIDIA runtime, so no GPU for a box",
            means="nothing was started",
            fix='install the NVIDIA container toolkit on its machine, or set hardware = "cpu"',
        )
    raise ProviderError(
        f"a Docker engine has no hardware named {clean(kind, 40)!r}",
        means="nothing was started",
        fix=f"use one of: {CPU}, {GPU}",
    )


def checks(engine: Engine) -> list[Finding]:
    """Client, engine and GPUs: (level ok|warn|fail, what, fix)."""
    try:
        info: Info = engine.call("asking the engine what it has", lambda api: api.info())
        engine.way()
    except DevboxError as error:
        return [("fail", f"docker: {error.what}", error.fix or "see: docker info")]
    where = clean(engine.address, 80)
    memory = size(int(info.get("MemTotal") or 0))
    version = clean(str(info.get("ServerVersion")), 40)
    found: list[Finding] = [
        ("ok", f"docker: engine {version} at {where}, {info.get('NCPU')} CPUs, {memory}", "")
    ]
    if info.get("OSType") != "linux":
        found.append(("fail", "docker: its containers are not Linux", "switch it to Linux ones"))
    if not has_gpus(info):
        fix = "for GPUs, install the NVIDIA container toolkit on its machine"
        found.append(("ok", f"docker: no NVIDIA runtime, so CPU boxes only ({fix})", ""))
    return found
