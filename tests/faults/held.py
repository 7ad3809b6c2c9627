"""Trials that a strike at one call does not make: an answer that comes late, a listing that lags
for long, someone else who answers. Each takes a world, lives a life in it and asserts its end."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from unittest import mock

import docker
from docker.errors import DockerException

from devbox import lifecycle, spec
from devbox.errors import AuthError, DevboxError
from devbox.model import Box, BoxState
from devbox.workspace import Workspace
from tests.emulators.common import Fault
from tests.emulators.modal import ModalEmulator
from tests.emulators.switch import Switch
from tests.faults.campaign import Devbox
from tests.faults.server import PROVIDERS
from tests.faults.world import Emulated, World
from tests.faults.worlds import DockerWorld, ModalWorld, _HfWorld
from tests.remote.sshd import wait_until

#: by which call a box is asked for, and by which boxes are listed where a listing may lag
CREATES = {"hf-space": "create_repo", "hf-job": "run_job", "modal": "SandboxCreate"}
LISTS = {"hf-space": "list_spaces", "hf-job": "list_jobs"}
LONG = 600.0
_EMULATED = tuple(CREATES)


def workspace(world: World) -> Workspace:
    """The world's project in this computer's time, where waiting makes the world's pass."""

    def sleep(seconds: float) -> None:
        world.advance(seconds)
        time.sleep(0.002)  # what the jump has started needs a moment of its own

    def here() -> float:
        return world.clock.now() - world.ahead

    loaded = spec.load(world.project / "devbox.toml")
    provider = PROVIDERS[world.name](loaded.provider(world.name), clock=here)
    return Workspace(loaded, providers=[provider], clock=here, sleep=sleep)


def late_reply(world: Emulated, effect: float = 60.0) -> None:
    """`up` is killed while it asks; `down` is typed before the create takes effect."""
    ws = killed_while_asking(world, effect)
    world.advance(4.0)
    told: list[str] = []
    ws.narrate = told.append
    lifecycle.down(ws, ws.box("b"), save=False)
    assert any("it may still appear and cost" in line for line in told), told
    assert_ended(world, ws)


def late_reply_and_reconcile(world: Emulated) -> None:
    """`down` is cut off too; `reconcile` comes back to its goal when that can be reached."""
    ws = killed_while_asking(world, 60.0)
    ws.sleep = interrupt
    with suppress(KeyboardInterrupt):
        lifecycle.down(ws, ws.box("b"), save=False)
    assert ws.box("b").state is BoxState.STOPPING
    assert [i.goal for i in ws.store.boxes.open_intents()] == ["terminated"]
    ws = workspace(world)
    (finding,) = lifecycle.reconcile(ws, provider=world.name)
    assert finding.kind == "busy", finding
    assert "may still appear and cost" in finding.detail
    assert ws.box("b").state is BoxState.STOPPING
    world.advance(60.0)
    wait_until(lambda: world.live() == 1, "the create that was asked for takes effect")
    world.advance(LONG)
    findings = lifecycle.reconcile(ws, provider=world.name)
    assert [f.kind for f in findings] == ["finished"], findings
    assert_ended(world, ws)


def lagging_list(world: Emulated, lag: float = 30.0) -> None:
    """The answer is lost, and `down` is typed before the listing shows what was made."""
    ws = never_answered(world, Fault.reply_lost(), lag)
    assert world.live() == 1
    lifecycle.down(ws, ws.box("b"), save=False)
    assert_ended(world, ws)


def lagging_list_and_up(world: Emulated) -> None:
    """The answer is lost, and `up` continues until it runs: once."""
    _lag(world, 30.0)
    world.knobs.set(CREATES[world.name], Fault.reply_lost())
    ws = workspace(world)
    assert lifecycle.up(ws, "b").state is BoxState.RUNNING
    world.advance(LONG)
    assert world.live() == 1
    lifecycle.down(ws, ws.box("b"), save=False)
    assert_ended(world, ws)


def wrong_account(world: World) -> None:
    """Someone else answers for a while: nothing is changed, here or there."""
    with ExitStack() as stack:
        become_other, come_back = _somebody_else(world, stack)
        box = lifecycle.up(workspace(world), "b")
        become_other()
        ws = workspace(world)
        (seen,) = lifecycle.refresh(ws, [box])
        assert seen.state is BoxState.RUNNING, seen.message
        assert seen.unreachable
        for verb in (lifecycle.down, lifecycle.pause):
            refused = _error(lambda: verb(ws, box, save=False))  # noqa: B023
            assert isinstance(refused, AuthError) or "cannot pause" in str(refused), refused
        assert {f.kind for f in lifecycle.reconcile(ws, provider=world.name)} == {"failed"}
        assert ws.box("b").state is BoxState.RUNNING
        assert ws.store.boxes.open_intents() == []
        assert ws.store.ledger.current(box.id) is not None
        assert world.billing() == 1
        come_back()
        ws = workspace(world)
        lifecycle.down(ws, ws.box("b"), save=False)
        assert_ended(world, ws)


