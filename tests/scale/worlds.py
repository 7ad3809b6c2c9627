"""Where the workers of a batch are: local boxes, emulated Hugging Face Jobs, emulated Modal
sandboxes; how each takes a box away, and what it bills."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
from huggingface_hub import HfApi

from devbox import paths
from devbox.model import Box, BoxState
from devbox.remote import keys
from devbox.remote.config import parsed
from tests.emulators.common import Meter
from tests.emulators.hf import HfEmulator, Times
from tests.emulators.modal import ModalEmulator, Stages
from tests.processes import command_line, named
from tests.scale.conftest import Shop, opened

WORLDS = ("local", "hf-job", "modal")


class World:
    """evict: take a box away, as its provider may. meter: what the provider bills; None for local
    boxes, which nobody bills. gone: ids of boxes that were taken away."""

    def __init__(self, shop: Shop, evict: Callable[[Box], None], meter: Meter | None) -> None:
        self.shop, self._evict, self.meter = shop, evict, meter
        self.gone: set[str] = set()

    def workers(self) -> list[tuple[Box, str]]:
        """Those whose part runs, without those that were taken away."""
        with self.shop.workspace() as ws:
            (batch,) = ws.store.batches.open()
            found = [
                (ws.store.boxes.get(worker.box_id), worker.run)
                for worker in ws.store.batches.workers(batch.id)
                if worker.run and not worker.state.is_over
            ]
        return [(box, run) for box, run in found if box and box.id not in self.gone]

    def take_away(self, box: Box) -> None:
        self.gone.add(box.id)
        self._evict(box)

    def left(self) -> list[str]:
        """Boxes that run or are billed, and processes of boxes."""
        with self.shop.workspace() as ws:
            boxes = ws.store.boxes.all(over=True)
        found = [box.name for box in boxes if box.state is BoxState.RUNNING]
        found += self.meter.billing() if self.meter else []
        for process in psutil.process_iter():
            with suppress(psutil.Error):  # it ended meanwhile
                home, folder = (process.environ().get(x, "") for x in ("HOME", "DEVBOX_RUN_FOLDER"))
                ours = self.shop.results.name in folder
                if ours or any(box.token in home for box in boxes):
                    found.append(" ".join(process.cmdline()))
        return found


@contextmanager
def world(name: str, home: Path, setenv: Callable[[str, str], None]) -> Iterator[World]:
    """That of a provider."""
    if name == "local":
        yield from _local(home)
        return
    with _emulator(name, home) as emulator:
        for key, value in emulator.env().items():
            setenv(key, value)
        hardware = "t4-small" if name == "hf-job" else "T4"
        shop = opened(home, f'provider = "{name}"\nhardware = "{hardware}"')
        if isinstance(emulator, HfEmulator):
            assert emulator.account.ssh_keys is not None
            emulator.account.ssh_keys.append(keys.ensure_identity())
            own = f'[providers.hf]\nssh_gateway = "{emulator.gateway_host_port}"\n'
            (home / ".devbox/config.toml").write_text(own)
        yield World(shop, lambda box: _evict(emulator, box.handle), emulator.meter)
        assert emulator.unexpected == []


def kill_program(run: str) -> bool:
    """What works on a part is killed, and its box runs on; whether anything was there."""
    return sum(_sent(process) for process in _of_run(run)) > 0


def cut_connections() -> None:
    """Every ssh of this test."""
    for process in connections():
        _sent(process)


def connections(alias: str = "") -> list[psutil.Process]:
    """The ssh programs of this test; those to the box of that alias."""
    control = "\0"
    if alias:
        control = parsed.settings(paths.ssh_config(), alias)["controlpath"]
    home = os.environ["DEVBOX_HOME"]
    found = []
    for process in psutil.process_iter():
        line = command_line(process)
        if named(process) == "ssh" and home in line and (alias in line or control in line):
            found.append(process)
    return found


def kill_box(box: Box) -> None:
    """All processes of a local box, as when its machine is taken away."""
    for process in psutil.process_iter():
        with suppress(psutil.Error):  # it ended meanwhile
            named = any(box.token in word for word in process.cmdline())
            if named or box.token in process.environ().get("HOME", ""):
                process.kill()


def _local(home: Path) -> Iterator[World]:
    shop = opened(home, 'provider = "local"')
    yield World(shop, kill_box, None)
    shop.end_boxes()


def _emulator(name: str, home: Path) -> HfEmulator | ModalEmulator:
    if name == "hf-job":
        return HfEmulator(times=Times(0.05, 0.05, 0.05), state_dir=home / "hub")
    return ModalEmulator(stages=Stages(0.05, 0.05, 0.05, 0.05))


def _evict(emulator: HfEmulator | ModalEmulator, handle: str) -> None:
    if isinstance(emulator, ModalEmulator):
        emulator.end(emulator.sandboxes[handle], 4)
    else:
        namespace, _, job = handle.partition("/")
        api = HfApi(endpoint=emulator.endpoint, token=emulator.token)
        api.cancel_job(job_id=job, namespace=namespace)


def _of_run(run: str) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):  # it ended meanwhile
            if process.environ().get("DEVBOX_RUN_ID") == run:
                found.append(process)
    return found


def _sent(process: psutil.Process) -> bool:
    """Whether it was there to be killed."""
    with suppress(psutil.Error):  # it ended meanwhile
        process.kill()
        return True
    return False
