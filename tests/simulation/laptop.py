"""A computer with devbox on it: a home and a clock of its own, closed for days, killed in the
middle of a verb."""

from __future__ import annotations

import importlib
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from types import MappingProxyType
from typing import Any
from unittest import mock

from devbox import lifecycle, spec
from devbox.errors import DevboxError
from devbox.lifecycle import login, observe
from devbox.lifecycle import watchdog as lifecycle_watchdog
from devbox.model import Box
from devbox.notify import channels, deliver
from devbox.notify.channels import Channel
from devbox.providers.hf.job import HfJob
from devbox.providers.hf.space import HfSpace
from devbox.providers.modal import account as modal_account
from devbox.providers.modal import provider as modal_provider
from devbox.providers.modal.provider import Modal
from devbox.remote import agent_bootstrap, keys
from devbox.spec import HfSettings, ModalSettings
from devbox.state.store import Store
from devbox.telemetry import rearm
from devbox.workspace import Workspace
from tests.simulation.line import Line
from tests.simulation.world import PAUSE_TOKEN, World

_CALLS = ("create", "observe", "find", "terminate", "pause", "resume")


class Killed(BaseException):
    """This devbox was killed: nothing of it is done any more."""


class Process(Workspace):
    """One devbox process. dead: whatever it still tries to write is not written."""

    dead = False
    opened: Store | None = None

    @property
    def store(self) -> Store:
        if self.dead:
            raise Killed
        if self.opened is None:
            self.opened = Store.open()
        return self.opened


