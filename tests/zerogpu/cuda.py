"""What a CPU torch lacks for the real `spaces` package to be imported, and a tensor that behaves
as one on a GPU does between processes."""

from __future__ import annotations

import os
from typing import Any

import torch


def not_forked() -> bool:
    return False


def install() -> None:
    """Call it before `import spaces`, from a module that is wholly imported: spaces forks a probe
    that would wait for the import."""
    torch.version.cuda = "12.8"
    torch._C._cuda_init = lambda: None
    torch.cuda._is_in_bad_fork = not_forked


def use_no_device() -> None:
    """Call it after `import spaces`: a worker that sets up no driver and moves no tensors."""
    from spaces.zero import torch as in_spaces

    in_spaces.init = _choose
    in_spaces.move = _move_nothing
    in_spaces.size = _nothing


def _choose(uuid: str) -> None:
    os.environ["CUDA_VISIBLE_DEVICES"] = uuid


def _move_nothing(callback: Any = None) -> None:
    """Nothing is there to move to."""


def _nothing() -> int:
    return 0


class CudaTensor(torch.Tensor):  # type: ignore[misc]
    """On cuda:0, as far as it says; not `is_cuda`, as what spaces hands out is not either. It can
    be pickled, and be unpickled only where it was made."""

    @property
    def device(self) -> Any:
        return torch.device("cuda", 0)

    @property
    def is_cuda(self) -> bool:
        return False

    def cpu(self) -> Any:
        return self.as_subclass(torch.Tensor)

    def __reduce_ex__(self, _: Any) -> Any:
        return _arrive, (os.getpid(), self.detach().as_subclass(torch.Tensor).tolist())


def _arrive(pid: int, values: Any) -> Any:
    if pid != os.getpid():
        raise RuntimeError("CUDA error: invalid device ordinal")
    return cuda(values)


def cuda(values: Any) -> Any:
    return torch.tensor(values).as_subclass(CudaTensor)


class BareTensor:
    """The same of a framework that is not torch."""

    device = "cuda:0"

    def __init__(self, values: list[float]) -> None:
        self.values = values

    def detach(self) -> BareTensor:
        return self

    def cpu(self) -> list[float]:
        return self.values

    def __reduce__(self) -> Any:
        return _arrive, (os.getpid(), self.values)
