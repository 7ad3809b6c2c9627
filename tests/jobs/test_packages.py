"""Packages a job needs are found, or installed once beside the box's Python. No network."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from devbox.box import packages, paths
from tests.jobs.conftest import BoxHalf

ROOT = Path(__file__).parents[2]


def wheel(folder: Path, name: str, *, needs: str = "") -> str:
    """A requirement that names a wheel file holding one module. needs: what it declares to."""
    path = folder / f"{name}-1.0-py3-none-any.whl"
    info = f"{name}-1.0.dist-info"
    more = f"Requires-Dist: {needs}\n" if needs else ""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{name}.py", "VALUE = 42\n")
        meta = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n{more}"
        archive.writestr(f"{info}/METADATA", meta)
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")
    return f"{name} @ {path.as_uri()}"


def test_what_is_there_in_a_good_version_is_used() -> None:
    said: list[str] = []
    assert packages.provide(["pytest>=3", "Click"], said.append) is None
    assert said == []


def test_a_missing_package_is_installed_once(tmp_path: Path) -> None:
    said: list[str] = []
    requirement = wheel(tmp_path, "devbox_probe_one")
    folder = packages.provide([requirement], said.append)
    assert folder is not None
    assert (folder / "devbox_probe_one.py").is_file()
    assert packages.provide([requirement], said.append) == folder
    assert said == [f"installing {requirement}"]
    assert list(folder.parent.glob("*.part-*")) == []


def test_a_package_that_cannot_be_installed_leaves_nothing(tmp_path: Path) -> None:
    missing = f"devbox_probe_two @ {(tmp_path / 'devbox_probe_two-1-py3-none-any.whl').as_uri()}"
    with pytest.raises(packages.PackagesMissing, match="pip could not install devbox_probe_two"):
        packages.provide([missing], print)
    assert list((paths.root() / "packages").iterdir()) == []


@pytest.mark.parametrize("with_uv", [True, False])
def test_a_python_without_pip_gets_packages_all_the_same(tmp_path: Path, with_uv: bool) -> None:
    """As in the environment of `uv tool`."""
    subprocess.run(
        [sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "tool")], check=True
    )
    code = (
        "import sys\n"
        "from devbox.box import packages\n"
        "folder = packages.provide([sys.argv[1]], print)\n"
        "sys.path.insert(0, str(folder))\n"
        "import devbox_probe_four\n"
        "print(devbox_probe_four.VALUE)\n"
    )
    tools = tmp_path / "bin"
    tools.mkdir()
    if with_uv:
        uv = shutil.which("uv", path=str(Path(sys.executable).parent))
        assert uv
        (tools / "uv").symlink_to(uv)
    done = subprocess.run(
        [str(tmp_path / "tool/bin/python"), "-c", code, wheel(tmp_path, "devbox_probe_four")],
        env={**os.environ, "PATH": str(tools), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.split("\n")[-2:] == ["42", ""], done.stderr


def test_a_job_and_a_command_find_their_packages(one_box: BoxHalf, tmp_path: Path) -> None:
    requirement = wheel(tmp_path, "devbox_probe_three")
    module = one_box.module(
        "def run(job):\n"
        "    import devbox_probe_three\n"
        "    job.write('x', str(devbox_probe_three.VALUE))\n"
    )
    one_box.start("module", module=module, packages=[requirement])
    assert one_box.end("module")["message"] == ""
    assert one_box.out("x", "module").read_text() == "42"
    code = "import devbox_probe_three; print(devbox_probe_three.VALUE)"
    one_box.start("command", command=[one_box.python, "-c", code], packages=[requirement])
    assert one_box.end("command")["state"] == "succeeded"
    assert one_box.log("command") == "42\n"
