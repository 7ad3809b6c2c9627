"""A model in a process of its own, so that nothing it does reaches the service: not its prints, its
globals, its threads, and not its death.

    model = Model("devbox.box.services.pose.worker", {"device": "cuda"}, service=service)
    answer = await model.call(request)     # in an app; one at a time, in the order they came
    answer = model.ask(request)            # in a job or a test

The module has `load(config)`, which returns the function that answers one request. Requests,
answers and the config are plain values (text, bytes, numbers, lists, dicts); with the same
interpreter on both sides anything that can be pickled. The process talks over a socket of its own:
whatever is printed, by Python or below it, goes to the run's log.

Loading begins at once, in the background. `state` is "loading", "ready" or "failed", and `info` is
the `info` attribute of the function that `load` returned, such as {"device": "cpu"}.

    raises                    when                                     as an answer
    ModelError                the function raised; the model is fine   500
    ModelDied                 the process ended during the request     500, and it is loaded again
    NotReady                  it is still loading                      503 with Retry-After

A model that cannot be loaded ends the service (`Service.fail`); so does one that dies three times
in a row before it is ready.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import pickle
import queue
import signal
import socket
import subprocess
import sys
import threading
import traceback
from concurrent.futures import Future
from multiprocessing.connection import Connection
from typing import Any, Callable, Dict, Generic, List, Mapping, Optional, Tuple, TypeVar

from devbox.box import processes
from devbox.box.runs.process_group import python_command
from devbox.box.service import Service
from devbox.box.services.problem import Problem

LOADING, READY, FAILED = "loading", "ready", "failed"
_DEATHS = 3  # in a row, without having been ready, before it is given up
_LAST = 5.0  # seconds for a process whose socket is closed to be gone
_PROTOCOL = 4  # of pickle: every Python from 3.9 on reads it
A = TypeVar("A")  # an answer


class ModelError(Problem):
    """The model's function raised."""

    def __init__(self, text: str) -> None:
        super().__init__(500, text)


class ModelDied(ModelError):
    """Its process ended, or was killed as it took too long."""


class NotReady(Problem):
    """It is not loaded yet, or cannot be."""

    def __init__(self, text: str) -> None:
        super().__init__(503, text, {"Retry-After": "5"})


