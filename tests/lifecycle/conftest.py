"""A project with one box, at one of three servers:

- `embedded`: a local box with its own ssh server;
- `openssh`: a local box whose ssh server is OpenSSH's, once more for tests marked `openssh`;
- `machine`: a machine with a real sshd, through the ssh provider, for tests marked `machine`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from devbox import lifecycle, spec
from devbox.model import Box
from devbox.workspace import Workspace
from tests import warm
from tests.lifecycle.cloud import Pausing
from tests.providers.host.machine import Machine
from tests.remote import openssh_box
from tests.remote.sshd import close_masters


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test says by its marks which servers it also runs at."""
    also = [name for name in ("openssh", "machine") if metafunc.definition.get_closest_marker(name)]
    if also:
        metafunc.parametrize("server", ["embedded", *also], indirect=True)


@pytest.fixture(autouse=True)
def server(
    request: pytest.FixtureRequest, home: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Machine | None]:
    """The machine that is box b; None for a local box."""
    which = getattr(request, "param", "embedded")
    if which == "openssh":
        openssh_box.prepare(home)
        monkeypatch.setenv(warm.BOX_PROGRAM, "tests.remote.openssh_box")
        yield None
        assert openssh_box.logins(home)
        return
    if which == "embedded":
        yield None
        return
    machine = Machine(home, "lab")
    yield machine
    close_masters()
    machine.close()


@pytest.fixture
def ws(home: Path, server: Machine | None) -> Iterator[Workspace]:
    folder = home / "project"
    folder.mkdir()
    where = f'provider = "ssh"\nhost = "{server.name}"\n' if server else ""
    (folder / "devbox.toml").write_text(f"[boxes.b]\n{where}")
    spec.trust_file(folder / "devbox.toml")
    workspace = Workspace.open(folder)
    yield workspace
    workspace.on_step = lambda *_: None
    for box in workspace.store.boxes.all():
        lifecycle.down(workspace, box, save=False)
    workspace.store.close()


@pytest.fixture
def cloud() -> Pausing:
    """The provider in memory of tests that need no real box, for `a_project`."""
    return Pausing()


@pytest.fixture
def box(ws: Workspace) -> Box:
    """Of such a provider: it runs, and has no ssh address."""
    return lifecycle.up(ws, "b", wait=False)
