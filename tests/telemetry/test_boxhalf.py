"""The box half as a zipapp: the same bytes for the same code, one round trip when it is there."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from devbox import box
from devbox.errors import SshError, ToolMissing
from devbox.model import Box
from devbox.process import Completed
from devbox.remote import agent_bootstrap
from devbox.remote.connection import Connection, connect
from tests.remote.sshd import make_box, wait_until
from tests.telemetry.conftest import box_root


@pytest.fixture
def connection(local_box: Box) -> Iterator[Connection]:
    with connect(local_box) as found:
        yield found


def test_the_same_code_gives_the_same_file(home: Path) -> None:
    first = agent_bootstrap.build()
    data = first.read_bytes()
    assert agent_bootstrap.build() == first
    shutil.rmtree(home / ".devbox" / "cache")
    again = agent_bootstrap.build()
    assert again.name == first.name
    assert again.read_bytes() == data


def test_it_holds_the_box_half_and_nothing_of_ours(
    zipped: Callable[[dict[str, bytes]], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agent_bootstrap, "_zipped", zipped)
    with zipfile.ZipFile(agent_bootstrap.build()) as archive:
        names = archive.namelist()
    assert {"__main__.py", "devbox/__init__.py", "devbox/box/probes/sampler.py"} < set(names)
    assert "devbox/wire/codec.py" in names
    assert "devbox/box/jobs/track/job.toml" in names
    assert not [
        n for n in names if not n.startswith(("devbox/box/", "devbox/wire/")) and n.count("/") > 1
    ]
    assert not [n for n in names if "__pycache__" in n or n.endswith(".pyc")]


def test_another_code_gives_another_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    first = agent_bootstrap.build().name
    package = tmp_path / "devbox"
    for room in ("box", "wire"):
        shutil.copytree(Path(box.__file__).parents[1] / room, package / room)
    shutil.copy(Path(box.__file__).parents[1] / "__init__.py", package)
    monkeypatch.setattr(box, "__file__", str(package / "box" / "__init__.py"))
    assert agent_bootstrap.build().name == first  # another place, the same content
    for file in ("box/paths.py", "wire/codec.py"):
        (package / file).write_text("CHANGED = 1\n")
        changed = agent_bootstrap.build()
        assert changed.name != first
        assert [path.name for path in changed.parent.glob("devbox-box-*.pyz")] == [changed.name]
        first = changed.name


def test_an_unchanged_build_reads_no_source(monkeypatch: pytest.MonkeyPatch) -> None:
    first = agent_bootstrap.build()

    def fail(*_: Any) -> bytes:
        raise AssertionError("built again")

    monkeypatch.setattr(agent_bootstrap, "_zipped", fail)
    began = time.perf_counter()
    assert agent_bootstrap.build() == first
    assert time.perf_counter() - began < 0.1


def test_installing_puts_it_in_use(connection: Connection, local_box: Box) -> None:
    remote = agent_bootstrap.install(connection)
    assert remote == f".devbox-box/{agent_bootstrap.build().name}"
    done = connection.run(agent_bootstrap.command("nonsense"), check=False)
    assert done.code == 2
    assert "verbs:" in done.err
    root = box_root(local_box)
    assert os.readlink(root / "devbox-box.pyz") == agent_bootstrap.build().name
    assert root.stat().st_mode & 0o777 == 0o700
    assert (root / "devbox-box.pyz").stat().st_mode & 0o777 == 0o600


def test_a_second_install_is_one_round_trip(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent_bootstrap.install(connection)
    calls: list[Sequence[str]] = []
    run = Connection.run

    def counted(self: Connection, argv: Sequence[str], **more: Any) -> Completed:
        calls.append(argv)
        return run(self, argv, **more)

    monkeypatch.setattr(Connection, "run", counted)
    agent_bootstrap.install(connection)
    assert len(calls) == 1


def test_a_verb_is_run_with_its_input_whether_the_box_half_was_there_or_not(
    connection: Connection, local_box: Box
) -> None:
    root = box_root(local_box)
    request = b'{"v": 2, "sent by": "us"}'
    for turn in ("put there first", "there already"):
        done = agent_bootstrap.run(connection, "job", "start", input=request)
        assert done.code == 1, turn
        assert "not an object of version 1" in done.out, turn
        assert (
            root / agent_bootstrap.build().name
        ).read_bytes() == agent_bootstrap.build().read_bytes()
    assert not list(root.glob(".*"))


def test_the_files_a_verb_makes_are_not_private_because_ours_are(connection: Connection) -> None:
    script = agent_bootstrap._SCRIPT.replace(f"exec python3 {agent_bootstrap.LINK}", "umask #")
    name = agent_bootstrap.build().name
    agent_bootstrap.install(connection)
    usual = connection.run(["sh", "-c", "umask"]).out
    assert connection.run(["sh", "-c", script, "sh", name, "0", "verb"]).out == usual != "0077\n"


def test_a_push_that_is_cut_short_leaves_nothing(tmp_path: Path) -> None:
    argv = ["sh", "-c", agent_bootstrap._SCRIPT, "sh", "devbox-box-0.pyz", "100", "doctor"]
    done = subprocess.run(argv, cwd=tmp_path, input=b"half", check=False, capture_output=True)
    assert done.returncode == 95
    assert b"cut short" in done.stderr
    assert list((tmp_path / agent_bootstrap.FOLDER).iterdir()) == []


def test_a_failure_is_told_in_words_or_by_its_code() -> None:
    assert agent_bootstrap.said(Completed(1, "", " no \x1b[31mroom\n")) == "no room"
    assert agent_bootstrap.said(Completed(1, "on stdout", "")) == "on stdout"
    assert agent_bootstrap.said(Completed(7, "", "")) == "it ended with code 7 and said nothing"
    assert "was killed on the box" in agent_bootstrap.said(Completed(-1, "", ""))


def test_old_versions_go_but_for_the_newest_and_those_in_use(
    connection: Connection, local_box: Box
) -> None:
    root = box_root(local_box)
    root.mkdir(mode=0o700, exist_ok=True)
    for number in range(6):
        path = root / f"devbox-box-{number:012x}.pyz"
        path.write_text("import time\ntime.sleep(60)\n")
        path.with_suffix(".d").mkdir()
        os.utime(path, (1_000_000 + number, 1_000_000 + number))
    user = subprocess.Popen([sys.executable, str(root / "devbox-box-000000000001.pyz")])
    try:
        wait_until(lambda: "devbox-box" in cmdline(user.pid), "it runs")
        agent_bootstrap.install(connection)
    finally:
        user.kill()
        user.wait()
    trees = sorted(path.stem for path in root.glob("devbox-box-*.d"))
    assert trees == [f"devbox-box-{number:012x}" for number in (1, 4, 5)]
    left = sorted(path.name for path in root.glob("devbox-box-*.pyz"))
    assert left == sorted(
        [agent_bootstrap.build().name] + [f"devbox-box-{number:012x}.pyz" for number in (1, 4, 5)]
    )


def cmdline(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text()


def test_a_running_verb_survives_an_upgrade_of_the_link(
    connection: Connection, local_box: Box
) -> None:
    """It continues importing from its own version, not from the one the link now names."""
    agent_bootstrap.install(connection)
    root = box_root(local_box)
    code = (
        "import sys; sys.path.insert(0, '.devbox-box/devbox-box.pyz')\n"
        "sys.argv = ['devbox-box.pyz', 'x']\n"
        "__file__ = '.devbox-box/devbox-box.pyz/__main__.py'\n"
        f"try: exec({agent_bootstrap._MAIN!r})\n"
        "except SystemExit: pass\n"
        "import devbox.box; print(devbox.box.__file__, sys.argv[0])\n"
    )
    done = connection.run(["python3", "-c", code], check=False)
    own = root / agent_bootstrap.build().name
    assert done.out.split() == [f"{own.with_suffix('.d')}/devbox/box/__init__.py", str(own)]


class Bare:
    """A connection to a box without python3."""

    box, is_new = make_box("bare"), False

    def __init__(self, code: int) -> None:
        self.code = code

    def run(self, argv: Sequence[str], **_: Any) -> Completed:
        return Completed(self.code, "", "no\x1b[31m room")


def test_its_first_start_unpacks_it_and_keeps_the_compiled_modules(tmp_path: Path) -> None:
    program = Path(shutil.copy(agent_bootstrap.build(), tmp_path))
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, program, "verdict"], capture_output=True, check=False
        )
        assert b"no watchdog runs" in done.stderr
        assert sorted(path.name for path in tmp_path.iterdir()) == [
            program.with_suffix(".d").name, program.name,
        ]  # fmt: skip
    compiled = program.with_suffix(".d") / "devbox" / "box" / "__pycache__"
    assert any(path.name.startswith("paths.") for path in compiled.iterdir())


def test_it_runs_where_it_cannot_be_unpacked(tmp_path: Path) -> None:
    program = Path(shutil.copy(agent_bootstrap.build(), tmp_path))
    program.with_suffix(".d").write_text("in the way")
    done = subprocess.run([sys.executable, program, "verdict"], capture_output=True, check=False)
    assert b"no watchdog runs" in done.stderr
    assert len(list(tmp_path.iterdir())) == 2


def test_a_box_without_python_or_room_says_what_it_means() -> None:
    with pytest.raises(ToolMissing, match=r"no python3 of version 3\.9"):
        agent_bootstrap.install(Bare(94))
    with pytest.raises(SshError, match="no room") as caught:
        agent_bootstrap.install(Bare(95))
    assert "not be switched off" in caught.value.means


def test_the_script_asks_for_the_push_or_names_the_missing_python(tmp_path: Path) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("mkdir", "readlink", "ln", "mv"):
        (tools / name).symlink_to(str(shutil.which(name)))

    def code(size: int) -> int:
        argv = ["/bin/sh", "-c", agent_bootstrap._SCRIPT, "sh", "x.pyz", str(size)]
        env = {"PATH": str(tools)}
        return subprocess.run(argv, cwd=tmp_path, env=env, input=b"abc", check=False).returncode

    assert code(0) == 93
    codes = []
    for python in (None, "exit 94", "exit 1"):
        if python:
            (tools / "python3").write_text(f"#!/bin/sh\n{python}\n")
            (tools / "python3").chmod(0o755)
        codes.append(code(3))
    assert codes == [94, 94, 95]


def test_a_python_that_is_too_old_is_told_apart() -> None:
    code = f"import sys; sys.version_info = (3, 8, 1)\n{agent_bootstrap._RECEIVE}"
    assert subprocess.run([sys.executable, "-c", code, "x", "0"], check=False).returncode == 94


def test_a_box_that_is_known_to_lack_it_gets_it_in_one_trip(connection: Connection) -> None:
    asked = []
    run = connection.run

    def counted(argv: Sequence[str], **more: Any) -> Completed:
        asked.append(argv)
        return run(argv, **more)

    connection.run = counted  # type: ignore[method-assign]
    assert run(agent_bootstrap.probe(), check=False).code == 1
    connection.is_new = True
    agent_bootstrap.install(connection)
    assert len(asked) == 1
    assert run(agent_bootstrap.probe(), check=False).code == 0
    agent_bootstrap.install(connection)
    assert len(asked) == 2
