"""Exec, files and faults over a real OpenSSH server."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from devbox.errors import HostKeyRefused, KeyRefused, NoAnswer, SshError, UsageError
from devbox.model import Box
from devbox.remote import agent_bootstrap, keys, wait
from devbox.remote.config import known_hosts, ssh_config
from devbox.remote.connection import Connection, connect
from devbox.remote.exec import Exec
from tests.remote.sshd import Sshd, box_at, free_port, make_box

HOSTILE = [
    "", " ", "a b", "it's", '"double"', "$HOME", "`id`", "$(id)", "a;b", "a&b", "a|b", "a\nb",
    "-oProxyCommand=touch /tmp/x", "../..", "*", "~", "é€😀", "\\", "'\\''", "!!", "\t",
    "x" * 10_000, "#c", "a=b", "{a,b}", "<", ">", "\r", "\x1b[31m", "%h", "%%",
]  # fmt: skip


@pytest.fixture
def connection(sshd: Sshd) -> Connection:
    box = sshd.box()
    ssh_config.publish([box])
    return connect(box)


def test_run_gives_code_and_both_streams(connection: Connection) -> None:
    with connection:
        done = connection.run(["sh", "-c", "echo out; echo err >&2; exit 3"], check=False)
    assert (done.code, done.out, done.err) == (3, "out\n", "err\n")


def test_a_failure_names_program_and_last_words(connection: Connection) -> None:
    with connection, pytest.raises(SshError, match=r"sh on one ended with code 4: no luck"):
        connection.run(["sh", "-c", "echo no luck >&2; exit 4"])


def test_arguments_arrive_unchanged(connection: Connection) -> None:
    with connection:
        done = connection.run(["printf", "%s\\0", *HOSTILE])
        assert done.out.split("\0")[:-1] == HOSTILE
        with pytest.raises(UsageError):
            connection.run(["echo", "a\0b"])


def test_megabytes_both_ways_at_once(connection: Connection) -> None:
    data = os.urandom(1) * 9_000_000
    with connection:
        done = connection.run(["sh", "-c", "tee /dev/stderr | wc -c"], input=data)
    assert done.out.strip() == str(len(data))
    assert len(done.err) >= len(data)


def test_a_program_that_ignores_its_input_ends(connection: Connection) -> None:
    with connection:
        assert connection.run(["true"], input=b"x" * 9_000_000).code == 0


def test_a_program_that_closes_its_output_is_waited_for(connection: Connection) -> None:
    with connection:
        done = connection.run(["sh", "-c", "exec >&- 2>&-; sleep 0.3; exit 7"], check=False)
    assert done.code == 7


def test_timeout(connection: Connection) -> None:
    with connection, pytest.raises(SshError, match="did not finish within 0 s"):
        connection.run(["sleep", "30"], timeout=0.2)


def test_killed_by_a_signal(connection: Connection) -> None:
    with connection, pytest.raises(SshError, match="was killed"):
        connection.run(["sh", "-c", "kill -9 $$"])


def test_what_a_box_sends_is_bounded(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("devbox.remote.connection.MAX_OUTPUT", 100_000)
    with connection:
        for stream in ("", " >&2"):
            with pytest.raises(SshError, match="printed over"):
                connection.run(["sh", "-c", f"yes{stream}"])
        assert connection.run(["echo", "well"]).out == "well\n"


def test_a_cut_connection_is_told(sshd: Sshd, connection: Connection, home: Path) -> None:
    begun = home / "begun"
    with connection:
        stopper = threading.Thread(target=_stop_when, args=(sshd, begun))
        stopper.start()
        with pytest.raises(NoAnswer, match="was cut while running sh"):
            connection.run(["sh", "-c", f"touch {begun}; sleep 60"])
        stopper.join()
        with pytest.raises(NoAnswer):
            connection.run(["true"])


def _stop_when(sshd: Sshd, begun: Path) -> None:
    while not begun.exists():
        time.sleep(0.01)
    sshd.stop()


def test_a_changed_host_key_is_refused(sshd: Sshd) -> None:
    box = sshd.box()
    ssh_config.publish([box])
    sshd.stop()
    sshd.new_host_key()
    sshd.start()
    with pytest.raises(HostKeyRefused, match="another host key"):
        connect(box)
    rebuilt = sshd.box()
    ssh_config.publish([rebuilt])
    with connect(rebuilt) as connection:
        assert connection.run(["true"]).code == 0


def test_an_unpinned_host_is_refused_and_first_use_is_explicit(sshd: Sshd) -> None:
    box = sshd.box(told=False)
    ssh_config.publish([box])
    with pytest.raises(HostKeyRefused, match="no host key"):
        connect(box)
    said: list[str] = []
    mark = known_hosts.pin_first_use(box, narrate=said.append)
    assert mark == known_hosts.fingerprint(sshd.host_key)
    assert len(said) == 1
    assert mark in said[0]
    with connect(box) as connection:
        assert connection.run(["true"]).code == 0
    sshd.stop()
    sshd.new_host_key()
    sshd.start()
    assert known_hosts.pin_first_use(box, narrate=said.append) == mark
    with pytest.raises(HostKeyRefused):
        connect(box)


def test_a_refused_key_is_told(sshd: Sshd, keypair: Callable[[], tuple[Path, str]]) -> None:
    sshd.authorise(keypair()[1])
    box = sshd.box()
    ssh_config.publish([box])
    with pytest.raises(KeyRefused, match="does not accept the key") as caught:
        connect(box)
    assert "ssh-ed25519 " in caught.value.fix


def test_the_persons_key_serves_where_the_provider_knows_it(
    sshd: Sshd, keypair: Callable[[], tuple[Path, str]], home: Path
) -> None:
    private, public = keypair()
    (home / ".ssh").mkdir(mode=0o700)
    private.rename(home / ".ssh" / "id_ed25519")
    sshd.authorise(public)
    box = sshd.box(gateway=True)
    ssh_config.publish([box])
    with connect(box) as connection:
        assert connection.run(["true"]).code == 0
    ssh_config.publish([sshd.box()])
    with pytest.raises(KeyRefused):
        connect(sshd.box())


def test_nobody_there(home: Path) -> None:
    del home
    box = box_at(free_port(), keys.new_host_key()[1])
    ssh_config.publish([box])
    with pytest.raises(NoAnswer, match="does not answer"):
        connect(box)
    with pytest.raises(NoAnswer, match="no ssh address"):
        connect(make_box())


def test_something_else_there(home: Path) -> None:
    del home
    with socket.create_server(("127.0.0.1", 0)) as listener:
        box = box_at(listener.getsockname()[1], keys.new_host_key()[1])
        ssh_config.publish([box])

        def hang_up() -> None:
            listener.accept()[0].close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        with pytest.raises(NoAnswer, match="does not answer as an ssh server"):
            connect(box)
        thread.join()


WAYS = pytest.mark.parametrize("log_in", [wait.by_client, wait.by_library])
Way = Callable[[Box, float], Exec | Connection]


@WAYS
def test_waiting_survives_a_late_start_and_a_late_key(sshd: Sshd, log_in: Way) -> None:
    sshd.stop()
    box = sshd.box()
    ssh_config.publish([box])
    ticks: list[float] = []

    def sleep(seconds: float) -> None:
        ticks.append(seconds)
        if len(ticks) == 3:
            sshd.start()

    line = wait.for_login(box, log_in=log_in, timeout=60, clock=lambda: sum(ticks), sleep=sleep)
    assert line.run(["true"]).code == 0
    if isinstance(line, Connection):
        line.close()
    assert ticks == sorted(ticks)


def test_waiting_survives_a_box_that_is_slow_at_first(
    sshd: Sshd, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It lets us in, and does not finish what it was asked within the time of an attempt."""
    box = sshd.box()
    ssh_config.publish([box])
    quick = agent_bootstrap.probe()
    asked = iter([["sleep", "60"], quick])
    monkeypatch.setattr(agent_bootstrap, "probe", lambda: next(asked))
    monkeypatch.setattr(wait, "_PATIENCE", 1.0)
    line = wait.for_login(
        box, log_in=wait.by_client, timeout=60, clock=lambda: 0.0, sleep=lambda _: None
    )
    assert line.is_new
    assert list(asked) == []