class Laptop:
    """toml: of its project. limits: its user's budgets (`daily`, `monthly`), in dollars. doom:
    calls and steps until it is killed in a verb, None for never. moves: (when, zone) of its time
    zones, and of times when its clock was set."""

    def __init__(
        self, name: str, world: World, toml: str, limits: Mapping[str, float] = MappingProxyType({})
    ) -> None:
        self.name, self._world = name, world
        self.home = world.folder / name
        self.project = self.home / "project"
        self.project.mkdir(parents=True)
        (self.project / "devbox.toml").write_text(toml)
        (self.project / "Dockerfile").write_text("FROM python:3.12-bookworm\nCMD sleep infinity\n")
        (self.project / "README.md").write_text("---\nsdk: docker\n---\n")
        self.limits = limits
        self.ahead = 0.0
        self.zone = "UTC"
        self.moves = [(world.clock.now(), self.zone)]
        self.asleep_until = 0.0
        self.nap = 0.0  # seconds that it will be closed for in the middle of the next wait
        self.doom: int | None = None
        self.busy = False
        self.kills = 0
        self.errors: dict[str, int] = {}
        self.looks: dict[str, list[float]] = {}  # box → when its price was that of the list
        with self.here():
            (self.home / "config.toml").write_text(
                '[notify]\nwebhook = "http://127.0.0.1:9/hook"\n[budget]\n'
                + "".join(f"{name} = {dollars}\n" for name, dollars in limits.items())
            )
            spec.trust_file(self.project / "devbox.toml")
            self._boot()

    def move(self, zone: str, ahead: float) -> None:
        """To another time zone; or its clock is set so many seconds wrong."""
        self.zone, self.ahead = zone, ahead
        self.moves.append((self._world.clock.now(), zone))

    def clock(self) -> float:
        return self._world.clock.now() + self.ahead

    @property
    def awake(self) -> bool:
        return self._world.clock.now() >= self.asleep_until and not self.busy

    @contextmanager
    def here(self) -> Iterator[None]:
        """Its files and its time zone are this process's."""
        before = os.environ.get("DEVBOX_HOME", ""), os.environ.get("TZ", "UTC")
        _become(str(self.home), self.zone)
        try:
            yield
        finally:
            _become(*before)

    def run(self, verb: Callable[[Workspace], Any], *, looks: bool = False) -> Any:
        """A verb; what it returns, None when it failed or was killed. looks: after it the price of
        each box that it asked about is that of the list."""
        self.busy = True
        began, before = self.clock(), self.ahead
        try:
            with self.here():
                try:
                    done = verb(self.ws)
                    if looks and self.ahead == before:
                        self._note_looks(began)
                    return done
                except DevboxError as error:
                    kind = type(error).__name__
                    self.errors[kind] = self.errors.get(kind, 0) + 1
                    self.last_error = error
                    return None
                except Killed:
                    self.kills += 1
                    self._boot()
                    return None
                finally:
                    self.doom = None
                    deliver.deliver(self.ws)
        finally:
            self.busy = False

    last_error: DevboxError | None = None

    def _note_looks(self, began: float) -> None:
        for box in self.ws.store.boxes.all():
            if box.seen >= began:
                self.looks.setdefault(box.name, []).append(box.seen - self.ahead)

    def _boot(self) -> None:
        """A new devbox process."""
        old = getattr(self, "ws", None)
        if old is not None and old.opened is not None:
            old.opened.close()
        loaded = spec.load(self.project / "devbox.toml")
        settings = loaded.provider("hf-job")
        assert isinstance(settings, HfSettings)
        made = [kind(settings, clock=self.clock) for kind in (HfJob, HfSpace)]
        for provider in made:
            for name in _CALLS:
                if hasattr(provider, name):
                    setattr(provider, name, self._mortal(getattr(provider, name)))
        modal = Modal(ModalSettings(), clock=self.clock)
        for name in ("rpc", "do"):  # a verb makes many calls, and may end at each
            setattr(modal._account, name, self._mortal(getattr(modal._account, name)))
        self.ws = Process(loaded, providers=[*made, modal], clock=self.clock, sleep=self._sleep)
        self.ws.on_step = lambda *_: self._one_nearer()
        self.ws.on_wait = lambda _: None
        self.ws.integrate = False

    def _sleep(self, seconds: float) -> None:
        nap, self.nap = self.nap, 0.0
        self._world.advance_to(self._world.clock.now() + seconds + nap)

    def _mortal(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def called(*args: Any) -> Any:
            self._one_nearer()
            result = call(*args)
            self._one_nearer()
            return result

        return called

    def _one_nearer(self) -> None:
        if self.ws.dead:
            raise Killed
        if self.doom is not None:
            self.doom -= 1
            if self.doom < 0:
                self.ws.dead, self.doom = True, None
                raise Killed


def _become(home: str, zone: str) -> None:
    os.environ["DEVBOX_HOME"], os.environ["TZ"] = home, zone
    time.tzset()


@contextmanager
def seams(world: World) -> Iterator[None]:
    """Where ssh and the network of notices would be, this process's own stand-ins."""

    def line(box: Box) -> Line:
        return Line(box, lambda box: world.machine(box.handle))

    @contextmanager
    def logged_in(op: Any, *, config: bool = True) -> Iterator[Line]:
        del config
        yield line(op.box)

    host_key = keys.new_host_key()
    nothing = mock.Mock(return_value=None)
    half = world.folder / "devbox-box-simulated.pyz"
    half.write_bytes(b"")
    ways = [Channel("webhook", world.receiver.post)]
    with ExitStack() as stack:
        for where, name, what in (
            (login, "publish", nothing),
            (login, "log_in", logged_in),
            (login, "forget", nothing),
            (importlib.import_module("devbox.lifecycle.pause"), "forget", nothing),
            (observe, "_follow", nothing),
            (importlib.import_module("devbox.lifecycle.up"), "_can_log_in", lambda box: True),
            (rearm, "Exec", line),
            (lifecycle_watchdog, "Exec", line),
            (keys, "new_host_key", lambda: host_key),
            (agent_bootstrap, "build", lambda: half),
            (observe, "_AT_ONCE", 1),  # a seed is one life
            (modal_provider, "_AT_ONCE", 1),
            (channels, "of", lambda wanted: ways),
        ):
            stack.enter_context(mock.patch.object(where, name, what))
        stack.callback(_close_clients)
        env = {**world.hub.env(), **world.modal.env(), "HOME": str(world.folder)}
        env["SIMULATED_PAUSE"] = PAUSE_TOKEN
        stack.enter_context(mock.patch.dict(os.environ, env))
        yield


def _close_clients() -> None:
    """Each life has a Modal workspace of its own."""
    while modal_account._clients:
        modal_account._clients.popitem()[1].close()


def verbs() -> dict[str, Callable[[Workspace, str], Any]]:
    """What users type about one box."""
    return {
        "up": lifecycle.up,
        "resume": lambda ws, name: lifecycle.resume(ws, ws.box(name)),
        "pause": lambda ws, name: lifecycle.pause(ws, ws.box(name), save=False),
        "down": lambda ws, name: lifecycle.down(ws, ws.box(name), save=False),
        "keep": lambda ws, name: lifecycle_watchdog.keep(ws, ws.box(name), 7200.0),
        "look": lambda ws, name: lifecycle.refresh(ws, [ws.box(name)]),
    }
