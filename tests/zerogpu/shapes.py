"""23 shapes that a model's result comes in: 21 hold a tensor on the GPU, two do not."""

from __future__ import annotations

from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, NamedTuple

import addict
import numpy as np
import torch

from tests.zerogpu.cuda import BareTensor, cuda


class Pair(NamedTuple):
    first: Any
    second: Any


@dataclass
class Gaussians:
    means: Any
    scales: Any


@dataclass
class Prediction:
    depth: Any
    aux: Any = field(default_factory=dict)
    gaussians: Any = None


@dataclass(frozen=True)
class Frozen:
    depth: Any


@dataclass(frozen=True, slots=True)
class FrozenSlots:
    depth: Any


class Plain:
    def __init__(self, depth: Any) -> None:
        self.depth = depth


class Slots:
    __slots__ = ("__hidden", "depth", "unset")

    def __init__(self, depth: Any) -> None:
        self.depth = depth
        self.__hidden = depth


class Outputs(OrderedDict[str, Any]):
    """A dict with attributes of its own, as model outputs are."""

    def __init__(self, **items: Any) -> None:
        super().__init__(**items)
        self.extra = next(iter(items.values()), None)


def _needs_grad() -> Any:
    return (torch.ones(2, requires_grad=True) * 2).as_subclass(type(cuda([0.0])))


def _cycle() -> Any:
    value: dict[str, Any] = {"depth": cuda([1.0, 2.0])}
    value["me"] = (value, [value])
    return value


def _objects() -> Any:
    array = np.empty(2, object)
    array[:] = [cuda([1.0]), {"deep": cuda([2.0])}]
    return array


SHAPES: dict[str, Callable[[], Any]] = {
    "tensor": lambda: cuda([1.0, 2.0]),
    "parameter": lambda: {"weight": cuda([1.0]).requires_grad_()},
    "non-leaf": _needs_grad,
    "bare": lambda: [BareTensor([1.0])],
    "list": lambda: [1, cuda([1.0])],
    "tuple": lambda: ("a", cuda([1.0])),
    "namedtuple": lambda: Pair(cuda([1.0]), None),
    "dict": lambda: {"a": cuda([1.0])},
    "nested dicts": lambda: {"a": {"b": {"c": [{"d": cuda([1.0])}]}}},
    "ordered dict": lambda: OrderedDict(z=cuda([1.0]), a=cuda([2.0])),
    "default dict": lambda: defaultdict(list, a=[cuda([1.0])]),
    "addict": lambda: addict.Dict(feat={"layer": cuda([1.0])}),
    "dict with attributes": lambda: Outputs(depth=cuda([1.0])),
    "deque": lambda: deque([cuda([1.0])], maxlen=3),
    "set": lambda: {cuda([1.0])},
    "dataclass": lambda: Prediction(
        np.zeros(2), addict.Dict(), Gaussians(cuda([1.0]), cuda([2.0]))
    ),
    "frozen": lambda: Frozen(cuda([1.0])),
    "frozen slots": lambda: FrozenSlots((cuda([1.0]),)),
    "object": lambda: Plain(SimpleNamespace(depth=cuda([1.0]))),
    "slots": lambda: Slots(cuda([1.0])),
    "cycle": _cycle,
    "array": lambda: np.arange(3.0),
    "cpu": lambda: {"depth": torch.ones(2)},
}
