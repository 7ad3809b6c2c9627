"""Boxes on this machine, behind the provider contract. The handle is the token."""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from devbox import files, names, paths
from devbox.errors import (
    Gone,
    Locked,
    ProviderError,
    Unavailable,
)
from devbox.model import Offer
from devbox.providers.abilities import CanAdmit, CanPause
from devbox.providers.base import Finding, Observation, Provider, Request, own_price
from devbox.providers.local import guard, hardware, launch, observe, volumes
from devbox.providers.local.box_dir import PAUSED, RUNNING, TERMINATED, BoxDir, Settings, replace
from devbox.spec import BoxSpec, LocalSettings
from devbox.text import clean
from devbox.wire.messages import PauseRecipe

_TOKEN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")
_NEW = ".new-"
_VOLUMES = ".volumes"
_STRIPES = 64
_PATIENCE = 30.0  # seconds to wait for another process at work on the same box
_PARTING = 4.0  # seconds a server and its guard get to end a box by themselves


def make(config: LocalSettings) -> Provider:
    """The local provider. Of the settings only `price` applies: dollars an hour to reckon with."""
    return Local(config)


class Local(Provider, CanPause, CanAdmit):
    """A box is a folder, an embedded SSH server on 127.0.0.1 and a guard that outlives it.

    clock: () → unix seconds.
    """

    name = "local"
    keeps_ceiling = True
    bills = False

    def __init__(
        self,
        config: LocalSettings,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._price = own_price(config)
        self._root = Path(os.path.realpath(paths.local_boxes()))
        self._clock = clock

    def offers(self) -> list[Offer]:
        now = self._clock()
        return [Offer("local", each, self._price, now) for each in hardware.detect(self._root)]

    def create(self, request: Request) -> str:
        folder = self._folder(request.token)
        with self._at(request.token):
            if not folder.path.exists():
                self._make(folder, request)
            goal = folder.goal()
            if goal is None or goal.want == TERMINATED:
                raise Gone(f"the box {request.name} of this token is being removed")
            if goal.want == RUNNING and not folder.alive() and folder.life(goal.life) is None:
                launch.start(folder, request, goal.life)
        return request.token

    def observe(self, handle: str) -> Observation | None:
        folder = self._folder(handle)
        seen = observe.at(folder, self._clock())
        if seen is not None and seen.needs_end:
            self._bury(folder)
            seen = observe.at(folder, self._clock())
        return seen.observation if seen is not None else None

    def find(self, token: str | None = None) -> list[Observation]:
        for left in self._root.glob(f"{_NEW}*"):
            self._sweep(left.name.removeprefix(_NEW))
        if token is None:
            tokens = sorted(p.name for p in self._root.iterdir() if _TOKEN.fullmatch(p.name))
        else:
            tokens = [token]
        return [found for each in tokens if (found := self.observe(each)) is not None]

    def terminate(self, handle: str) -> None:
        folder = self._folder(handle)
        with self._at(handle):
            shutil.rmtree(self._new(handle), ignore_errors=True)
            if folder.path.exists():
                self._end(folder, TERMINATED, "removed")
                # What says that it is being removed goes last.
                _remove(folder.home)
                _remove(folder.path)

    def pause(self, handle: str) -> str:
        folder = self._folder(handle)
        with self._at(handle):
            if self._want(folder) == RUNNING or not _is_down(folder):
                self._end(folder, PAUSED, "paused")
        return handle

    def resume(self, request: Request, handle: str) -> str:
        folder = self._folder(handle)
        with self._at(handle):
            if self._want(folder) == RUNNING and folder.alive() and folder.stop_reason() is None:
                return handle
            if not _is_down(folder):
                self._end(folder, PAUSED, "resumed after its server was gone")
            self._configure(folder, request)
            folder.stop.unlink(missing_ok=True)
            life = _life(folder) + 1
            folder.write_goal(RUNNING, life)
            launch.start(folder, request, life)
        return handle

    def admit(self, handle: str, public_key: str) -> None:
        folder = self._folder(handle)
        with self._at(handle):
            if not folder.alive():
                raise Gone(f"the box {handle} does not run", fix="see: devbox ls --refresh")
            before = folder.admitted.read_text() if folder.admitted.exists() else ""
            if public_key.strip() not in before.splitlines():
                replace(folder.admitted, f"{before}{public_key.strip()}\n")

    def own_guards(self, hardware: str) -> list[str]:
        return ["its own process ends it at max_uptime"]

    def watchdog(self, handle: str) -> PauseRecipe:
        return PauseRecipe("exec", ("touch", str(self._folder(handle).stop)))

    def checks(self, wanted: Sequence[BoxSpec] = ()) -> list[Finding]:
        return hardware.checks(self._root)

    def _make(self, folder: BoxDir, request: Request) -> None:
        """The folder appears whole or not at all: a crash leaves only a `.new-` one."""
        new = BoxDir(self._new(request.token))
        shutil.rmtree(new.path, ignore_errors=True)
        try:
            for each in (new.path, new.home, new.box_root):
                each.mkdir(mode=0o700)
            (new.home / ".profile").write_text(launch.PROFILE)
            self._configure(new, request)
            new.write_goal(RUNNING, 1)
            os.rename(new.path, folder.path)
        except BaseException:
            shutil.rmtree(new.path, ignore_errors=True)
            raise

    def _configure(self, folder: BoxDir, request: Request) -> None:
        """Write what holds until the next resume. An empty host key keeps the one there is."""
        names.name(request.name)
        launch.check(request)
        kind = request.hardware or hardware.CPU
        if kind not in hardware.names():
            raise ProviderError(
                f"this machine has no hardware named {clean(kind, 40)!r}",
                fix=f"use one of: {', '.join(hardware.names())}",
            )
        before = folder.settings()
        host_key = before.host_key if before else ""
        if request.host_key or not host_key:
            host_key = launch.public_line(request.host_key)
            files.write_atomic(folder.host_key, request.host_key, mode=0o600)
        (folder.home / names.inner_path(request.spec.workdir)).mkdir(parents=True, exist_ok=True)
        volumes.mount(self._root / _VOLUMES, folder.home, request.spec.volumes)
        uptime = float(request.spec.max_uptime)
        folder.write_settings(Settings(request.name, kind, host_key, uptime))

    def _end(self, folder: BoxDir, want: str, reason: str) -> None:
        """Bring a box down: its server and guard do it where they live, else we do."""
        life = _life(folder)
        folder.write_goal(want, life)
        at = None
        if not folder.alive():
            at = folder.last_beat()
        else:
            launch.ask_to_stop(folder, life, reason, _PARTING)
        if not guard.finish(folder, life, reason, at=at):
            raise ProviderError(
                f"some processes of the local box {folder.path.name} cannot be ended",
                means="the box keeps showing as stopping",
                fix=f"end what has {folder.mark} in its environment (sudo?), then try again",
            )

    def _bury(self, folder: BoxDir) -> None:
        """End what is left of a box whose server and guard were both killed."""
        with suppress(Unavailable), self._at(folder.path.name, patience=0.0):
            seen = observe.at(folder, self._clock())
            if seen is not None and seen.needs_end:
                at = folder.last_beat()
                guard.finish(folder, _life(folder), "its server was killed", at=at)

    def _want(self, folder: BoxDir) -> str:
        goal = folder.goal()
        if goal is None or goal.want == TERMINATED:
            raise Gone(f"the local box {folder.path.name} is gone", fix="see: devbox ls")
        return goal.want

    def _folder(self, token: str) -> BoxDir:
        if not _TOKEN.fullmatch(token):
            raise ProviderError(f"{clean(token, 60)!r} is not the handle of a local box")
        return BoxDir(self._root / token)

    def _new(self, token: str) -> Path:
        return self._root / f"{_NEW}{token}"

    def _sweep(self, token: str) -> None:
        """Remove what a create that was cut off has left."""
        with suppress(Unavailable), self._at(token, patience=0.0):
            shutil.rmtree(self._new(token), ignore_errors=True)

    @contextmanager
    def _at(self, token: str, patience: float | None = None) -> Iterator[None]:
        """One thread of one process at a time works on a box. The locks are striped, so that
        they need not be removed with the boxes."""
        locks = self._root / ".locks"
        stripe = sum(token.encode()) % _STRIPES
        try:
            files.private_dir(locks)
            wait = _PATIENCE if patience is None else patience
            with files.locked(locks / str(stripe), timeout=wait):
                yield
        except Locked as error:
            raise Unavailable(error.what, means="nothing was changed", fix=error.fix) from error
        except OSError as error:
            raise ProviderError(f"the local box {clean(token, 60)}: {error}") from error


def _life(folder: BoxDir) -> int:
    goal = folder.goal()
    return goal.life if goal else 0


def _is_down(folder: BoxDir) -> bool:
    life = folder.life(_life(folder))
    return not folder.alive() and life is not None and life.ended is not None


def _remove(path: Path) -> None:
    """Remove a tree, folders without write permission in it too (package caches have them)."""
    try:
        shutil.rmtree(path)
    except FileNotFoundError:
        if path.exists():
            raise
    except PermissionError:
        for folder, inside, _ in os.walk(path):
            for each in inside:
                entry = os.path.join(folder, each)
                if not os.path.islink(entry):
                    os.chmod(entry, 0o700)
        shutil.rmtree(path)