class Model(Generic[A]):
    """module: has `load(config)`. python: another interpreter, such as that of an environment of
    its own (devbox.box.environment.provide). timeout: seconds one request may take; the process is
    killed then. service: told when the model has to be given up."""

    def __init__(
        self,
        module: str,
        config: Optional[Mapping[str, object]] = None,
        *,
        python: str = "",
        timeout: Optional[float] = None,
        service: Optional[Service] = None,
    ) -> None:
        self.state, self.error = LOADING, ""
        self.info: Dict[str, Any] = {}
        self._module, self._config = module, dict(config or {})
        self._python, self._timeout, self._service = python, timeout, service
        self._waiting: queue.Queue[Optional[Tuple[Future[A], bytes]]] = queue.Queue()
        self._settled = threading.Event()
        self._process: Optional[subprocess.Popen[bytes]] = None
        # The process dies with the thread that started it: one thread for all its life.
        self._thread = threading.Thread(target=self._run, name=f"model {module}", daemon=True)
        self._thread.start()

    @property
    def is_ready(self) -> bool:
        return self.state == READY

    @property
    def pid(self) -> Optional[int]:
        """Of its process; None where there is none."""
        return self._process.pid if self._process else None

    async def call(self, request: object) -> A:
        """The answer, without blocking the event loop. One at a time, in the order of the calls;
        one whose client has gone (cancelled) before its turn is left out."""
        self._require_ready()
        return await asyncio.wrap_future(self._submit(request))

    def ask(self, request: object) -> A:
        """The answer; waits for the model to be loaded."""
        self._settled.wait()
        self._require_ready()
        return self._submit(request).result()

    def wait(self, timeout: Optional[float] = None) -> bool:
        """Until it is ready or failed; whether it is ready."""
        self._settled.wait(timeout)
        return self.is_ready

    def close(self) -> None:
        """End its process, after what was asked before."""
        self._waiting.put(None)
        self._thread.join()

    def _require_ready(self) -> None:
        if self.state == FAILED:
            raise NotReady(f"the model cannot be loaded: {self.error}")
        if self.state != READY:
            raise NotReady("the model is being loaded")

    def _submit(self, request: object) -> Future[A]:
        asked: Future[A] = Future()
        self._waiting.put((asked, pickle.dumps(request, _PROTOCOL)))
        return asked

    def _run(self) -> None:
        """Process after process; each is given requests until it ends."""
        deaths = 0
        while deaths < _DEATHS:
            link = self._begin()
            failed = self._load(link)
            if failed is None:
                deaths = 0
                self.state = READY
                self._settled.set()
                if self._serve(link):
                    self._ended(link)
                    return
                self.state = LOADING
                self._settled.clear()
            else:
                deaths = _DEATHS if failed else deaths + 1
            self._ended(link)
        self._give_up()

    def _begin(self) -> Connection:
        ours, theirs = socket.socketpair()
        command = python_command(
            "services.model", str(theirs.fileno()), self._module, python=self._python
        )
        with theirs:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()]
            )
        return Connection(ours.detach())

    def _load(self, link: Connection) -> Optional[bool]:
        """None when it is ready; else whether it said why it never will be."""
        path = [] if self._python else list(sys.path)  # another interpreter has its own packages
        try:
            link.send_bytes(pickle.dumps((path, self._config), _PROTOCOL))
            good, said = pickle.loads(link.recv_bytes())  # noqa: S301 - our own process
        except (OSError, EOFError):
            self.error = self._how_it_ended()
            return False
        if not good:
            self.error = str(said)
            return True
        self.info = said
        return None

    def _serve(self, link: Connection) -> bool:
        """Give it requests. True when no more are wanted, False when it has died."""
        while True:
            item = self._waiting.get()
            if item is None:
                return True
            asked, data = item
            if not asked.set_running_or_notify_cancel():
                continue
            try:
                link.send_bytes(data)
                if not link.poll(self._timeout):
                    self._kill()
                    asked.set_exception(ModelDied(f"the model took over {self._timeout:g} s"))
                    return False
                good, answer = pickle.loads(link.recv_bytes())  # noqa: S301 - our own process
            except (OSError, EOFError):
                asked.set_exception(ModelDied(f"the model's process {self._how_it_ended()}"))
                return False
            if good:
                asked.set_result(answer)
            else:
                asked.set_exception(ModelError(answer))

    def _give_up(self) -> None:
        self.state = FAILED
        self._settled.set()
        if self._service:
            self._service.fail(f"the model cannot be loaded: {self.error}")
        while True:
            item = self._waiting.get()
            if item is None:
                return
            item[0].set_exception(NotReady(f"the model cannot be loaded: {self.error}"))

    def _ended(self, link: Connection) -> None:
        link.close()
        self._kill()
        self._process = None

    def _kill(self) -> None:
        if self._process:
            self._process.kill()
            self._process.wait()

    def _how_it_ended(self) -> str:
        assert self._process is not None
        try:
            code = self._process.wait(_LAST)
        except subprocess.TimeoutExpired:  # it only closed its socket
            self._process.kill()
            code = self._process.wait()
        if code >= 0:
            return f"ended with code {code}"
        hint = " (perhaps out of memory)" if -code == signal.SIGKILL else ""
        return f"was killed by {signal.Signals(-code).name}{hint}"


def main(argv: List[str]) -> int:
    """The process itself. argv: the descriptor of its socket, the module."""
    processes.die_with_parent()
    for number in (signal.SIGTERM, signal.SIGINT):  # the service ends us, after its last answer
        signal.signal(number, signal.SIG_IGN)
    os.dup2(2, 1)
    link = Connection(int(argv[0]))
    os.set_inheritable(link.fileno(), False)
    try:
        path, config = pickle.loads(link.recv_bytes())  # noqa: S301 - our own parent
        sys.path += [each for each in path if each not in sys.path]
        answer = importlib.import_module(argv[1]).load(config)
        first: Tuple[bool, object] = (True, dict(getattr(answer, "info", None) or {}))
    except EOFError:
        return 0
    except Exception as error:
        traceback.print_exc()
        first = (False, f"{type(error).__name__}: {error}")
    link.send_bytes(pickle.dumps(first, _PROTOCOL))
    while first[0]:
        try:
            request = link.recv_bytes()
        except EOFError:
            break
        link.send_bytes(_answered(answer, request))
    return 0


def _answered(answer: Callable[[object], object], request: bytes) -> bytes:
    try:
        return pickle.dumps((True, answer(pickle.loads(request))), _PROTOCOL)  # noqa: S301
    except Exception as error:
        traceback.print_exc()
        return pickle.dumps((False, f"{type(error).__name__}: {error}"), _PROTOCOL)
