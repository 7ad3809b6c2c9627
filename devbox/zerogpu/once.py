"""A value that is made once in a process."""

from __future__ import annotations

import functools
import os
import threading
import weakref
from typing import Any, Callable, Generic, Optional, TypeVar, cast, overload

T = TypeVar("T")


class Once(Generic[T]):
    """What `once` returns. Call it to get the value."""

    __name__: str

    def __init__(self, loader: Callable[[], T], inherit: bool) -> None:
        functools.update_wrapper(self, loader)
        self._loader, self._inherit = loader, inherit
        self._value: Optional[T] = None
        self._pid = 0  # of the process that loaded; 0 while there is no value
        self._lock = threading.RLock()
        _all.add(self)

    def __call__(self) -> T:
        if not self._is_loaded():
            with self._lock:
                if not self._is_loaded():
                    self._value = self._loader()
                    self._pid = os.getpid()
        return cast(T, self._value)

    def __reduce__(self) -> str:
        # By name, as a function: its value stays in its process.
        return str(self.__dict__["__qualname__"])

    def _is_loaded(self) -> bool:
        return self._pid == os.getpid() or bool(self._pid and self._inherit)

    def _after_fork(self) -> None:
        self._lock = threading.RLock()  # the old one may be held by a thread that is not here


@overload
def once(loader: Callable[[], T], *, inherit: bool = ...) -> Once[T]: ...


@overload
def once(loader: None = ..., *, inherit: bool = ...) -> Callable[[Callable[[], T]], Once[T]]: ...


def once(loader: Optional[Callable[[], T]] = None, *, inherit: bool = False) -> object:
    """A function that returns what `loader` returned at its first call in this process.

    Threads that ask meanwhile wait for that one load. An exception is raised to the caller and
    not kept: the next call tries again. A fork does not wait for a load that another thread of
    its parent was in the middle of.

    inherit: a value that was loaded before the fork also serves the fork. Say so for a model that
    is loaded when the Space starts: spaces moves its tensors to the GPU in the fork. Leave it out
    for what holds threads, sockets or a GPU context.

        @once
        def model(): ...

        model = once(load_model, inherit=True)
    """
    if loader is None:
        return functools.partial(once, inherit=inherit)
    return Once(loader, inherit)


_all: "weakref.WeakSet[Once[Any]]" = weakref.WeakSet()


def _renew() -> None:
    for each in list(_all):
        each._after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew)
