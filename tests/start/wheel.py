"""devbox as a newcomer has it: the built wheel in an environment of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from filelock import FileLock

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `devbox` of an installed wheel, built once for all workers. What it depends on comes from
    this environment; devbox itself only from the wheel."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "wheel"
    folder.mkdir(exist_ok=True)
    with FileLock(folder / "lock"):
        if not (folder / "done").exists():
            _install(folder)
            (folder / "done").touch()
    return folder / "tool" / "bin" / "devbox"


def _install(folder: Path) -> None:
    python = [sys.executable, "-m"]
    build = [*python, "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "--no-index"]
    _do([*build, "-w", str(folder), str(ROOT)])
    (wheel,) = folder.glob("*.whl")
    tool = folder / "tool"
    _do([*python, "uv", "venv", "-q", "--offline", "--python", sys.executable, str(tool)])
    inside = str(tool / "bin" / "python")
    _do([*python, "uv", "pip", "install", "-q", "--offline", "--no-deps", "--python", inside,
         str(wheel)])  # fmt: skip
    (packages,) = tool.glob("lib/python*/site-packages")
    # A path and no more: the editable install of this environment does not come along.
    (packages / "beside.pth").write_text(sysconfig.get_path("purelib") + "\n")
    where = "import devbox; print(devbox.__file__)"
    assert _do([inside, "-c", where]).startswith(str(tool)), "the wheel, and not the source"


def _do(words: list[str]) -> str:
    return subprocess.run(words, check=True, capture_output=True, text=True, cwd="/").stdout
