"""spaces.GPU, and what the function returns arrives: see `gpu`."""

from __future__ import annotations

import functools
import inspect
import math
import os
import sys
import traceback
from contextlib import closing
from datetime import timedelta
from typing import (
    Any,
    Callable,
    Dict,
    Generator,
    Iterator,
    NamedTuple,
    Optional,
    Sequence,
    Tuple,
    Type,
    TypeVar,
    Union,
    overload,
)

from .move import to_cpu
from .pack import pack, unpack
from .workers import Workers

F = TypeVar("F", bound=Callable[..., object])
_Load = Tuple[Callable[[], object], ...]
_Arguments = Tuple[Tuple[object, ...], Dict[str, object]]
_DAY = 86_400  # seconds; spaces sends 0 for a timedelta of one day
_worker = 0  # process id of the worker that this is, 0 outside


class WorkerError(RuntimeError):
    """What failed inside a GPU function, where gradio is not loaded (else a gradio.Error)."""


@overload
def gpu(
    function: F,
    *,
    duration: object = ...,
    size: Optional[str] = ...,
    load: Sequence[Callable[[], object]] = ...,
    numpy: bool = ...,
) -> F: ...


@overload
def gpu(
    function: Union[float, timedelta, None] = ...,
    *,
    duration: object = ...,
    size: Optional[str] = ...,
    load: Sequence[Callable[[], object]] = ...,
    numpy: bool = ...,
) -> Callable[[F], F]: ...


def gpu(
    function: object = None,
    *,
    duration: object = None,
    size: Optional[str] = None,
    load: Sequence[Callable[[], object]] = (),
    numpy: bool = False,
) -> object:
    """Run a function, or a generator function, on the Space's GPU.

    On ZeroGPU (SPACES_ZERO_GPU) this is spaces.GPU, and:
    - results, and what a generator yields, are moved to the CPU (`to_cpu`) and proved to travel in
      the process that has the GPU; NotPortable's text names the part that cannot;
    - whatever the function raises, SystemExit too, is a gradio.Error of class and message here
      (WorkerError without gradio); the worker process and what it has loaded stay in use;
    - arguments that cannot travel are refused (NotPortable) before a GPU is asked for;
    - worker processes that spaces forgets while they live are ended.
    Elsewhere the function itself is returned, and nothing is imported.

    duration: seconds or a timedelta, below one day; or a callable that gets the call's arguments.
    size:     "large" or "xlarge".
    load:     `once` functions to call before the function, in the process with the GPU.
    numpy:    NumPy arrays instead of tensors in results.
    ValueError, TypeError: a wrong duration or size, an unknown keyword, a coroutine function.

        @gpu
        @gpu(duration=60)
    """
    if function is not None and not callable(function):
        function, duration = None, function  # gpu(60), as spaces.GPU takes it
    duration = duration if callable(duration) else _seconds(duration)
    if size not in (None, "large", "xlarge"):
        raise ValueError(f"size is 'large' or 'xlarge', not {size!r}")
    if function is None:
        return functools.partial(gpu, duration=duration, size=size, load=load, numpy=numpy)
    if not is_on():
        return function
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError("spaces cannot run a coroutine function on the GPU: write it with def")
    if isinstance(function, (staticmethod, classmethod)):
        raise TypeError("write @staticmethod or @classmethod above @gpu")
    return _decorated(function, duration, size, tuple(load), numpy)


def is_on() -> bool:
    """Whether this is a ZeroGPU Space, as `spaces` tells it."""
    return os.environ.get("SPACES_ZERO_GPU", "").lower() in ("1", "t", "true")


def _seconds(duration: object) -> Optional[int]:
    if duration is None:
        return None
    seconds = duration.total_seconds() if isinstance(duration, timedelta) else duration
    if not isinstance(seconds, (int, float)) or not 0 < seconds < _DAY:
        raise ValueError(f"duration is above 0 and below one day, in seconds, not {duration!r}")
    return math.ceil(seconds)


def _decorated(
    function: Callable[..., Any], duration: object, size: Optional[str], load: _Load, numpy: bool
) -> Callable[..., object]:
    import spaces

    name = getattr(function, "__name__", type(function).__name__)
    called = type(function).__dict__.get("__call__")
    streams = inspect.isgeneratorfunction(function) or inspect.isgeneratorfunction(called)
    task = (_stream_task if streams else _task)(function, name, load, numpy)
    if callable(duration):
        asked = duration
        duration = lambda call: _seconds(asked(*call.args, **call.kwargs))  # noqa: E731
    on_gpu = spaces.GPU(task, duration=duration, size=size)
    workers = Workers()

    def once_called(*args: object, **kwargs: object) -> object:
        if _worker == os.getpid():
            return function(*args, **kwargs)
        call = _Call(name, args, kwargs)
        with workers.call() as seen:
            answer = on_gpu(call)
            seen(answer.pid, answer.device, answer.broken)
        return _opened(answer, name)

    def streamed(*args: object, **kwargs: object) -> Iterator[object]:
        if _worker == os.getpid():
            yield from function(*args, **kwargs)
            return
        call = _Call(name, args, kwargs)
        with workers.call() as seen, closing(on_gpu(call)) as answers:
            for answer in answers:
                seen(answer.pid, answer.device, answer.broken)
                yield _opened(answer, name)

    outer = streamed if streams else once_called
    decorated = functools.update_wrapper(outer, function)
    decorated.zerogpu = None  # type: ignore[attr-defined]  # as spaces marks what it decorates
    return decorated


