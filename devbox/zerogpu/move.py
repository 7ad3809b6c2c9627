"""Results to the CPU, at any depth, without a change to what they are made of."""

from __future__ import annotations

import enum
import sys
import types
from collections import OrderedDict, defaultdict, deque
from typing import TYPE_CHECKING, Any, Callable, Dict, Iterator, List, Protocol, Set, Tuple

if TYPE_CHECKING:
    from typing import TypeGuard

    from numpy import object_
    from numpy.typing import NDArray

_LEAVES = (
    type, types.ModuleType, types.FunctionType, types.BuiltinFunctionType, types.MethodType,
    str, bytes, bytearray, int, float, complex, type(None), enum.Enum,
)  # fmt: skip


class Tensor(Protocol):
    """What is used of a torch.Tensor."""

    device: object

    def detach(self) -> Tensor: ...
    def cpu(self) -> Tensor: ...
    def float(self) -> Tensor: ...
    def numpy(self) -> object: ...


def to_cpu(value: object, *, numpy: bool = False) -> Any:
    """`value` with each tensor in it on the CPU and detached from its graph; the same dtype.

    Looks into dicts (also subclasses, such as addict.Dict; keys too), lists, tuples, namedtuples,
    deques, sets, dataclasses (also frozen or with slots), objects with __dict__ or __slots__,
    exceptions and NumPy arrays of objects. Cycles and sharing are kept. The input is not changed:
    what holds a tensor is copied, everything else is the same object. Modules (torch.nn.Module)
    are left where they are.

    numpy: arrays instead of tensors; float32 where NumPy lacks the dtype (bfloat16). Each CPU
    tensor that leaves a process by shared memory holds a file descriptor, an array does not.
    """
    return _Copy(_holders(value, numpy), numpy).of(value)


def device_of(value: Tensor) -> str:
    """The device type of a tensor, such as "cuda". Not `is_cuda`: what ZeroGPU hands out before
    there is a GPU says False."""
    device = value.device
    return str(getattr(device, "type", None) or str(device).split(":")[0])


def is_tensor(value: object) -> TypeGuard[Tensor]:
    """Torch is never imported for this: without it there are no tensors of it. What has the
    methods of a tensor is one too."""
    known = getattr(sys.modules.get("torch"), "Tensor", None)
    if known is not None and isinstance(value, known):
        return True
    kind = type(value)
    return all(callable(getattr(kind, name, None)) for name in ("detach", "cpu")) and hasattr(
        value, "device"
    )


def is_module(value: object) -> bool:
    known = getattr(sys.modules.get("torch.nn"), "Module", None)
    return known is not None and isinstance(value, known)


def children(value: object) -> Iterator[Tuple[str, object, object]]:
    """What a value is made of: (how it is reached: "." by attribute, "[]" by index or key, "key"
    as a key; the name or key; the part)."""
    if isinstance(value, dict):
        for key, item in dict.items(value):
            yield "key", key, key
            yield "[]", key, item
    elif isinstance(value, (list, tuple, deque)):
        names = getattr(value, "_fields", ())
        for index, item in enumerate(value):
            if index < len(names):
                yield ".", names[index], item
            else:
                yield "[]", index, item
    elif isinstance(value, (set, frozenset)):
        for item in value:
            yield "key", item, item
    elif _is_object_array(value):
        for index, item in enumerate(value.ravel().tolist()):
            yield "[]", index, item
    elif isinstance(value, BaseException):
        yield ".", "args", value.args
    for name, item in _attributes(value):
        yield ".", name, item


def is_leaf(value: object) -> bool:
    return isinstance(value, _LEAVES) or is_tensor(value)


def _is_object_array(value: object) -> TypeGuard[NDArray[object_]]:
    array = getattr(sys.modules.get("numpy"), "ndarray", None)
    return array is not None and isinstance(value, array) and value.dtype == object


def _slots(kind: type) -> Iterator[Tuple[str, types.MemberDescriptorType]]:
    """Name and descriptor of each slot of a class and its bases."""
    for base in kind.__mro__:
        named = base.__dict__.get("__slots__", ())
        for name in (named,) if isinstance(named, str) else tuple(named):
            if name in ("__dict__", "__weakref__"):
                continue
            mangled = name.startswith("__") and not name.endswith("__")
            stored = f"_{base.__name__.lstrip('_')}{name}" if mangled else name
            if isinstance(base.__dict__.get(stored), types.MemberDescriptorType):
                yield stored, base.__dict__[stored]


