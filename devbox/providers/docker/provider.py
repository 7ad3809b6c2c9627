"""Containers behind the provider contract. The handle is the container's id.

One container is a box for all its life: a pause stops it and keeps its files, a resume starts it.
Its name is made of the box's name, so that the engine itself lets one box of a name exist.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from devbox import files, names, paths
from devbox.errors import (
    Conflict,
    DevboxError,
    Gone,
    Locked,
    ProviderError,
    Unavailable,
)
from devbox.images import templates
from devbox.model import Hardware, Offer
from devbox.providers.abilities import CanAdmit, CanPause, HasBuildLogs, HasRunLogs
from devbox.providers.base import Finding, Observation, Provider, Request, own_price
from devbox.providers.docker import container, entrypoint, hardware, image, observe
from devbox.providers.docker.answers import Container, Info
from devbox.providers.docker.engine import Engine, resolve
from devbox.providers.docker.errors import InProgress
from devbox.providers.docker.hardware import GPU
from devbox.providers.local.launch import public_line
from devbox.spec import BoxSpec, DockerSettings
from devbox.text import clean
from devbox.wire.messages import PauseRecipe

if TYPE_CHECKING:
    from docker import APIClient

T = TypeVar("T")
_HANDLE = re.compile(r"[0-9a-f]{64}")
_WORKERS = 8
_STRIPES = 64
_PATIENCE = 600.0  # seconds to wait for another process at work on the same box; it may pull
_PARTING = 10  # seconds the main process gets to end
_ADMITTED = 20.0  # seconds
_LINES = 20_000


__all__ = ["Docker", "make", "resolve"]


def make(config: DockerSettings) -> Provider:
    """Of the settings `docker_host`, `namespace` and `price` (dollars an hour) apply."""
    return Docker(config)


class Docker(Provider, CanPause, CanAdmit, HasBuildLogs, HasRunLogs):
    """Boxes on one engine. clock: () → unix seconds."""

    name = "docker"
    keeps_ceiling = True
    bills = False
    go_back = "start the engine {} at its address again"

    def __init__(self, config: DockerSettings, *, clock: Callable[[], float] = time.time) -> None:
        self._engine = Engine(config.docker_host)
        self._namespace = names.name(config.namespace, "namespace") if config.namespace else ""
        self._price = own_price(config)
        self._clock = clock

    def identity(self) -> str:
        return self._engine.identity()

    def offers(self) -> list[Offer]:
        return self._offers(hardware.detect(self._engine))

    def offers_for(self, wanted: BoxSpec) -> list[Offer]:
        return self._offers(hardware.detect(self._engine, wanted))

    def default_image(self, hardware: str) -> str:
        return templates.CUDA if hardware == GPU else templates.PLAIN

    def create(self, request: Request) -> str:
        container.check(request)
        self._engine.way()
        name = container.name_of(request.name, self._namespace)
        with self._at(request.token):
            found = self._inspect(name)
            if found is not None and self._is_left_over(request, found):
                self._remove(str(found["Id"]))
                found = None
            if found is None:
                found = self._make(request, name)
            return self._complete(request, name, found)

    def observe(self, handle: str) -> Observation | None:
        found = self._ours(handle)
        return None if found is None else self._seen(found)

    def find(self, token: str | None = None) -> list[Observation]:
        labels = container.ours_only(self._namespace)
        if token is not None:
            labels["devbox.token"] = token
        filters = {"label": [f"{key}={value}" for key, value in labels.items()]}
        rows = self._engine.call(
            "listing boxes", lambda api: api.containers(all=True, filters=filters)
        )
        with ThreadPoolExecutor(_WORKERS) as pool:
            found = list(pool.map(self._ours, [str(row["Id"]) for row in rows]))
        return [self._seen(each) for each in found if each is not None and self._is_named(each)]

    def terminate(self, handle: str) -> None:
        found = self._ours(handle)
        if found is not None:
            self._remove(handle)
            _log_file(found["Config"]["Labels"]["devbox.token"]).unlink(missing_ok=True)

    def pause(self, handle: str) -> str:
        found = self._known(handle)
        state = found["State"]
        if state.get("Paused"):
            self._call("waking", found, lambda api: api.unpause(handle))
        if state.get("Running") or state.get("Restarting"):
            self.narrate(f"{_name(found)}: stopping it; files are kept, programs are ended")
            self._call("stopping", found, lambda api: api.stop(handle, timeout=_PARTING))
        return handle

    def resume(self, request: Request, handle: str) -> str:
        container.check(request)
        found = self._known(handle)
        if found["State"].get("Paused"):
            self._call("waking", found, lambda api: api.unpause(handle))
        elif not found["State"].get("Running"):
            with self._at(request.token):
                self._start(request, found)
        return handle

    def admit(self, handle: str, public_key: str) -> None:
        found = self._known(handle)
        if not found["State"].get("Running"):
            raise Gone(f"{_name(found)} does not run", fix="see: devbox ls --refresh")
        argv = entrypoint.admit(public_key)

        def run(api: APIClient) -> int | None:
            made = api.exec_create(handle, argv, user="0:0", stdout=False, stderr=False)
            api.exec_start(made["Id"], detach=True)
            until = time.monotonic() + _ADMITTED
            while time.monotonic() < until:
                told = api.exec_inspect(made["Id"])
                if not told["Running"] and told["ExitCode"] is not None:
                    return int(told["ExitCode"])
                time.sleep(0.02)
            return None

        if self._call("letting this computer in to", found, run) != 0:
            raise ProviderError(f"{_name(found)} did not take this computer's ssh key")

    def own_guards(self, hardware: str) -> list[str]:
        return ["its main process ends the container at max_uptime"]

    def watchdog(self, handle: str) -> PauseRecipe:
        _valid(handle)
        return entrypoint.stop()

    def login_help(self, handle: str) -> str:
        return "see what its sshd says with: docker logs CONTAINER, on the engine's machine"

    def checks(self, wanted: Sequence[BoxSpec] = ()) -> list[Finding]:
        return hardware.checks(self._engine)

    def build_logs(self, handle: str, *, follow: bool) -> Iterator[str]:
        """What building or pulling the image said when this computer made the box; a container
        exists only once its image is there, so there is nothing to follow."""
        file = _log_file(str(self._known(handle)["Config"]["Labels"]["devbox.token"]))
        if file.is_file():
            with file.open(encoding="utf-8", errors="replace") as log:
                for line in islice(log, _LINES):
                    yield clean(line.rstrip("\n"), 2000)

    def run_logs(self, handle: str, *, follow: bool) -> Iterator[str]:
        """What the main process and sshd say; programs of ssh sessions are not in it."""
        found = self._known(handle)
        tail: int | str = "all" if follow else _LINES

        def lines(api: APIClient) -> Iterator[str]:
            rest = b""
            for block in api.logs(handle, stream=True, follow=follow, tail=tail):
                *whole, rest = (rest + block).split(b"\n")
                for line in whole:
                    yield clean(line.decode(errors="replace"), 2000)
                rest = rest[-65536:]
            if rest:
                yield clean(rest.decode(errors="replace"), 2000)

        yield from self._call("reading the log of", found, lines)

    def _make(self, request: Request, name: str) -> Container:
        """The container, not started; the one that another devbox made meanwhile, if so."""
        info: Info = self._engine.call("asking the engine what it has", lambda api: api.info())
        kind = hardware.check(request.hardware, info)
        with self._log(request) as say:
            made_from = image.ensure(
                self._engine, request.spec.image, request.root, say, request.spec.build_args
            )
        wanted = container.settings(
            request,
            image=made_from,
            login=image.login(self._engine, made_from),
            hardware=kind,
            host_key=public_line(request.host_key),
            namespace=self._namespace,
            memory=int(info.get("MemTotal") or 0),
        )
        request.asking()
        try:
            self._engine.call(
                f"making {request.name}", lambda api: api.create_container_from_config(wanted, name)
            )
        except Conflict:
            self.narrate(f"{request.name}: another devbox made it just now")
        found = self._inspect(name)
        if found is None:
            raise Unavailable(f"the container {name} is gone again", fix="try again")
        return found

    def _complete(self, request: Request, name: str, found: Container) -> str:
        """Bring what is there to where it runs by itself, when it is this box; let this computer
        in when it is another's."""
        labels, handle = found["Config"]["Labels"] or {}, str(found["Id"])
        if not container.is_ours(labels, self._namespace):
            raise Conflict(
                f"a container {name} that devbox did not make is on this engine",
                means="nothing was changed",
                fix=f"give the box another name, or: docker rm {name}",
            )
        if observe.is_over(found):
            raise Unavailable(f"an earlier {name} is still being removed", retry_after=1.0)
        mine = labels.get("devbox.token") == request.token
        if mine and (observe.never_started(found) or observe.is_broken(found)):
            self._start(request, found)
        elif not mine and found["State"].get("Running"):
            self.admit(handle, request.public_key)
        return handle

    def _start(self, request: Request, found: Container) -> None:
        """Put the private files in and start it. A host key that another computer made stays."""
        handle = str(found["Id"])
        pinned = found["Config"]["Labels"].get("devbox.host-key")
        packed = entrypoint.files(
            request, request.host_key if public_line(request.host_key) == pinned else ""
        )
        self._call("preparing", found, lambda api: api.put_archive(handle, "/", packed))
        self._call("starting", found, lambda api: api.start(handle))

    def _is_left_over(self, request: Request, found: Container) -> bool:
        """Another computer made it, and died before it was started: it holds no files."""
        labels = found["Config"]["Labels"] or {}
        return (
            container.is_ours(labels, self._namespace)
            and labels["devbox.token"] != request.token
            and observe.is_abandoned(found, self._clock())
        )

    def _remove(self, handle: str) -> None:
        try:
            self._engine.call(
                "removing a box", lambda api: api.remove_container(handle, v=True, force=True)
            )
        except (Gone, InProgress):
            return

    def _seen(self, found: Container) -> Observation:
        seen = observe.seen(found, price=self._price, via=self._engine.way(), now=self._clock())
        return seen._replace(message=self._complaint(found)) if observe.is_broken(found) else seen

    def _complaint(self, found: Container) -> str:
        """The last thing that a main process which could not continue has said."""
        try:
            said = self._call(
                "reading the log of", found, lambda api: api.logs(found["Id"], tail=1)
            )
        except DevboxError:
            return "it could not start"  # why: the log only explains what is told without it
        return clean(said.decode(errors="replace").strip(), 300) or "it could not start"

    def _inspect(self, name: str) -> Container | None:
        try:
            found: Container = self._engine.call(
                "looking at a box", lambda api: api.inspect_container(name)
            )
        except Gone:
            return None
        return found

    def _ours(self, handle: str) -> Container | None:
        found = self._inspect(_valid(handle))
        if found is None or not container.is_ours(found["Config"]["Labels"] or {}, self._namespace):
            return None
        return found

    def _is_named(self, found: Container) -> bool:
        """Whether its labels name it: they travel with an image that was committed from a box, into
        every container that is made of that."""
        try:
            named = container.name_of(_name(found), self._namespace)
        except DevboxError:
            return False
        return str(found.get("Name", "")).lstrip("/") == named

    def _known(self, handle: str) -> Container:
        found = self._ours(handle)
        if found is None or observe.is_over(found):
            raise Gone(
                f"the engine does not know {clean(handle, 20)}", fix="see: devbox ls --refresh"
            )
        return found

    def _call(self, doing: str, found: Container, action: Callable[[APIClient], T]) -> T:
        return self._engine.call(f"{doing} {_name(found)}", action)

    def _offers(self, found: list[Hardware]) -> list[Offer]:
        now = self._clock()
        return [Offer(self.name, each, self._price, now) for each in found]

    @contextmanager
    def _log(self, request: Request) -> Iterator[Callable[[str], None]]:
        """Tells the lines of an image build and keeps them."""
        with open(_log_file(request.token), "w", encoding="utf-8") as log:

            def say(line: str) -> None:
                self.tell_build(request.name, line)
                log.write(f"{line}\n")

            yield say

    @contextmanager
    def _at(self, token: str) -> Iterator[None]:
        """One thread of one process at a time prepares a box, so that none starts with half of
        its files. The locks are striped, so that they need not be removed with the boxes."""
        locks = files.private_dir(paths.cache_dir() / "docker-locks")
        try:
            with files.locked(locks / str(sum(token.encode()) % _STRIPES), timeout=_PATIENCE):
                yield
        except Locked as error:
            raise Unavailable(error.what, means="nothing was changed", fix=error.fix) from error


def _log_file(token: str) -> Path:
    """token: one that `container.TOKEN` takes, so that it is a file's name."""
    return files.private_dir(paths.cache_dir() / "docker-builds") / f"{token}.log"


def _valid(handle: str) -> str:
    if not _HANDLE.fullmatch(handle):
        raise ProviderError(f"{clean(handle, 60)!r} is not the handle of a Docker box")
    return handle


def _name(found: Container) -> str:
    return clean(str(found["Config"]["Labels"].get("devbox.name", "")), 40)