Trial = tuple[Callable[..., None], tuple[str, ...]]
#: name → what is done, and in which worlds
TRIALS: dict[str, Trial] = {
    "listing lag 30 s, down": (lagging_list, _EMULATED),
    "listing lag 30 s, up": (lagging_list_and_up, _EMULATED),
    "create reply after 60 s, down": (late_reply, _EMULATED),
    "create reply after 60 s, reconcile": (late_reply_and_reconcile, _EMULATED),
    "wrong account answering": (wrong_account, (*_EMULATED, "docker")),
}


def attempt(name: str, world: World) -> tuple[str, ...]:
    """Everything that does not hold; empty for a survivor."""
    with mock.patch.dict(os.environ, world.env()):
        try:
            TRIALS[name][0](world)
        except (AssertionError, DevboxError) as error:
            return (f"{type(error).__name__}: {error}",)
    return ()


def killed_while_asking(world: Emulated, effect: float) -> Workspace:
    """`up` is killed in its create, which takes effect `effect` seconds later."""
    devbox, route = Devbox(world), CREATES[world.name]

    def strike(called: str, phase: str) -> None:
        if (called, phase) == (route, "before"):
            world.knobs.set(route, Fault.late(effect))
            os.kill(devbox.pid, signal.SIGKILL)

    world.calls.on_call = strike
    assert devbox.run("up")["code"] == -9
    world.calls.on_call = None
    devbox.close()
    assert world.live() == 0
    return workspace(world)


def never_answered(world: Emulated, fault: Fault, lag: float) -> Workspace:
    """`up` gets no answer to its create and is given up then, while listings lag by `lag`."""
    _lag(world, lag)
    # also when the client itself asks once more, as Modal's does with the same idempotency key
    world.knobs.set(CREATES[world.name], fault, times=None)
    ws = workspace(world)
    ws.sleep = interrupt
    assert isinstance(_error(lambda: lifecycle.up(ws, "b")), KeyboardInterrupt)
    world.knobs.clear(CREATES[world.name])
    return workspace(world)


def _lag(world: Emulated, seconds: float) -> None:
    if isinstance(world, ModalWorld):
        world.modal.world.list_lag = seconds
        return
    world.knobs.clear(LISTS[world.name])
    world.knobs.set(LISTS[world.name], Fault.list_lag(seconds), times=None)


def interrupt(_: float) -> None:
    raise KeyboardInterrupt


def assert_ended(world: World, ws: Workspace) -> None:
    assert ws.box("b").state is BoxState.TERMINATED
    assert ws.store.boxes.open_intents() == []
    assert ws.store.ledger.all_current() == {}
    world.advance(LONG)
    wait_until(lambda: world.live() == world.billing() == 0, "nothing of it is left")


def _error(action: Callable[[], Box]) -> BaseException | None:
    try:
        action()
    except (DevboxError, KeyboardInterrupt) as error:
        return error
    return None


def _somebody_else(
    world: World, stack: ExitStack
) -> tuple[Callable[[], object], Callable[[], object]]:
    """(someone else answers from now on, who answered before does again)."""
    if isinstance(world, _HfWorld):
        account = world.hub.account
        return (lambda: setattr(account, "name", "you"), lambda: setattr(account, "name", "me"))
    if isinstance(world, ModalWorld):
        switch = stack.enter_context(Switch(world.modal.url))
        other = stack.enter_context(ModalEmulator(workspace="beta"))
        set_env = os.environ.__setitem__
        set_env("MODAL_SERVER_URL", switch.url)

        def turn(url: str, token: str) -> None:
            switch.to = url
            set_env("MODAL_TOKEN_ID", token)

        return (lambda: turn(other.url, "ak-of-beta"), lambda: turn(world.modal.url, "ak-emulated"))
    assert isinstance(world, DockerWorld)
    proxy, mine = world._proxy, world._proxy.engine
    address = stack.enter_context(engine(world.home / "engine"))
    return (lambda: setattr(proxy, "engine", address), lambda: setattr(proxy, "engine", mine))


@contextmanager
def engine(folder: Path) -> Iterator[str]:
    """A second dockerd of this machine, empty and without networks. In a network namespace of its
    own: a dockerd without a bridge deletes the docker0 it finds, which is the first one's."""
    assert os.getuid() == 0, "a second Docker engine needs root"
    folder.mkdir()
    host = f"unix://{folder}/docker.sock"
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                *("unshare", "--net", "dockerd"),
                *("--host", host, "--pidfile", f"{folder}/pid"),
                *("--data-root", f"{folder}/data", "--exec-root", f"{folder}/exec"),
                *("--bridge=none", "--iptables=false", "--ip-forward=false"),
                "--storage-driver=vfs",
            ],
            stdout=log,
            stderr=log,
        )
    try:
        until = time.monotonic() + 60
        while not _answers(host):
            assert process.poll() is None, (folder / "log").read_text()[-2000:]
            assert time.monotonic() < until, "the second engine does not answer"
            time.sleep(0.1)
        yield host
    finally:
        process.terminate()
        process.wait(60)


def _answers(host: str) -> bool:
    try:
        client = docker.APIClient(host, timeout=10)
        client.close()
    except DockerException:
        return False
    return True
