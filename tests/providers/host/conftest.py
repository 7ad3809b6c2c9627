"""Machines for tests of the ssh provider."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from devbox.providers.host.provider import Host
from devbox.spec import SshSettings
from tests.providers.host.machine import Machine
from tests.remote.sshd import close_masters

MakeMachine = Callable[..., Machine]


@pytest.fixture
def make_machine(home: Path) -> Iterator[MakeMachine]:
    """make_machine("lab", known=True, via="ProxyJump gate") → a machine that is on."""
    made: list[Machine] = []

    def make(name: str = "lab", *, known: bool = True, via: str = "") -> Machine:
        made.append(Machine(home, name, known=known, via=via))
        return made[-1]

    yield make
    close_masters()
    for machine in made:
        machine.close()


@pytest.fixture
def lab(make_machine: MakeMachine) -> Machine:
    return make_machine()


@pytest.fixture
def provider(home: Path) -> Host:
    del home
    return Host(SshSettings())
