"""The socket to a box behind the user's ProxyCommand."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import psutil

from devbox.model import Endpoint
from devbox.remote.proxy import ProxySocket

_THREADS = 16
_SLOW_TO_END = 'trap "exec sleep 0.1" TERM; echo bye >&2; echo $$; while :; do sleep 0.01; done'


def _through(command: str) -> ProxySocket:
    return ProxySocket(Endpoint("far.example", 22, "me", via=command))


def test_its_end_is_what_the_command_said() -> None:
    sock = _through("sh -c 'echo no route to %h >&2'")
    assert sock.recv(1) == b"", "the command has ended"
    sock.close()
    assert sock.said == "no route to far.example"


def test_threads_that_close_it_at_once_all_find_it_ended() -> None:
    sock = _through(f"sh -c '{_SLOW_TO_END}'")
    pid = int(sock.recv(20))
    together = threading.Barrier(_THREADS)

    def close() -> tuple[bool, str]:
        together.wait()
        sock.close()
        return psutil.pid_exists(pid), sock.said

    with ThreadPoolExecutor(_THREADS) as pool:
        ends = [future.result() for future in [pool.submit(close) for _ in range(_THREADS)]]
    assert set(ends) == {(False, "bye")}