def _attributes(value: object) -> Iterator[Tuple[str, object]]:
    own = getattr(value, "__dict__", None)
    if isinstance(own, dict):
        yield from list(own.items())
    for name, descriptor in _slots(type(value)):
        try:
            yield name, descriptor.__get__(value, type(value))
        except AttributeError:
            continue  # a slot that was never set


def _holders(root: object, numpy: bool) -> Set[int]:
    """Ids of what must be copied: tensors to move, and whatever holds one."""
    seen: Dict[int, object] = {}
    parents: Dict[int, List[int]] = {}
    found: List[int] = []
    todo = [root]
    while todo:
        value = todo.pop()
        if id(value) in seen or isinstance(value, _LEAVES) or is_module(value):
            continue
        seen[id(value)] = value  # held, so that no other object gets its id
        if is_tensor(value):
            if _must_move(value, numpy):
                found.append(id(value))
            continue
        for _, _, child in children(value):
            if not isinstance(child, _LEAVES):
                parents.setdefault(id(child), []).append(id(value))
                todo.append(child)
    holders: Set[int] = set()
    while found:
        key = found.pop()
        if key not in holders:
            holders.add(key)
            found.extend(parents.get(key, ()))
    return holders


def _must_move(tensor: Tensor, numpy: bool) -> bool:
    device = device_of(tensor)
    if device == "meta":
        return False
    return numpy or device != "cpu" or bool(getattr(tensor, "requires_grad", False))


def _moved(tensor: Tensor, numpy: bool) -> object:
    moved = tensor.detach().cpu()
    if not numpy:
        return moved
    for name in ("resolve_conj", "resolve_neg"):
        moved = getattr(moved, name, lambda same=moved: same)()
    try:
        return moved.numpy()
    except TypeError:
        return moved.float().numpy()


def _maker(kind: type) -> Callable[..., Any]:
    """The __new__ of the nearest base that is written in C: it takes no arguments of the class's
    own."""
    return next(
        base.__new__
        for base in kind.__mro__
        if isinstance(base.__dict__.get("__new__"), types.BuiltinFunctionType)
    )


class _Copy:
    """Copies what is in `holders`, once each."""

    def __init__(self, holders: Set[int], numpy: bool) -> None:
        self._holders, self._numpy = holders, numpy
        self._made: Dict[int, object] = {}

    def of(self, value: object) -> Any:
        key = id(value)
        if key not in self._holders:
            return value
        if key not in self._made:
            made = self._copy(value)
            self._made.setdefault(key, made)  # a tuple in a cycle was made on the way
        return self._made[key]

    def _copy(self, value: object) -> object:
        if is_tensor(value):
            return _moved(value, self._numpy)
        kind = type(value)
        make = _maker(kind)
        if isinstance(value, (tuple, frozenset)):
            items = [self.of(item) for item in value]
            if id(value) in self._made:
                return self._made[id(value)]
            new = make(kind, items)
        elif _is_object_array(value):
            new = value.copy()
        else:
            new = make(kind)
        self._made[id(value)] = new
        self._fill(value, new)
        self._attributes(value, new)
        return new

    def _fill(self, value: object, new: Any) -> None:
        if isinstance(value, dict):
            if isinstance(value, defaultdict):
                new.default_factory = value.default_factory
            ordered = isinstance(value, OrderedDict)
            put: Any = OrderedDict.__setitem__ if ordered else dict.__setitem__
            for key, item in list(dict.items(value)):
                put(new, self.of(key), self.of(item))
        elif isinstance(value, deque):
            deque.__init__(new, (self.of(item) for item in value), value.maxlen)
        elif isinstance(value, list):
            list.extend(new, [self.of(item) for item in value])
        elif isinstance(value, set):
            set.update(new, [self.of(item) for item in value])
        elif _is_object_array(value):
            for index, item in enumerate(value.ravel().tolist()):
                new.flat[index] = self.of(item)
        elif isinstance(value, BaseException):
            new.args = self.of(value.args)

    def _attributes(self, value: object, new: object) -> None:
        own = getattr(value, "__dict__", None)
        if isinstance(own, dict):
            new.__dict__.update({name: self.of(item) for name, item in list(own.items())})
        for _, descriptor in _slots(type(value)):
            try:
                descriptor.__set__(new, self.of(descriptor.__get__(value, type(value))))
            except AttributeError:
                continue  # a slot that was never set
