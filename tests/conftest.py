"""Every test gets its own HOME and DEVBOX_HOME and none of the user's credentials."""

from __future__ import annotations

import importlib.util
import os
import py_compile
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from _pytest.nodeid import coerce_node_id
from hypothesis import HealthCheck, settings

from devbox.remote import agent_bootstrap
from tests import warm

pytest_plugins = ["tests.boxes", "tests.command_line", "tests.images.engine"]

# A devbox that is started by a test would compile itself, and its libraries, each time.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
# Under `nohup make test &` some signals are ignored, and every child would inherit that. A child
# starts with the default of a signal that is handled here; for this process nothing changes.
for _signal in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGTERM):
    if signal.getsignal(_signal) is signal.SIG_IGN:
        signal.signal(_signal, lambda *_: None)
# How long a case takes says nothing on a machine that does other things besides; and the fixtures
# that each test has, a home of its own, hold nothing that one case leaves for the next.
settings.register_profile(
    "devbox",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("devbox")
warm.boxes()
# In memory, where there is enough of it: no test waits for a disk.
_ROOMY = 8 * 1024**3  # bytes
_HOMES = "/tmp"
with suppress(OSError):
    if shutil.disk_usage("/dev/shm").free > _ROOMY:
        _HOMES = "/dev/shm"
# `make coverage` measures each Python by a file among the installed packages, which `python -IS`,
# as a box runs its half of devbox, does not read.
_MEASURED = f"""\
import os, sys
if "COVERAGE_PROCESS_CONFIG" in os.environ and sys.version_info[:2] == {sys.version_info[:2]}:
    sys.path.append({sysconfig.get_path("purelib")!r})
    import coverage
    coverage.process_startup(slug="box")
    del sys.path[-1]
""".encode()
_PRIVATE = ("HF_", "MODAL_", "GOOGLE_", "DOCKER_", "DEVBOX_", "SSH_", "AWS_")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests marked real_time, and no others, get a second try; one that needs a third fails. Those
    of one xdist_group run in one worker."""
    for item in items:
        if item.get_closest_marker("real_time"):
            item.add_marker(pytest.mark.flaky(reruns=1))
        group = item.get_closest_marker("xdist_group")
        if group and getattr(config.option, "loadgroup", False):
            # As pytest-xdist 3.8.0 does by a field that pytest 9.2 no longer has.
            item._id = coerce_node_id(f"{item.nodeid}@{group.args[0]}")


@pytest.fixture(scope="session", autouse=True)
def zipped() -> Callable[[dict[str, bytes]], bytes]:
    """Each test has a cache folder of its own; the box half in it is zipped once a worker. It
    brings along what a Python as ours would compile of it, which each box would do once more.
    The result zips as devbox does."""
    zip_ = agent_bootstrap._zipped
    made: dict[str, bytes] = {}
    measured = "COVERAGE_PROCESS_CONFIG" in os.environ

    def once(contents: dict[str, bytes]) -> bytes:
        key = agent_bootstrap._digest(contents)
        if key not in made:
            more = {"__main__.py": _MEASURED + contents["__main__.py"]} if measured else {}
            made[key] = zip_(contents | _compiled(contents) | more)
        return made[key]

    agent_bootstrap._zipped = once
    return zip_


def _compiled(contents: dict[str, bytes]) -> dict[str, bytes]:
    """Archive name of a module's cached code → that code, which counts whatever the time of the
    module's file (PEP 552, unchecked)."""
    found = {}
    with tempfile.TemporaryDirectory(prefix="dbx", dir=_HOMES) as folder:
        source, compiled = Path(folder) / "source.py", Path(folder) / "source.pyc"
        for name, data in contents.items():
            if name.endswith(".py") and not name.startswith("devbox/box/jobs/"):
                source.write_bytes(data)
                mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
                py_compile.compile(str(source), str(compiled), name, True, invalidation_mode=mode)
                found[importlib.util.cache_from_source(name)] = compiled.read_bytes()
    return found


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A private HOME with DEVBOX_HOME at HOME/.devbox; short, because unix socket paths are."""
    for key in list(os.environ):
        if key.startswith(_PRIVATE):
            monkeypatch.delenv(key)
    with tempfile.TemporaryDirectory(
        prefix="dbx", dir=_HOMES, ignore_cleanup_errors=True
    ) as folder:
        path = Path(folder).resolve()
        monkeypatch.setenv("HOME", str(path))
        monkeypatch.setenv("DEVBOX_HOME", str(path / ".devbox"))
        monkeypatch.setenv("DEVBOX_BOX_ROOT", str(path / ".devbox-box"))
        yield path


@pytest.fixture
def keypair(home: Path) -> Callable[[], tuple[Path, str]]:
    """Makes a fresh ed25519 key: (private file, public line)."""

    def make() -> tuple[Path, str]:
        file = Path(tempfile.mkdtemp(dir=home)) / "key"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(file)], check=True)
        return file, file.with_suffix(".pub").read_text().strip()

    return make
