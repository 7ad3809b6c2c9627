"""Processes that begin where their imports are done, as a fork of one interpreter for each worker.

    warm.run([sys.executable, "-m", "devbox.cli.main", "ls"], cwd=folder, capture_output=True)
    warm.Popen([sys.executable, "-m", "tests.lifecycle.driver", "up", "-", "-"])

Each is a process of its own with its own pid, environment, folder and streams, that can be killed
and waited for as any other, and others see its arguments and environment as after an exec; only
half a second of imports is saved. Not for tests of the start itself: what is imported, options of
Python, a terminal.

What reads the environment while it is imported (modal, huggingface_hub) is not loaded beforehand.

`boxes()` has the servers of local boxes begin the same way, in this process and in those above.
"""

from __future__ import annotations

import ctypes
import functools
import io
import json
import os
import runpy
import select
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

from devbox.providers.local import launch

ROOT = Path(__file__).parents[1]
MOST = 1 << 20  # bytes of a request
BOX_PROGRAM = "TESTED_BOX_PROGRAM"
"""Environment variable: the module that local boxes run in place of their own server."""
_SERVER = "devbox.providers.local.server"
_ROOM = 1 << 15  # bytes for the environment of a fork, as others see it
_LINE = 512  # bytes for its arguments
_NUMBER = 20  # bytes of a pid or status that is told
_starting = threading.Lock()
_inherited: list[socket.socket] = []


def boxes() -> None:
    """Servers of local boxes, started by this process, are forks too."""
    used = {"Popen": Popen, "PIPE": subprocess.PIPE, "TimeoutExpired": subprocess.TimeoutExpired}
    launch.subprocess = SimpleNamespace(**used)  # type: ignore[assignment, attr-defined]


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
        words = [os.fsdecode(word) for word in args]
        is_box = _module(words)[0] == _SERVER
        if is_box:
            words[words.index(_SERVER)] = os.environ.get(BOX_PROGRAM, _SERVER)
        assert words[: -len(_module(words))] in ([sys.executable, *x, "-m"] for x in ([], ["-P"]))
        assert not any((preexec_fn, pass_fds, shell, executable))
        self._status, told = os.pipe()
        ends = zip((p2cread, c2pwrite, errwrite), range(3), strict=True)
        streams = [end if end >= 0 else own for end, own in ends]
        request = {
            "line": words,
            "cwd": os.fspath(cwd or Path.cwd()),
            "env": (os.environ if env is None else env) | (_measured() if is_box else {}),
            "session": bool(rest[5]),
        }
        try:
            ask = _server()
            # A box may outlive who asked for it; any other program asks for boxes itself.
            more = [] if is_box else [ask.fileno()]
            data = json.dumps(request).encode()
            assert len(data) < MOST
            socket.send_fds(ask, [data], [*streams, told, *more])
        finally:
            os.close(told)
            self._close_pipe_fds(p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite)  # type: ignore[attr-defined]
        self.pid = int(os.read(self._status, _NUMBER))
        self._child_created = True

    def _try_wait(self, wait_flags: int) -> tuple[int, int]:
        if not select.select([self._status], [], [], 0 if wait_flags else None)[0]:
            return 0, 0
        said = os.read(self._status, _NUMBER)
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


def _server() -> socket.socket:
    """Our end of the socket to the interpreter that forks; it ends when this process does."""
    if _inherited:
        return _inherited[0]
    with _starting:
        return _started(os.getpid())


@functools.cache
def _started(worker: int) -> socket.socket:
    del worker  # a fork of this process has a server of its own
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    clean = {key: value for key, value in os.environ.items() if not key.startswith("DEVBOX_")}
    with theirs:
        subprocess.Popen(
            [sys.executable, "-m", "tests.warm", str(theirs.fileno()), " " * _LINE],
            cwd=ROOT,
            env=clean | {"HOME": "/", "ROOM": " " * _ROOM},
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
        ).wait()
    return ours


class _Child(NamedTuple):
    pid: int
    told: int


def _serve(ask: socket.socket) -> None:
    """Fork for every request; returns in the forks only, which are what was asked for."""
    children: dict[int, _Child] = {}
    while True:
        ready, _, _ = select.select([ask.fileno(), *children], [], [])
        for pidfd in set(ready) & set(children):
            child = children.pop(pidfd)
            _, status = os.waitpid(child.pid, 0)
            _tell(child.told, status)
            os.close(child.told)
            os.close(pidfd)
        if ask.fileno() not in ready:
            continue
        data, descriptors, _, _ = socket.recv_fds(ask, MOST, 5)
        if not data:
            sys.exit()
        pid = os.fork()
        if not pid:
            ask.close()
            for pidfd, child in children.items():
                os.close(pidfd)
                os.close(child.told)
            _become(json.loads(data), descriptors)
            return
        _tell(descriptors[3], pid)
        children[os.pidfd_open(pid)] = _Child(pid, descriptors[3])
        for descriptor in (*descriptors[:3], *descriptors[4:]):
            os.close(descriptor)


def _tell(asker: int, number: int) -> None:
    # As long as what is read: a program that ends at once has told two before the first is read.
    with suppress(BrokenPipeError):  # who asked was killed
        os.write(asker, str(number).ljust(_NUMBER).encode())


def _become(request: dict[str, Any], descriptors: list[int]) -> None:
    """This fork has the streams, folder, environment and words that were asked for."""
    for number, descriptor in enumerate(descriptors[:3]):
        os.dup2(descriptor, number)
    for descriptor in descriptors[:4]:
        os.close(descriptor)
    for descriptor in descriptors[4:]:
        os.set_inheritable(descriptor, False)
        _inherited.append(socket.socket(fileno=descriptor))
        boxes()
    if request["session"]:
        os.setsid()
    os.environ.clear()
    os.environ.update(request["env"])
    _show(request)
    time.tzset()
    os.chdir(request["cwd"])
    named = [each for each in os.environ.get("PYTHONPATH", "").split(os.pathsep) if each]
    sys.path[:1] = [*([] if "-P" in request["line"] else [request["cwd"]]), *named]
    sys.argv = _module(request["line"])
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


def _measured() -> dict[str, str]:
    """What `make coverage` tells each Python that it measures; a box has few of our variables."""
    return {key: value for key, value in os.environ.items() if key.startswith("COVERAGE_")}


def _module(line: list[str]) -> list[str]:
    """A module and its arguments."""
    return line[line.index("-m") + 1 :]


def _show(request: dict[str, Any]) -> None:
    """Others read arguments and environment of a process where its exec has put them (proc(5)).
    Of long arguments they see the first."""
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    line, line_end, room, room_end = (int(field) for field in fields[45:49])
    pairs = [f"{key}={value}" for key, value in request["env"].items()]
    for start, end, texts in ((line, line_end, request["line"]), (room, room_end, pairs)):
        said = b"".join(os.fsencode(text) + b"\0" for text in texts)
        assert start == line or len(said) < end - start, f"more than {_ROOM} bytes: {pairs}"
        ctypes.memset(start, 0, end - start)
        ctypes.memmove(start, said, min(len(said), end - start - 1))


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
    import devbox.providers.local.sshd
    import devbox.services
    import devbox.sync  # noqa: F401


if __name__ == "__main__":
    if os.fork():  # no child of who asks: a dashboard ends all of its process
        os._exit(0)
    _load()
    _serve(socket.socket(fileno=int(sys.argv[1])))
    sys.modules.pop(sys.argv[0], None)
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
