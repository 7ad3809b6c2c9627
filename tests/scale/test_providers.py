"""The same over emulated Hugging Face Jobs and Modal sandboxes, one of which is taken away."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from huggingface_hub import HfApi

from devbox.remote import keys
from devbox.workspace import Workspace
from tests.emulators.hf import HfEmulator, Times
from tests.emulators.modal import ModalEmulator, Stages
from tests.jobs.conftest import until
from tests.scale.conftest import Shop, opened


class World(NamedTuple):
    """evict: end a box by its handle, as its provider may. billing: what costs now."""

    shop: Shop
    evict: Callable[[str], None]
    billing: Callable[[], object]


@pytest.fixture(params=["hf-job", "modal"])
def world(
    request: pytest.FixtureRequest, home: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[World]:
    made = _hf(home) if request.param == "hf-job" else _modal(home)
    with made as emulator:
        for key, value in emulator.env().items():
            monkeypatch.setenv(key, value)
        hardware = "t4-small" if request.param == "hf-job" else "T4"
        shop = opened(home, f'provider = "{request.param}"\nhardware = "{hardware}"')
        if isinstance(emulator, HfEmulator):
            assert emulator.account.ssh_keys is not None
            emulator.account.ssh_keys.append(keys.ensure_identity())
            own = f'[providers.hf]\nssh_gateway = "{emulator.gateway_host_port}"\n'
            (home / ".devbox/config.toml").write_text(own)
        yield World(shop, lambda handle: _evict(emulator, handle), emulator.meter.billing)
        assert emulator.unexpected == []


def _hf(home: Path) -> HfEmulator:
    return HfEmulator(times=Times(0.05, 0.05, 0.05), state_dir=home / "hub")


def _modal(home: Path) -> ModalEmulator:
    del home
    return ModalEmulator(stages=Stages(0.05, 0.05, 0.05, 0.05))


def _evict(emulator: HfEmulator | ModalEmulator, handle: str) -> None:
    if isinstance(emulator, ModalEmulator):
        emulator.end(emulator.sandboxes[handle], 4)
    else:
        namespace, _, job = handle.partition("/")
        api = HfApi(endpoint=emulator.endpoint, token=emulator.token)
        api.cancel_job(job_id=job, namespace=namespace)


def test_a_batch_over_boxes_of_a_provider_one_of_which_is_evicted(world: World) -> None:
    shop = world.shop
    shop.texts(40)
    words = ("--then", "down", "--", "--texts", "texts", "--seconds", "0.1")
    with shop.start("run", "copy", "--workers", "3", *words) as running:
        until(lambda: shop.made > 6 or running.poll() is not None)
        assert running.poll() is None, shop.said
        ws = Workspace.open(shop.root)
        victim = ws.store.boxes.own("w-2", ws.here)
        ws.store.close()
        assert victim
        world.evict(victim.handle)
        assert running.wait(240) == 0, shop.said
    shop.require_all(40)
    batch = shop.batch()
    assert batch["counts"]["done"] == 40
    assert Counter(worker["state"] for worker in batch["workers"])["lost"] == 1
    costs = [part["cost_micro_dollars"] for part in batch["parts"]]
    assert batch["cost_micro_dollars"] == sum(costs)
    assert not world.billing()
