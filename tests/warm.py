"""Processes that begin where their imports are done, as a fork of one interpreter for each worker.

    warm.run([sys.executable, "-m", "devbox.cli.main", "ls"], cwd=folder, capture_output=True)
    warm.Popen([sys.executable, "-m", "tests.lifecycle.driver", "up", "-", "-"])

Each is a process of its own with its own pid, environment, folder and streams, that can be killed
and waited for as any other; only half a second of imports is saved. Not for tests of the start
itself: what is imported, options of Python, the command line that others see, a terminal.

What reads the environment while it is imported (modal, huggingface_hub) is not loaded beforehand.
"""

from __future__ import annotations

import functools
import io
import json
import os
import runpy
import select
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[1]
MOST = 1 << 20  # bytes of a request


class Popen(subprocess.Popen[Any]):
    """As subprocess.Popen, for [sys.executable, "-m", MODULE, …]."""

    _status: int

    def _execute_child(
        self,
        args: list[str | bytes],
        executable: Any,
        preexec_fn: Any,
        close_fds: bool,
        pass_fds: tuple[int, ...],
        cwd: Any,
        env: dict[str, str] | None,
        startupinfo: Any,
        creationflags: int,
        shell: bool,
        p2cread: int,
        p2cwrite: int,
        c2pread: int,
        c2pwrite: int,
        errread: int,
        errwrite: int,
        *rest: Any,
    ) -> None:
        assert args[:2] == [sys.executable, "-m"]
        assert not any((preexec_fn, pass_fds, shell, executable))
        self._status, told = os.pipe()
        ends = zip((p2cread, c2pwrite, errwrite), range(3), strict=True)
        streams = [end if end >= 0 else own for end, own in ends]
        request = {
            "words": [os.fsdecode(word) for word in args[2:]],
            "cwd": os.fspath(cwd or Path.cwd()),
            "env": dict(os.environ if env is None else env),
            "session": bool(rest[5]),
        }
        try:
            _ask(json.dumps(request).encode(), [*streams, told])
        finally:
            os.close(told)
            self._close_pipe_fds(p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite)  # type: ignore[attr-defined]
        self.pid = int(os.read(self._status, 20))
        self._child_created = True

    def _try_wait(self, wait_flags: int) -> tuple[int, int]:
        if not select.select([self._status], [], [], 0 if wait_flags else None)[0]:
            return 0, 0
        said = os.read(self._status, 20)
        os.close(self._status)
        return self.pid, int(said or b"9")  # the server was killed

    def _internal_poll(self, *_: Any, **__: Any) -> int | None:
        with self._waitpid_lock:  # type: ignore[attr-defined]
            if self.returncode is None:
                pid, status = self._try_wait(os.WNOHANG)
                if pid:
                    self._handle_exitstatus(status)  # type: ignore[attr-defined]
        code: int | None = self.returncode
        return code


def run(
    words: list[Any],
    *,
    input: Any = None,
    capture_output: bool = False,
    timeout: float | None = None,
    check: bool = False,
    **more: Any,
) -> subprocess.CompletedProcess[Any]:
    """As subprocess.run."""
    if capture_output:
        more |= {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    if input is not None:
        more["stdin"] = subprocess.PIPE
    with Popen(words, **more) as process:
        try:
            out, errors = process.communicate(input, timeout=timeout)
        except BaseException:
            process.kill()
            raise
    done = subprocess.CompletedProcess(words, process.returncode, out, errors)
    if check:
        done.check_returncode()
    return done


@functools.cache
def _server(worker: int) -> socket.socket:
    """Our end of the socket to the interpreter that forks; it ends when this process does."""
    del worker  # a fork of this process has a server of its own
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    clean = {key: value for key, value in os.environ.items() if not key.startswith("DEVBOX_")}
    with theirs:
        subprocess.Popen(
            [sys.executable, "-m", "tests.warm", str(theirs.fileno())],
            cwd=ROOT,
            env=clean | {"HOME": "/"},
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
        )
    return ours


def _ask(request: bytes, descriptors: list[int]) -> None:
    assert len(request) < MOST
    socket.send_fds(_server(os.getpid()), [request], descriptors)


class _Child(NamedTuple):
    pid: int
    told: int


def _serve(ask: socket.socket) -> dict[str, Any]:
    """Fork for every request; returns in the forks only, with the request."""
    children: dict[int, _Child] = {}
    while True:
        ready, _, _ = select.select([ask.fileno(), *children], [], [])
        for pidfd in set(ready) & set(children):
            child = children.pop(pidfd)
            _, status = os.waitpid(child.pid, 0)
            os.write(child.told, str(status).encode())
            os.close(child.told)
            os.close(pidfd)
        if ask.fileno() not in ready:
            continue
        data, descriptors, _, _ = socket.recv_fds(ask, MOST, 4)
        if not data:
            sys.exit()
        pid = os.fork()
        if not pid:
            ask.close()
            for pidfd, child in children.items():
                os.close(pidfd)
                os.close(child.told)
            request: dict[str, Any] = json.loads(data)
            _become(request, descriptors)
            return request
        os.write(descriptors[3], str(pid).encode())
        children[os.pidfd_open(pid)] = _Child(pid, descriptors[3])
        for descriptor in descriptors[:3]:
            os.close(descriptor)


def _become(request: dict[str, Any], descriptors: list[int]) -> None:
    """This fork has the streams, folder, environment and words that were asked for."""
    for number, descriptor in enumerate(descriptors[:3]):
        os.dup2(descriptor, number)
    for descriptor in descriptors:
        os.close(descriptor)
    if request["session"]:
        os.setsid()
    os.environ.clear()
    os.environ.update(request["env"])
    time.tzset()
    os.chdir(request["cwd"])
    named = [each for each in os.environ.get("PYTHONPATH", "").split(os.pathsep) if each]
    sys.path[:1] = [request["cwd"], *named]
    sys.argv = request["words"]
    sys.stdin = io.TextIOWrapper(io.BufferedReader(io.FileIO(0, closefd=False)), encoding="utf-8")
    sys.stdout, sys.stderr = (
        io.TextIOWrapper(
            io.BufferedWriter(io.FileIO(number, "w", closefd=False)),
            encoding="utf-8",
            errors="strict" if number == 1 else "backslashreplace",
            line_buffering=number == 2 or os.isatty(1),
        )
        for number in (1, 2)
    )
    sys.__stdin__, sys.__stdout__, sys.__stderr__ = sys.stdin, sys.stdout, sys.stderr  # type: ignore[misc]


def _load() -> None:
    """What the control half imports for its verbs, and what is under the clients of providers."""
    import aiohttp  # noqa: F401
    import docker  # noqa: F401
    import fabric  # noqa: F401
    import google.protobuf.message  # noqa: F401
    import grpclib.client  # noqa: F401
    import modal_proto.api_pb2  # noqa: F401

    import devbox.cli.main
    import devbox.doctor
    import devbox.jobs.submit
    import devbox.lifecycle
    import devbox.services
    import devbox.sync  # noqa: F401


if __name__ == "__main__":
    _load()
    asked = _serve(socket.socket(fileno=int(sys.argv[1])))
    sys.modules.pop(asked["words"][0], None)
    runpy.run_module(asked["words"][0], run_name="__main__", alter_sys=True)