class _Call:
    """Arguments on their way: bytes for the worker, themselves for a callable duration."""

    def __init__(self, name: str, args: Tuple[object, ...], kwargs: Dict[str, object]) -> None:
        self.args, self.kwargs = args, kwargs
        parts: Dict[object, object] = dict(enumerate(args))
        parts.update(kwargs)
        self._payload = pack(parts, f"arguments of {name}: ")

    def __reduce__(self) -> Tuple[Callable[[bytes], bytes], Tuple[bytes]]:
        return bytes, (self._payload,)


class _Answer(NamedTuple):
    """device: which GPU, as spaces names it. broken: the worker cannot be used again."""

    failed: bool
    payload: bytes
    pid: int
    device: str
    broken: bool


def _answer(failed: bool, payload: bytes, broken: bool = False) -> _Answer:
    device = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    return _Answer(failed, payload, os.getpid(), device, broken)


def _arguments(payload: bytes, name: str) -> _Arguments:
    parts = unpack(payload, f"arguments of {name}")
    args = tuple(item for key, item in parts.items() if isinstance(key, int))
    return args, {key: item for key, item in parts.items() if isinstance(key, str)}


def _task(
    function: Callable[..., object], name: str, load: _Load, numpy: bool
) -> Callable[[bytes], _Answer]:
    """What runs in the worker. It never raises: spaces drops the worker of a function that did."""

    def task(payload: bytes) -> _Answer:
        try:
            args, kwargs = _begun(payload, name, load)
            result = to_cpu(function(*args, **kwargs), numpy=numpy)
            return _answer(False, pack(result, f"{name}()"))
        except BaseException as error:
            return _failure(error)

    return functools.update_wrapper(task, function, updated=())


def _stream_task(
    function: Callable[..., Generator[object, None, None]], name: str, load: _Load, numpy: bool
) -> Callable[[bytes], Iterator[_Answer]]:
    def task(payload: bytes) -> Iterator[_Answer]:
        stream: Optional[Generator[object, None, None]] = None
        try:
            while True:
                try:
                    if stream is None:
                        args, kwargs = _begun(payload, name, load)
                        stream = function(*args, **kwargs)
                    answer = _answer(False, pack(to_cpu(next(stream), numpy=numpy), f"{name}()"))
                except StopIteration:
                    return
                except BaseException as error:
                    yield _failure(error)
                    return
                yield answer
        finally:
            if stream is not None:
                stream.close()

    return functools.update_wrapper(task, function, updated=())


def _begun(payload: bytes, name: str, load: _Load) -> _Arguments:
    global _worker  # noqa: PLW0603  (a process is a worker or it is not)
    _worker = os.getpid()
    arguments = _arguments(payload, name)
    for each in load:
        each()
    return arguments


def _failure(error: BaseException) -> _Answer:
    traceback.print_exception(type(error), error, error.__traceback__)
    broken = type(error).__name__ == "AcceleratorError" or "CUDA error" in str(error)
    shown = str(error)
    text = f"{type(error).__name__}: {shown}" if shown else type(error).__name__
    own = error if isinstance(error, _gradio_error() or ()) else None
    try:
        payload = pack((text, own), "error")
    except TypeError:
        payload = pack((text, None), "error")
    return _answer(True, payload, broken)


def _opened(answer: _Answer, name: str) -> object:
    if not answer.failed:
        return unpack(answer.payload, f"{name}()")
    text, own = unpack(answer.payload, f"the error of {name}")
    if own is not None:
        raise own
    kind = _gradio_error()
    if kind is None:
        raise WorkerError(text)
    raise kind(text, **_quiet(kind))


def _gradio_error() -> Optional[Type[Exception]]:
    kind: Optional[Type[Exception]] = getattr(sys.modules.get("gradio"), "Error", None)
    return kind


def _quiet(kind: Type[Exception]) -> Dict[str, object]:
    """The worker has printed the traceback."""
    known = inspect.signature(kind).parameters
    wanted = {"title": "Error on the GPU", "print_exception": False}
    return {key: value for key, value in wanted.items() if key in known}
