"""The provider's side of a campaign: what bills, what lives, what it has cost, and how to make a
call of it go wrong. One class a provider; times are the emulator's."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import ClassVar

import requests

from devbox import paths
from devbox.providers.local.box_dir import Stamp, parse_lines
from devbox.remote import keys
from tests.contract.harness_local import processes_under
from tests.emulators.common import Fault
from tests.emulators.docker_proxy import DockerProxy
from tests.emulators.hf import HfEmulator, Times
from tests.emulators.modal import ModalEmulator, Stages
from tests.faults.points import CUT, FULL, HTML, KILL_AFTER, KINDS, LOST
from tests.faults.world import Emulated, Stretch, World
from tests.providers.docker import world as docker_world
from tests.providers.host.machine import Machine

LIFE = ("up", "pause", "resume", "down")


class LocalWorld(World):
    """A watcher reads the boxes' meters as they are written, for they go with the boxes."""

    name = "local"
    keeps_files = True
    trip = "provider"
    slack = 2.0 / 3600  # real time: a busy machine sees an end that late
    section = "[providers.local]\nprice = 1.0"

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        self.write_toml()
        self._folder = paths.local_boxes()
        self._lives: dict[tuple[str, int], Stretch] = {}
        self._closed = threading.Event()
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._watcher.start()

    def advance(self, seconds: float) -> None:
        """Real processes in real time."""

    def live(self) -> int:
        return len(list(self._folder.glob("[!.]*/box.json")))

    def billing(self) -> int:
        return len({mark for mark, _ in processes_under(self._folder)})

    def bill(self) -> list[Stretch]:
        return list(self._lives.values())

    def close(self) -> None:
        self._closed.set()
        self._watcher.join()

    def _watch(self) -> None:
        while not self._closed.wait(0.01):
            there = set()
            for file in self._folder.glob("[!.]*/meter.jsonl"):
                there.add(file.parent.name)
                with suppress(OSError):
                    self._read(file.parent.name, parse_lines(file.read_bytes()))
            for (box, life), (start, end, rate, _) in list(self._lives.items()):
                if end is None and box not in there:
                    self._lives[box, life] = Stretch(start, time.time(), rate)

    def _read(self, box: str, lines: list[Stamp]) -> None:
        for line in lines:
            key = (box, line["life"])
            if line["event"] == "start":
                self._lives.setdefault(key, Stretch(line["at"], None, 1e6))
            elif key in self._lives:
                self._lives[key] = Stretch(self._lives[key].start, line["at"], 1e6)


class SshWorld(World):
    name = "ssh"
    verbs = ("up", "down")
    trip = "person"
    box = 'host = "lab"'
    section = "[providers.ssh]\nprice = 1.0"

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        self.lab = Machine(home, "lab")
        self.write_toml()

    def live(self) -> int:
        return len(self.lab.ours)

    def billing(self) -> int:
        return self.live()

    def bill(self) -> list[Stretch]:
        """A machine of one's own has no bill to compare with."""
        return []

    def close(self) -> None:
        self.lab.close()


STAGE = 0.05  # seconds that each stage of an emulated box takes
LAG = 8.0  # seconds by which listings lag


class _HfWorld(Emulated):
    kinds: ClassVar[tuple[str, ...]] = (*KINDS, FULL, HTML, CUT)
    box = 'hardware = "t4-small"'

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        self.hub = HfEmulator(
            clock=self.clock, times=Times(STAGE, STAGE, STAGE), state_dir=home / f"hub-{self.name}"
        ).__enter__()
        self.calls, self.knobs, self.meter = self.hub.calls, self.hub.knobs, self.hub.meter
        assert self.hub.account.ssh_keys is not None
        self.hub.account.ssh_keys.append(keys.ensure_identity())
        self.write_toml(f'[providers.hf]\nssh_gateway = "{self.hub.gateway_host_port}"')

    def env(self) -> dict[str, str]:
        return self.hub.env()

    def close(self) -> None:
        self.hub.__exit__(None, None, None)

    def unexpected(self) -> list[str]:
        return self.hub.unexpected


