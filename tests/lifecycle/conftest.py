"""A project with one box: local, at the embedded ssh server, and for tests that are marked
`openssh` once more on a machine with a real sshd."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from devbox import lifecycle, spec
from devbox.workspace import Workspace
from tests.providers.host.machine import Machine
from tests.remote.sshd import close_masters


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if metafunc.definition.get_closest_marker("openssh"):
        metafunc.parametrize("server", ["embedded", "openssh"], indirect=True)


@pytest.fixture
def server(request: pytest.FixtureRequest, home: Path) -> Iterator[Machine | None]:
    """The machine that is box b; None for a local box."""
    if getattr(request, "param", "embedded") == "embedded":
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
