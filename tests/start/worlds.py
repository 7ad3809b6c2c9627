"""What is behind each provider while a newcomer follows its page: the emulators, a real engine, a
real sshd. Nothing is set up for devbox but where the service is, and what its website would do."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any, ClassVar

from tests.emulators.common.stage_clock import StageClock
from tests.emulators.hf import HfEmulator, Times
from tests.emulators.modal import ModalEmulator, Stages
from tests.providers.docker import world as engine
from tests.providers.host.machine import Machine
from tests.remote.sshd import close_masters

TOKEN = "hf_of_the_newcomer"
#: seconds: about what a build on cached layers and a start take, by both providers' public pages
BUILD, START = 120.0, 30.0


class World:
    """env: what the newcomer's shell has. answers: to the questions of `devbox login`."""

    #: the state that the page ends in
    ends: ClassVar[str] = "paused"
    answers: ClassVar[list[tuple[str, str]]] = []

    def __init__(self, home: Path) -> None:
        self.home = home
        self.env: dict[str, str] = {}
        self.stack = ExitStack()

    def configure(self, text: str) -> None:
        """The user's own config: where the emulated service is."""
        file = self.home / ".devbox" / "config.toml"
        file.parent.mkdir(mode=0o700, exist_ok=True)
        file.write_text(text)

    def after_login(self, screen: str) -> None:
        """What the page has the newcomer do on the provider's website."""

    def billed(self) -> list[str]:
        """What costs money now, by the provider's own account."""
        return []

    def stages(self) -> float:
        """Seconds that the provider's stages took."""
        return 0.0

    def close(self) -> None:
        self.stack.close()


class Local(World):
    """This machine."""


class Ssh(World):
    ends = "terminated"

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        self.machine = Machine(home, "lab")

    def close(self) -> None:
        close_masters()
        self.machine.close()


class Docker(World):
    """Images are not built here, as that needs the network: tests/images does."""

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        self.space = engine.Space()
        self.env = {"DOCKER_HOST": engine.engine()}
        self.configure(
            f'[defaults]\nimage = "{engine.IMAGE}"\n'
            f'[providers.docker]\nnamespace = "{self.space.namespace}"\n'
        )

    def close(self) -> None:
        self.space.close()


class Hf(World):
    answers: ClassVar[list[tuple[str, str]]] = [("not shown: ", TOKEN)]

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        self.clock = StageClock()
        times = Times(build=BUILD, start=START, schedule=START)
        made = HfEmulator(clock=self.clock, times=times, state_dir=home / "hub")
        self.hub = self.stack.enter_context(made)
        self.hub.account.add_token(TOKEN)
        self.env = {k: v for k, v in self.hub.env().items() if k != "HF_TOKEN"}
        self.configure(f'[providers.hf]\nssh_gateway = "{self.hub.gateway_host_port}"\n')

    def after_login(self, screen: str) -> None:
        """Add the key that was printed, at the settings page that was named."""
        _, _, line = screen.partition("/settings/keys: ")
        assert self.hub.account.ssh_keys is not None
        self.hub.account.ssh_keys.append(" ".join(line.split()[:3]))

    def billed(self) -> list[str]:
        return self.hub.meter.billing()

    def stages(self) -> float:
        return self.clock.passed

    def close(self) -> None:
        super().close()
        assert self.hub.unexpected == []


class HfJob(Hf):
    ends = "terminated"


class Modal(World):
    answers: ClassVar[list[tuple[str, str]]] = [
        ("(ak-…), not shown: ", "ak-newcomer"),
        ("(as-…), not shown: ", "as-newcomer"),
    ]

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        self.clock = StageClock()
        stages = Stages(image_build=START, scheduling=START, stopping=5.0, snapshot=START)
        self.emulator = self.stack.enter_context(ModalEmulator(clock=self.clock, stages=stages))
        self.env = {"MODAL_SERVER_URL": self.emulator.url}

    def billed(self) -> list[Any]:
        return self.emulator.meter.billing()

    def stages(self) -> float:
        return self.clock.passed

    def close(self) -> None:
        super().close()
        assert self.emulator.unexpected == []


WORLDS: dict[str, type[World]] = {
    "local": Local,
    "ssh": Ssh,
    "docker": Docker,
    "hf-space": Hf,
    "hf-job": HfJob,
    "modal": Modal,
}
