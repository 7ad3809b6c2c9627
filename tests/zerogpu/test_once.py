"""once: one load in a process, whatever asks for it. gpu away from ZeroGPU."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any, cast

import pytest

from devbox.zerogpu import gpu, once


def in_fork(work: Any) -> str:
    """What `work` returns in a fork, as text; its exit code where it does not answer."""
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            os.write(writing, str(work()).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as stream:
        said = stream.read()
    os.waitpid(pid, 0)
    return said


def test_threads_that_ask_together_share_one_load() -> None:
    loads: list[int] = []
    started = threading.Barrier(8)

    @once
    def model() -> object:
        loads.append(1)
        return object()

    def ask() -> object:
        started.wait()
        return model()

    with ThreadPoolExecutor(8) as pool:
        found = {id(each.result()) for each in [pool.submit(ask) for _ in range(8)]}
    assert len(found) == len(loads) == 1
    assert model.__name__ == "model"


def test_a_load_that_failed_is_tried_again() -> None:
    tries: list[int] = []

    @once
    def model() -> int:
        tries.append(1)
        if len(tries) < 2:
            raise OSError("no disk")
        return 7

    with pytest.raises(OSError, match="no disk"):
        model()
    assert (model(), model(), len(tries)) == (7, 7, 2)


def test_a_fork_loads_for_itself_unless_told_to_inherit() -> None:
    own, inherited = once(os.getpid), once(os.getpid, inherit=True)
    assert own() == inherited() == os.getpid()
    assert in_fork(lambda: own() == os.getpid()) == "True"
    assert in_fork(lambda: inherited() == os.getppid()) == "True"
    late = once(os.getpid, inherit=True)  # not loaded before the fork: nothing to inherit
    assert in_fork(lambda: late() == os.getpid()) == "True"


def test_a_fork_in_the_middle_of_a_load_is_not_blocked_by_it() -> None:
    parent, loading, finish = os.getpid(), threading.Event(), threading.Event()

    def load() -> int:
        if os.getpid() == parent:
            loading.set()
            finish.wait(30)
        return os.getpid()

    model = once(load)
    thread = threading.Thread(target=model)
    thread.start()
    loading.wait(30)
    try:
        assert in_fork(lambda: model() == os.getpid()) == "True"
    finally:
        finish.set()
        thread.join()
    assert model() == parent


def test_off_a_space_the_function_itself_is_returned_and_mistakes_are_still_found() -> None:
    def work() -> int:
        return 1

    async def later() -> int:
        return 1

    assert (
        gpu(work) is gpu()(work) is gpu(60)(work) is gpu(duration=timedelta(hours=2))(work) is work
    )
    assert gpu(later) is later
    for wrong in (86_400, timedelta(days=1), 0, -1, "60"):
        with pytest.raises(ValueError, match="below one day"):
            gpu(duration=wrong)
    with pytest.raises(ValueError, match="'large' or 'xlarge'"):
        gpu(size="huge")
    with pytest.raises(TypeError, match="enable_queu"):
        cast(Any, gpu)(enable_queu=True)


def test_on_a_space_what_spaces_cannot_run_is_refused_before_it_is_loaded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SPACES_ZERO_GPU", "T")

    async def later() -> int:
        return 1

    with pytest.raises(TypeError, match="write it with def"):
        gpu(later)
    with pytest.raises(TypeError, match="above @gpu"):
        gpu(staticmethod(os.getpid))
