"""Jobs with a Python environment of their own: another interpreter, made once. No network."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from devbox.box import environment, paths
from devbox.errors import SpecError
from devbox.spec import decode_job
from devbox.wire.jobs import Environment
from tests.jobs.conftest import BoxHalf, oldest_python, until
from tests.jobs.test_packages import wheel

PROBE = (
    "import sys\n"
    "def run(job):\n"
    "    import devbox_probe_env\n"
    "    job.write('x', f'{devbox_probe_env.VALUE} {sys.version_info[1]} {sys.prefix}')\n"
    "    try:\n"
    "        import pytest\n"
    "    except ImportError:\n"
    "        job.write('alone', 'yes')\n"
)


@pytest.fixture
def old(monkeypatch: pytest.MonkeyPatch, home: Path) -> str:
    """PATH begins with the machine's oldest Python; its version, as "3.9". A version manager's
    name for nothing is there too, and python3.13 is a program that makes no venv."""
    python = Path(oldest_python())
    folder = home / "pythons"
    folder.mkdir()
    os.symlink(python, folder / python.name)
    for name, text in (("python3.12", "exit 127"), ("python3.13", "echo 3 13 0 and more")):
        (folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    return python.name.removeprefix("python")


def made() -> list[str]:
    return sorted(each.name for each in (paths.root() / "environments").iterdir())


def test_a_job_runs_in_the_interpreter_its_environment_names(
    one_box: BoxHalf, home: Path, old: str
) -> None:
    """A module and a command; the second run finds what the first has made. PYTHONPATH of the box
    does not reach in."""
    wanted = {"packages": [wheel(home, "devbox_probe_env")], "python": f"=={old}"}
    env = {"PYTHONPATH": str(Path(pytest.__file__).parents[1])}
    one_box.start("module", module=one_box.module(PROBE), environment=wanted, env=env)
    assert one_box.end("module")["message"] == ""
    value, minor, prefix = one_box.out("x", "module").read_text().split()
    assert (value, f"3.{minor}") == ("42", old)
    assert prefix.startswith(str(one_box.root / "environments"))
    assert one_box.out("alone", "module").read_text() == "yes"
    assert f"making an environment with Python {old}." in one_box.log("module")
    assert "devbox_probe_env" in one_box.log("module")  # what pip printed
    code = "import devbox_probe_env, sys; print(sys.prefix)"
    one_box.start("command", command=["python", "-c", code], environment=wanted)
    assert one_box.end("command")["state"] == "succeeded"
    assert one_box.log("command") == f"{prefix}\n"


def test_packages_go_in_with_what_they_need_and_no_deps_are_taken_as_they_are(
    home: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The first declares something that cannot be had; it is not asked for."""
    lonely = wheel(home, "devbox_probe_lonely", needs="devbox_no_such_package")
    helper = wheel(home, "devbox_probe_helper")
    rich = wheel(home, "devbox_probe_rich", needs=helper)
    said: list[str] = []
    wanted = Environment((lonely,), no_deps=True)
    python = environment.provide(wanted, said.append, more=[rich])
    site = Path(python).parents[1] / "lib"
    found = {path.name for path in site.glob("*/site-packages/devbox_probe*.py")}
    assert found == {f"devbox_probe_{name}.py" for name in ("lonely", "helper", "rich")}
    assert environment.provide(wanted, said.append, more=[rich]) == python
    assert len(said) == 1
    assert "Successfully installed" in capfd.readouterr().out


def test_nothing_is_left_of_an_environment_that_cannot_be_made(home: Path) -> None:
    missing = f"nope @ {(home / 'nope-1-py3-none-any.whl').as_uri()}"
    with pytest.raises(environment.EnvironmentMissing, match="pip could not install nope"):
        environment.provide(Environment((missing,)), print)
    assert [name for name in made() if not name.endswith(".lock")] == []


def test_a_box_without_a_python_that_fits_says_which_it_needs(one_box: BoxHalf, old: str) -> None:
    one_box.start(module=one_box.module(PROBE), environment={"python": f"<{old}"})
    status = one_box.end()
    assert (status["state"], status["reason"]) == ("failed", "unprepared")
    said = status["message"]
    assert f"an environment needs Python <{old}, and this box has 3." in said
    assert f" {old}." in said
    assert "python3.13)" not in said  # makes no venv
    assert "python3.12)" not in said  # does not start
    assert "choose an image that has one" in said


def test_two_runs_make_it_once_and_a_cancelled_one_leaves_none_for_whole(
    one_box: BoxHalf, home: Path
) -> None:
    """The first is killed while it holds the lock; the second waits, then makes it."""
    gate = home / "gate"
    os.mkfifo(gate)
    slow = home / "slow"
    slow.mkdir()
    (slow / "setup.py").write_text(f"open({str(gate)!r}).read()\n")
    environment_ = {"packages": [str(slow)], "no_deps": True}
    module = one_box.module("def run(job): pass\n")
    one_box.start("a", module=module, environment=environment_)
    until(lambda: "Processing" in one_box.log("a"))
    one_box.start("b", module=module, environment=environment_)
    until(lambda: "waiting for another run" in one_box.log("b"))
    assert one_box.job("cancel", "a")["state"] == "cancelled"
    until(lambda: "making an environment" in one_box.log("b"))
    assert one_box.job("cancel", "b")["state"] == "cancelled"
    (folder,) = [name for name in made() if not name.endswith(".lock")]
    assert not (paths.root() / "environments" / folder / "complete").exists()


@pytest.mark.parametrize(
    ("versions", "have", "fit"),
    [
        ("", (3, 14, 0), True),
        (">=3.9,<3.13", (3, 12, 9), True),
        (" >= 3.9 , < 3.13 ", (3, 13, 0), False),
        ("==3.11", (3, 11, 7), True),
        (">3.11", (3, 11, 7), False),
        ("<=3.11", (3, 11, 7), True),
        ("!=3.11.7", (3, 11, 7), False),
    ],
)
def test_ranges_of_versions(versions: str, have: tuple[int, int, int], fit: bool) -> None:
    assert environment.fits(versions, have) is fit


@pytest.mark.parametrize("versions", ["3.9", "~=3.9", ">=2.7", ">=3.9,", "<3.13;", "latest"])
def test_what_is_no_range_is_refused_where_it_is_written(versions: str) -> None:
    document = {"module": "m", "environment": {"packages": ["a"], "python": versions}}
    with pytest.raises(SpecError, match="is no range of Python versions"):
        decode_job(json.loads(json.dumps(document)), Path("job.toml"))
