"""A Space's process: the real `spaces` package with ZeroGPU on. `main` runs every case and prints
what was seen as one JSON object; test_space.py judges it.

Arguments: a folder for files that workers write.
"""

from __future__ import annotations

import inspect
import json
import multiprocessing
import os
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import torch

from devbox.zerogpu import gpu, once
from tests.zerogpu import cuda
from tests.zerogpu.cuda import CudaTensor
from tests.zerogpu.shapes import SHAPES

FOLDER = Path(sys.argv[1]) if len(sys.argv) > 1 else Path()
seen: dict[str, Any] = {}


def outcome(call: Callable[[], Any]) -> str:
    """ "ok", or the class and message of what it raised."""
    try:
        call()
    except Exception as error:
        return f"{type(error).__name__}: {getattr(error, 'message', error)}"
    return "ok"


class _Lazy:
    """A stream that begins when it is first looked at."""

    def __init__(self, stream: Callable[[str], Iterator[Any]], name: str) -> None:
        self._make = partial(stream, name)

    def __iter__(self) -> Iterator[Any]:
        return self._make()


def _keep(into: list[Any], work: Callable[[str], Any], name: str) -> None:
    into.append(work(name))


def children() -> int:
    return len(multiprocessing.active_children())


def leases(api: str) -> int:
    """How many leases were ever asked for."""
    with urllib.request.urlopen(f"{api}/-/leases") as reply:
        return int(reply.read())


def end_all() -> None:
    for child in multiprocessing.active_children():
        child.kill()
        child.join()


def shapes_without_help() -> None:
    import spaces

    seen["raw"] = {}
    for name, make in SHAPES.items():
        raw = spaces.GPU(lambda make=make: make())
        seen["raw"][name] = outcome(raw)
    seen["raw children"] = children()
    end_all()


def shapes() -> None:
    @gpu
    def whole(name: str) -> Any:
        """Make it."""
        return SHAPES[name](), os.getpid()

    @gpu
    def stream(name: str) -> Iterator[Any]:
        for _ in range(3):
            yield SHAPES[name](), os.getpid()

    seen["whole"], seen["stream"], pids = {}, {}, set()
    for name in SHAPES:
        for _ in range(2):
            got: list[Any] = []
            first = outcome(partial(_keep, got, whole, name))
            seen["whole"].setdefault(name, []).append(first)
            second = outcome(partial(got.extend, _Lazy(stream, name)))
            seen["stream"].setdefault(name, []).append(second)
            pids |= {pid for _, pid in got}
            assert len(got) == 4, (name, len(got))
    seen["workers of 92 calls"] = len(pids)
    seen["signature"] = [whole.__name__, whole.__doc__, str(inspect.signature(whole))]
    seen["is stream"] = [inspect.isgeneratorfunction(one) for one in (whole, stream)]
    before = len(os.listdir("/proc/self/fd"))
    held = [whole("cpu") for _ in range(40)]
    seen["descriptors of 40 tensors"] = len(os.listdir("/proc/self/fd")) - before if held else None
    cut: Any = stream("list")
    next(cut)
    cut.close()
    seen["after an early close"] = [len(list(stream("list"))), len(pids | {whole("list")[1]})]
    seen["children"] = children()


def failures() -> None:
    import gradio as gr

    @gpu
    def work(what: str) -> Any:
        if what == "value":
            raise ValueError("no face in it")
        if what == "exit":
            raise SystemExit(3)
        if what == "interrupt":
            raise KeyboardInterrupt
        if what == "gradio":
            raise gr.Error("Please send a picture", title="Nothing to see")
        if what == "result":
            return {"frames": [threading.Lock()]}
        if what == "module":
            return torch.nn.ParameterList([torch.nn.Parameter(cuda.cuda([1.0]))])
        if what == "die":
            os._exit(1)
        if what == "cuda":
            raise RuntimeError("CUDA error: an illegal memory access was encountered")
        return os.getpid()

    @gpu
    def stream(what: str) -> Iterator[Any]:
        yield 1
        yield work(what)

    kept = {work("pid")}
    for what in ("value", "exit", "interrupt", "gradio", "result", "module"):
        seen[f"error {what}"] = outcome(partial(work, what))
        kept.add(work("pid"))
        got: list[Any] = []
        seen[f"stream error {what}"] = outcome(partial(got.extend, _Lazy(stream, what)))
        seen[f"streamed before {what}"] = got
    seen["workers after six errors"] = len(kept)
    for what in ("die", "cuda"):
        seen[f"error {what}"] = outcome(partial(work, what))
        seen[f"new worker after {what}"] = work("pid") not in kept
        kept.add(work("pid"))
    seen["children after errors"] = children()