def test_an_early_attempt_is_given_up_sooner_than_a_late_one(sshd: Sshd) -> None:
    """A tunnel may take a connection before the box listens, and never say a word."""
    box = sshd.box()
    ssh_config.publish([box])
    tried: list[float] = []
    now = [0.0]

    def silent(_: Box, timeout: float) -> Connection:
        tried.append(timeout)
        now[0] += timeout
        raise NoAnswer("silence")

    with pytest.raises(NoAnswer):
        wait.for_login(box, log_in=silent, timeout=60, clock=lambda: now[0], sleep=lambda _: None)
    assert tried[0] == 4.0
    assert tried[1:4] == sorted(tried[1:4])
    assert max(tried) == 15.0
    assert sum(tried) == pytest.approx(60, abs=1)


@WAYS
def test_waiting_gives_up_with_the_reason(
    sshd: Sshd, keypair: Callable[[], tuple[Path, str]], log_in: Way
) -> None:
    box = sshd.box()
    ssh_config.publish([box])
    sshd.authorise(keypair()[1])
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += 10 * seconds

    told: list[float] = []
    with pytest.raises(KeyRefused, match="does not accept"):
        wait.for_login(
            box,
            log_in=log_in,
            timeout=600,
            clock=lambda: now[0],
            sleep=sleep,
            refused=lambda: told.append(now[0]),
        )
    assert now[0] >= 30
    assert len(told) == 1
    assert told[0] < 10
    sshd.stop()
    with pytest.raises(NoAnswer, match=r"no login on one after \d+ s"):
        wait.for_login(box, log_in=log_in, timeout=100, clock=lambda: now[0], sleep=sleep)


def test_waiting_trusts_a_first_answer_only_when_told(sshd: Sshd) -> None:
    box = sshd.box(told=False)
    ssh_config.publish([box])
    with pytest.raises(HostKeyRefused):
        wait.for_login(
            box, log_in=wait.by_library, timeout=5, clock=time.monotonic, sleep=time.sleep
        )
    said: list[str] = []
    found = wait.for_login(
        box,
        log_in=wait.by_library,
        timeout=5,
        clock=time.monotonic,
        sleep=time.sleep,
        first_use=said.append,
    )
    with found as connection:
        assert connection.run(["true"]).code == 0
    assert "SHA256:" in said[0]
