"""Programs on a terminal, seen from a user's own terminal."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

from tests.providers.local.conftest import Client, Terminal

Open = Callable[..., Terminal]


def test_a_login_shell_with_the_windows_size_and_the_boxs_path(
    terminal: Open, client: Client
) -> None:
    person = terminal(rows=33, columns=101)
    person.expect("devbox box b")
    person.type("stty size; tty; echo path=$PATH\n")
    person.expect("33 101")
    person.expect("/dev/")
    person.expect(f"path={client.out('echo $PATH').strip()}")
    person.type("exit 5\n")
    assert person.child.wait(60) == 5


def test_a_window_that_changes_its_size(terminal: Open) -> None:
    person = terminal("trap 'stty size' WINCH; echo ready; while :; do sleep 0.05; done")
    person.expect("ready")
    person.resize(50, 132)
    person.expect("50 132")


def test_the_terminals_type_and_modes_are_the_clients(terminal: Open) -> None:
    person = terminal("echo $TERM; stty -a; test -t 0 && test -t 1 && echo both")
    person.expect("erase = ^?")
    person.expect("both")


def test_ctrl_c_and_job_control(terminal: Open, box_home: Path, until: Callable[..., None]) -> None:
    person = terminal()
    person.type("PS1='ready> '\n")
    person.expect("ready> ")
    person.expect("ready> ")
    person.type("sleep 300\n")
    until(lambda: "sleep 300" in running(box_home))
    person.type("\x1a")
    person.expect("Stopped")
    person.expect("ready> ")
    person.type("fg\n")
    person.expect("fg\r\n")
    person.expect("sleep 300\r\n")
    until(lambda: "sleep 300" in running(box_home))  # bash names it before it continues
    person.type("\x03")
    person.expect("ready> ")
    person.type("echo code=$?\n")
    person.expect("code=130")
    person.type("exit 0\n")
    assert person.child.wait(60) == 0


def test_all_output_of_a_short_program_arrives(terminal: Open) -> None:
    person = terminal("seq 1 20000; exit 3")
    person.expect("\r\n20000\r\n")
    assert person.child.wait(60) == 3


def test_a_program_that_stays_on_the_terminal_does_not_hold_the_session(client: Client) -> None:
    script = "(trap '' HUP; sleep 300) & echo out; exit 4"
    done = subprocess.run(
        ["ssh", *client.options, *client.alone, "-tt", client.box.alias, script],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 4
    assert b"out" in done.stdout


def test_the_end_of_input_ends_a_shell(client: Client) -> None:
    done = client.run("-tt", "cat; exit 6", data=b"hello\n")
    assert done.returncode == 6
    assert b"hello" in done.stdout


def test_a_client_that_dies_hangs_up_its_programs_but_not_detached_ones(
    terminal: Open, box_home: Path, until: Callable[..., None]
) -> None:
    person = terminal()
    person.type("setsid sleep 301 & sleep 302 & sleep 303\n")
    until(lambda: {"sleep 301", "sleep 302", "sleep 303"} <= running(box_home))
    person.child.kill()
    until(lambda: running(box_home) & {"sleep 302", "sleep 303"} == set())
    assert "sleep 301" in running(box_home)


def test_a_command_without_terminal_is_hung_up_too(
    client: Client, box_home: Path, until: Callable[..., None]
) -> None:
    child = client.start("setsid sleep 301 & sleep 302 & sleep 303; echo never")
    until(lambda: {"sleep 301", "sleep 302", "sleep 303"} <= running(box_home))
    child.kill()
    until(lambda: running(box_home) & {"sleep 302", "sleep 303"} == set())
    assert "sleep 301" in running(box_home)


def test_what_a_finished_command_left_in_its_group_is_hung_up_when_the_client_dies(
    client: Client, box_home: Path, until: Callable[..., None]
) -> None:
    child = client.start("sleep 302 & setsid sleep 301 & exit 0")
    until(lambda: {"sleep 301", "sleep 302"} <= running(box_home))
    child.kill()
    until(lambda: "sleep 302" not in running(box_home))
    assert "sleep 301" in running(box_home)


def running(box_home: Path) -> set[str]:
    """Command lines of the box's processes that are not stopped."""
    import psutil

    from devbox.providers.local.box_dir import BoxDir
    from devbox.providers.local.processes import of_box

    found = set()
    for process in of_box(BoxDir(box_home.parent)):
        try:
            if process.status() != psutil.STATUS_STOPPED:
                found.add(" ".join(process.cmdline()))
        except psutil.Error:
            continue  # why: it ended meanwhile
    return found
