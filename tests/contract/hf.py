"""What both Hugging Face harnesses share: an emulated Hub that the real client talks to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import ClassVar
from unittest import mock

from huggingface_hub import constants

from devbox.providers import registry
from devbox.providers.base import Provider
from devbox.remote import keys
from devbox.spec import HfSettings
from tests.contract.harness import Harness
from tests.emulators.common import Fault
from tests.emulators.hf import HfEmulator, Times

PAUSE_TOKEN = "hf_only_for_this_space"


class HfHarness(Harness):
    """Real time with short stages; the account knows devbox's own key."""

    hardware = "t4-small"
    #: routes of the calls that change something
    changing: ClassVar[tuple[str, ...]]

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        self._stack = ExitStack()
        self.hub = self._stack.enter_context(
            HfEmulator(times=Times(0.05, 0.05, 0.05), state_dir=home / "hub")
        )
        environment = {**self.hub.env(), "PAUSE_TOKEN_OF_TEST": PAUSE_TOKEN}
        self._stack.enter_context(mock.patch.dict("os.environ", environment))
        self._stack.enter_context(mock.patch.object(constants, "HF_HUB_DISABLE_XET", True))
        self.hub.account.add_token(PAUSE_TOKEN, repos=["me/devbox-b"])
        assert self.hub.account.ssh_keys is not None
        self.hub.account.ssh_keys.append(keys.ensure_identity())

    def make(self) -> Provider:
        return registry.load(
            self.name,
            HfSettings(
                ssh_gateway=self.hub.gateway_host_port, pause_token="env:PAUSE_TOKEN_OF_TEST"
            ),
        )

    def live(self) -> int:
        return len(self.hub.meter.billing())

    def close(self) -> None:
        self._stack.close()
        assert self.hub.unexpected == []

    @contextmanager
    def fault(self, kind: str) -> Iterator[None]:
        # Turned away: after a 5xx a create waits until what it may have made would be listed.
        fault = Fault.unauthorized() if kind == "auth" else Fault.rate_limited()
        for route in self.changing:
            self.hub.knobs.set(route, fault, times=None)
        yield
        for route in self.changing:
            self.hub.knobs.clear(route)
