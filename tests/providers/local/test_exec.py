"""Commands over ssh: what goes in comes out whole, and how it ended is told."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.boxes import MakeBox
from tests.providers.local.conftest import Client


def test_input_output_errors_and_the_exit_code(client: Client) -> None:
    done = client.run("tr a-z A-Z; echo oops >&2; exit 7", data=b"hello\n")
    assert (done.returncode, done.stdout, done.stderr) == (7, b"HELLO\n", b"oops\n")


def test_a_session_starts_in_its_home_with_a_sane_environment(
    client: Client, box_home: Path
) -> None:
    env = dict(
        line.split("=", 1) for line in client.out("pwd >&2; env").splitlines() if "=" in line
    )
    assert env["HOME"] == env["PWD"] == str(box_home)
    assert env["DEVBOX_BOX_ROOT"] == str(box_home / ".devbox-box")
    assert env["SHELL"] in ("/bin/bash", "/bin/sh")
    assert "PYTHONPATH" not in env
    assert (box_home / "work").is_dir()


def test_python3_on_the_box_is_ours(client: Client) -> None:
    assert client.out("python3 -c 'import asyncssh; print(asyncssh.__name__)'") == "asyncssh\n"
    assert client.out(data=b"python3 -c 'import asyncssh' && echo yes\n").endswith("yes\n")


def test_nothing_of_the_person_leaks_in(
    monkeypatch: pytest.MonkeyPatch, make_local_box: MakeBox
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setenv("AWS_PROFILE", "mine")
    assert "hf_secret" not in Client(make_local_box()).out("env; cat ../*.json")


def test_the_specs_environment_is_there_and_ours_wins(make_local_box: MakeBox) -> None:
    box = make_local_box(env={"GREETING": "a 'b' \"c\"\n$d", "HOME": "/", "LANG": "C"})
    client = Client(box)
    assert client.out('printf %s "$GREETING"') == "a 'b' \"c\"\n$d"
    assert client.out("echo $HOME $LANG") == f"{client.folder.home} C\n"


def test_a_client_may_set_its_language_and_nothing_else(client: Client) -> None:
    options = ("-o", "SetEnv=LC_TIME=C.UTF-8 LD_PRELOAD=/x PATH=/y")
    assert client.out(*options, 'echo "$LC_TIME/$LD_PRELOAD/$(command -v ls >&2 && echo ok)"') == (
        "C.UTF-8//ok\n"
    )


@pytest.mark.parametrize("user", ["root", "any-body", "1.2_x"])
def test_any_user_name_is_let_in(client: Client, user: str) -> None:
    assert client.out("-l", user, "echo $USER") == f"{user}\n"


def test_another_key_is_refused(client: Client, keypair: Callable[[], tuple[Path, str]]) -> None:
    endpoint = client.box.endpoint
    assert endpoint is not None
    options = ["-F", "none", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no"]
    known = client.folder.path / "known"
    argv = ["ssh", *options, "-o", f"UserKnownHostsFile={known}", "-i", str(keypair()[0])]
    done = subprocess.run(
        [*argv, "-p", str(endpoint.port), "u@127.0.0.1", "true"], capture_output=True, check=False
    )
    assert done.returncode == 255
    assert b"Permission denied (publickey)" in done.stderr


def test_a_command_killed_by_a_signal_is_told_so(client: Client) -> None:
    done = client.run("-v", "kill -TERM $$")
    assert done.returncode == 255
    assert b"rtype exit-signal" in done.stderr


def test_input_may_end_before_output(client: Client) -> None:
    assert client.out("cat >/dev/null; sleep 0.1; echo after", data=b"x" * 300_000) == "after\n"


def test_a_program_that_reads_nothing_does_not_hold_us_up(client: Client) -> None:
    assert client.out("exec 0<&-; echo done", data=b"x" * 5_000_000) == "done\n"


@pytest.mark.parametrize("where", ["", ">&2"])
def test_a_hundred_megabytes_arrive_whole(client: Client, where: str) -> None:
    done = client.run(f"head -c 100000000 /dev/urandom | tee >(sha256sum >sum) {where}; sleep 0.2")
    data = done.stderr if where else done.stdout
    assert len(data) == 100_000_000
    assert hashlib.sha256(data).hexdigest() == client.out("cut -c-64 sum").strip()


def test_a_hundred_megabytes_go_up_whole(client: Client) -> None:
    data = os.urandom(1_000_000) * 100
    assert client.out("sha256sum", data=data).split()[0] == hashlib.sha256(data).hexdigest()


def test_a_slow_reader_holds_the_program_back(client: Client, until: Callable[..., None]) -> None:
    child = client.start("yes | tee sent")
    sent = client.folder.home / "sent"
    assert child.stdout is not None
    child.stdout.read(1)
    sizes = [0, 1]

    def settled() -> bool:
        sizes.append(sent.stat().st_size)
        return len(sizes) > 60 and sizes[-1] == sizes[-50]

    until(settled)
    # One window and the buffers on the way, not whatever `yes` can print.
    assert sizes[-1] < 32_000_000


def test_many_sessions_at_once(client: Client) -> None:
    with ThreadPoolExecutor(12) as pool:
        outs = list(pool.map(lambda n: client.out(f"sleep 0.1; echo {n}; exit 0"), range(24)))
    assert outs == [f"{n}\n" for n in range(24)]


def test_one_connection_carries_many_commands(client: Client, home: Path) -> None:
    control = ("-o", "ControlMaster=auto", "-o", f"ControlPath={home}/c", "-o", "ControlPersist=30")
    peers = {client.out(*control, "echo $SSH_CONNECTION") for _ in range(5)}
    assert len(peers) == 1
    subprocess.run([*client.argv(*control, "-O", "exit", "")[:-1]], check=True, capture_output=True)


def test_a_background_program_lets_the_command_end(client: Client) -> None:
    assert client.out("setsid sleep 300 >/dev/null 2>&1 </dev/null & echo started") == "started\n"


def test_the_agent_is_not_forwarded(client: Client) -> None:
    assert client.out("-A", "echo [$SSH_AUTH_SOCK]") == "[]\n"


def test_a_nul_in_a_command_is_refused_alone(client: Client) -> None:
    import asyncio

    import asyncssh

    from devbox import paths

    async def ask() -> int | None:
        endpoint = client.box.endpoint
        assert endpoint is not None
        async with asyncssh.connect(
            endpoint.host,
            endpoint.port,
            username="u",
            client_keys=[str(paths.identity())],
            known_hosts=None,
            config=None,
        ) as connection:
            return (await connection.run("echo \0")).exit_status

    assert asyncio.run(ask()) == 254
    assert client.out("echo fine") == "fine\n"


def test_what_people_move_is_counted_and_our_streams_are_not(
    client: Client, until: Callable[..., None]
) -> None:
    counts = client.folder.box_root / "ssh.json"

    def read() -> dict[str, int]:
        return dict(json.loads(counts.read_text())) if counts.exists() else {}

    client.run("cat >/dev/null; head -c 300000 /dev/zero", data=b"x" * 200_000)
    until(lambda: read().get("sessions") == 0 and read().get("tx_bytes", 0) >= 300_000)
    before = read()
    assert before["rx_bytes"] >= 200_000
    big = "head -c 900000 /dev/zero"
    client.run(f"{big} # python3 .devbox-box/devbox-box.pyz stream --follow")
    client.run(f"{big} # python3 .devbox-box/devbox-box.pyz job follow r1")
    client.run("echo mark")
    until(lambda: read() != before)
    assert read()["tx_bytes"] - before["tx_bytes"] < 1000
