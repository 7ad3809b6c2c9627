"""Real providers, emulated: devbox's own time inside `up`, and looking at a hundred boxes.

Own time is what `devbox up` takes, its start included, minus what the provider takes: the stages
of the box, and every call from its arrival to its answer. A network is not part of it. The
processor time beside it says what a machine with other work to do made of that.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import msgspec

from devbox import lifecycle, spec
from devbox.lifecycle import asking
from devbox.model import Box, BoxState
from devbox.providers.base import Request
from devbox.remote import keys
from devbox.workspace import Workspace
from tests.bench.rows import Row, ms, seconds
from tests.emulators.common import Fault
from tests.emulators.common.calls import Phase
from tests.faults.campaign import ROOT
from tests.faults.world import Emulated, World
from tests.faults.worlds import JobWorld, LocalWorld, ModalWorld, SpaceWorld, SshWorld

_RUNS = 5
_GOAL_S = 1.0
_MANY = 100
_LATENCY_S = 1.0  # of one call: what a provider far away takes
_GOAL_RATIO = 1.5


def rows(home: Path) -> list[Row]:
    """home: an empty folder that is HOME and holds DEVBOX_HOME."""
    out = []
    for made in (LocalWorld, SshWorld, SpaceWorld, JobWorld, ModalWorld):
        with _running([made(home)]) as (world,):
            out.append(_own_time(world))
    with _running([made(home) for made in (SpaceWorld, JobWorld, ModalWorld)]) as worlds:
        out.append(_many(worlds))
    return out


def _own_time(world: World) -> Row:
    took, own, cpu = [], [], []
    world.disarm(everything=True)
    with _Spent(world) as spent:
        for turn in range(_RUNS + 1):
            spent.reset()
            before = _cpu()
            wall = seconds(lambda: _devbox(world, "up", "-q"))
            if turn:  # the first one makes keys and the zipapp
                took.append(wall)
                own.append(wall - spent.seconds - world.stages)
                cpu.append(_cpu() - before)
            _devbox(world, "down", "--yes", "--no-save", "-q")
    value = statistics.median(own)
    name = f"devbox up {world.name}, own time"
    whole = f"whole {ms(statistics.median(took))}, best own {ms(min(own))}, "
    whole += f"CPU {ms(statistics.median(cpu))}"
    return Row(name, ms(value), whole, ms(value), "≤ 1 s", value <= _GOAL_S)


def _cpu() -> float:
    """Seconds of processor time that programs we ran and waited for have used."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


class _Spent:
    """Seconds in which the provider was at work on at least one call."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.reset()

    def reset(self) -> None:
        self.seconds, self._open, self._since = 0.0, 0, 0.0

    def __enter__(self) -> _Spent:
        calls = getattr(self._world, "calls", None)
        if calls is not None:
            calls.on_call = self._tell
        return self

    def __exit__(self, *_: object) -> None:
        self._world.disarm()

    def _tell(self, route: str, phase: Phase) -> None:
        if "logs" in route.lower():
            return  # a log is followed for as long as the build takes
        now = time.perf_counter()
        if phase == "before":
            self._since = now if self._open == 0 else self._since
            self._open += 1
        elif self._open:
            self._open -= 1
            self.seconds += now - self._since if self._open == 0 else 0.0


def _many(worlds: list[World]) -> Row:
    """All providers answer each call after a second; the peer is the slowest single look."""
    ws = _workspace(worlds)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda index: _make(ws, worlds[index % len(worlds)], index), range(_MANY)))
    boxes = ws.store.boxes.all()
    while {box.state for box in boxes} != {BoxState.RUNNING}:
        boxes = lifecycle.refresh(ws, boxes)
    for world in worlds:
        assert isinstance(world, Emulated)
        world.knobs.set("*", Fault.latency(_LATENCY_S), times=None)
    firsts = [next(box for box in boxes if box.provider == world.name) for world in worlds]
    single = max(seconds(partial(lifecycle.refresh, ws, [box])) for box in firsts)
    took = []
    for _ in range(3):
        began = time.perf_counter()
        boxes = lifecycle.refresh(ws, boxes)
        took.append(time.perf_counter() - began)
        assert {box.state for box in boxes} == {BoxState.RUNNING}
        assert not [box for box in boxes if "unreachable" in box.message]
    ratio = statistics.median(took) / single
    ws.store.close()
    return Row(
        f"ls --refresh, {_MANY} boxes, {len(worlds)} providers",
        ms(statistics.median(took)),
        f"slowest single look {ms(single)}",
        f"{ratio:.2f}×",
        "≤ 1.5×",
        ratio <= _GOAL_RATIO,
    )


def _workspace(worlds: list[World]) -> Workspace:
    specs = [spec.load(world.project / "devbox.toml") for world in worlds]
    unset = spec.Providers()
    providers = spec.Providers(
        **{
            key: settings
            for each in specs
            for key, settings in msgspec.structs.asdict(each.providers).items()
            if settings != getattr(unset, key)
        }
    )
    return Workspace(spec.Spec(root=worlds[0].project, providers=providers))


def _make(ws: Workspace, world: World, index: int) -> None:
    """A box, as `up` leaves it before anybody logs in."""
    name = f"many-{index}"
    toml = spec.load(world.project / "devbox.toml")
    wanted = toml.boxes["b"]
    provider = ws.provider(world.name)
    token = f"{name}-{uuid.uuid4().hex[:8]}"
    hardware = wanted.first_hardware
    wanted = asking.with_image(provider, wanted, hardware)
    handle = provider.create(
        Request(
            name=name,
            token=token,
            spec=msgspec.structs.replace(wanted, workdir=wanted.workdir or provider.workdir),
            hardware=hardware,
            public_key=keys.ensure_identity(),
            host_key=keys.new_host_key()[0],
            secrets={},
            root=str(world.project),
        )
    )
    now = time.time()
    price = next(o.price for o in provider.offers() if o.hardware.name == hardware)
    box = Box(
        id=uuid.uuid4().hex[:12],
        name=name,
        provider=world.name,
        token=token,
        state=BoxState.PROVISIONING,
        hardware=hardware,
        price=price,
        created=now,
        updated=now,
        seen=now,
        handle=handle,
        spec=spec.encode_box(wanted),
    )
    ws.store.boxes.finish(ws.store.boxes.insert(box, "running", {}, now), "running", now)


def _devbox(world: World, *words: str) -> None:
    subprocess.run(
        [sys.executable, "-m", "devbox.cli.main", *words],
        cwd=world.project,
        check=True,
        capture_output=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


@contextmanager
def _running(worlds: list[World]) -> Iterator[list[World]]:
    """Worlds with their environment set, ended afterwards."""
    before = dict(os.environ)
    for world in worlds:
        os.environ.update(world.env())
    try:
        yield worlds
    finally:
        for world in worlds:
            world.close()
        os.environ.clear()
        os.environ.update(before)