def arguments(api: str) -> None:
    calls: list[Any] = []

    def note(value: Any, **_: Any) -> int:
        calls.append(value)
        return 7

    @gpu(duration=note)
    def work(value: Any, **named: Any) -> Any:
        if isinstance(value, torch.Tensor):
            value.add_(1)
        return value

    before = leases(api)
    fake = torch.ones(2).to("cuda")
    layer = torch.nn.Linear(1, 1).to("cuda")
    seen["fake"] = outcome(lambda: work({"image": fake}))
    with ThreadPoolExecutor(1) as pool:
        seen["fake in a thread"] = pool.submit(outcome, lambda: work(1, image=[fake])).result()
        seen["module in a thread"] = pool.submit(outcome, lambda: work(layer)).result()
    seen["lock"] = outcome(lambda: work(threading.Lock()))
    seen["leases of refused calls"] = leases(api) - before
    mine = torch.zeros(2)
    seen["changed there"] = [work(mine).tolist(), mine.tolist()]
    seen["duration saw"] = [type(each).__name__ for each in calls]

    bad = gpu(duration=lambda: 90_000)(lambda: 1)
    before = leases(api)
    seen["a day"] = outcome(bad)
    seen["leases of a day"] = leases(api) - before


def caches() -> None:
    @once
    def lazy() -> Any:
        (FOLDER / f"lazy-{os.getpid()}").open("a").write("x")
        return object()

    early = once(os.getpid, inherit=True)
    early()

    @gpu(load=[lazy])
    def ask() -> Any:
        return os.getpid(), early(), id(lazy())

    answers = [ask() for _ in range(3)]
    seen["loads"] = [file.read_text() for file in FOLDER.glob("lazy-*")]
    seen["same model"] = len({one for _, _, one in answers}) == 1
    seen["inherited"] = [value == os.getpid() for _, value, _ in answers]

    class Holder:
        def __init__(self) -> None:
            self.calls = 0

        def bump(self) -> int:
            self.calls += 1
            return self.calls

    holder = Holder()
    bump = gpu(holder.bump)
    seen["a method of an object in the worker"] = [bump(), bump(), holder.calls]

    @gpu
    def outer() -> Any:
        return type(inner()).__name__

    @gpu
    def inner() -> Any:
        return cuda.cuda([1.0])

    seen["called inside a GPU function"] = [outer(), type(inner()).__name__, CudaTensor.__name__]


def workers(api: str) -> None:
    @gpu
    def together(name: str) -> int:
        (FOLDER / f"here-{name}").touch()
        while len(list(FOLDER.glob("here-*"))) < 4:
            os.sched_yield()
        return os.getpid()

    before = children()
    with ThreadPoolExecutor(4) as pool:
        seen["four at once"] = len(set(pool.map(together, "abcd")))
    seen["workers left of four"] = children() - before

    pid = together("a")
    urllib.request.urlopen(urllib.request.Request(f"{api}/-/cold", method="POST")).close()
    seen["cold is another"] = together("a") != pid
    seen["workers left of two"] = children() - before


def main() -> None:
    api = os.environ["SPACES_ZERO_DEVICE_API_URL"]
    cuda.install()
    import spaces  # noqa: F401

    cuda.use_no_device()
    output = os.dup(1)
    os.dup2(2, 1)
    shapes_without_help()
    before = leases(api)
    shapes()
    failures()
    arguments(api)
    caches()
    workers(api)
    seen["first lease with help"] = before
    end_all()
    os.write(output, json.dumps(seen).encode())