class SpaceWorld(_HfWorld):
    name = "hf-space"
    stages = 2 * STAGE

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        (self.project / "Dockerfile").write_text("FROM python:3.12-bookworm\nCMD sleep infinity\n")
        (self.project / "README.md").write_text("---\nsdk: docker\n---\n")
        self.knobs.set("list_spaces", Fault.list_lag(LAG), times=None)

    def live(self) -> int:
        return len(self.hub.spaces)


class JobWorld(_HfWorld):
    name = "hf-job"
    stages = STAGE
    verbs = ("up", "down")

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        self.knobs.set("list_jobs", Fault.list_lag(LAG / 2), times=None)

    def live(self) -> int:
        return sum(not job.over for job in self.hub.jobs.values())


AHEAD = 600.0


class SpaceAheadWorld(SpaceWorld):
    """The Hub's clock is ahead of this computer's."""

    title = "hf-space-ahead"
    ahead = AHEAD
    kinds = (KILL_AFTER, LOST)


class JobAheadWorld(JobWorld):
    title = "hf-job-ahead"
    ahead = AHEAD
    kinds = (KILL_AFTER, LOST)


class ModalWorld(Emulated):
    name = "modal"
    stages = STAGE
    keeps_files = True
    box = 'hardware = "T4"'

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        stages = Stages(STAGE, STAGE, STAGE, STAGE)
        self.modal = ModalEmulator(clock=self.clock, stages=stages, list_lag=LAG).__enter__()
        self.calls, self.knobs, self.meter = self.modal.calls, self.modal.knobs, self.modal.meter
        self.write_toml()

    def env(self) -> dict[str, str]:
        return self.modal.env()

    def live(self) -> int:
        return sum(each.result is None for each in self.modal.sandboxes.values())

    def close(self) -> None:
        self.modal.__exit__(None, None, None)

    def unexpected(self) -> list[str]:
        return self.modal.unexpected


_DOCKER_PRICE = 1e6  # micro-dollars an hour


class DockerWorld(Emulated):
    """A real engine behind a proxy, in real time. What it bills is what its own events say of
    containers that start and end."""

    name = "docker"
    keeps_files = True
    slack = 2.0 / 3600  # a removal takes a second or two, and a removed container tells no end
    box = f'image = "{docker_world.IMAGE}"'

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        self._space = docker_world.Space()
        self._proxy = DockerProxy(docker_world.engine(), self.clock).__enter__()
        self.calls, self.knobs = self._proxy.calls, self._proxy.knobs
        self.write_toml(
            f'[providers.docker]\ndocker_host = "{self._proxy.address}"\n'
            f'namespace = "{self._space.namespace}"\nprice = 1.0'
        )
        self._open: dict[str, float] = {}
        self._closed: list[Stretch] = []
        self._events = self._space.client.events(
            decode=True,
            filters={"label": f"devbox.namespace={self._space.namespace}"},
        )
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def advance(self, seconds: float) -> None:
        """Real containers in real time."""

    def live(self) -> int:
        return len(self._space.containers())

    def billing(self) -> int:
        return len(self._space.containers(every=False))

    def bill(self) -> list[Stretch]:
        # Events come a moment after what they tell of.
        until = time.monotonic() + 5
        while len(self._open) != self.billing() and time.monotonic() < until:
            time.sleep(0.01)
        begun = [Stretch(start, None, _DOCKER_PRICE) for start in self._open.values()]
        return [*self._closed, *begun]

    def close(self) -> None:
        self._events.close()
        self._listener.join(5)
        self._proxy.__exit__(None, None, None)
        self._space.close()

    def unexpected(self) -> list[str]:
        return self.calls.unexpected

    def _listen(self) -> None:
        try:
            for event in self._events:
                self._hear(str(event.get("id")), str(event.get("status")), event["timeNano"] / 1e9)
        except (requests.RequestException, OSError, ValueError):
            return  # why: the stream was closed under it, which is how it ends

    def _hear(self, container: str, status: str, at: float) -> None:
        if status == "start":
            self._open[container] = at
        elif status == "die" and container in self._open:
            self._closed.append(Stretch(self._open.pop(container), at, _DOCKER_PRICE))


WORLDS: tuple[type[World], ...] = (
    LocalWorld,
    SshWorld,
    SpaceWorld,
    SpaceAheadWorld,
    JobWorld,
    JobAheadWorld,
    ModalWorld,
    DockerWorld,
)
