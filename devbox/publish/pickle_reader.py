"""A pickle read without Python's unpickler: a stack machine over its opcodes that builds numbers,
text, lists, dicts, and stand-ins. It has no way to import or call anything.

A name of code becomes a `Name`. The few calls that torch.save writes are understood (`_CALLS`);
a call of anything else is refused. An object of a project's own class, such as a config, becomes
an `Inert`, and its class is listed. Names of the standard library that could do harm are refused
wherever they stand: torch.load would import and call them.
"""

from __future__ import annotations

import pickletools
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from devbox.publish.tensors import BY_NAME, BY_STORAGE, Dtype, Storage, Tensor, Unreadable, check

_MOST_STEPS = 5_000_000
#: (key, dtype or None, elements or bytes as the pickle says) → storage
FindStorage = Callable[[str, Dtype | None, int], Storage]


@dataclass(frozen=True)
class Name:
    """A name of code, as text."""

    text: str


class Inert:
    """An object whose class was not looked for. state: what it would have been filled with."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.state: object = None
        self.entries: dict[object, object] = {}


_MAPPINGS = ("collections.OrderedDict", "collections.defaultdict", "collections.Counter")
_TENSORS = ("torch._utils._rebuild_tensor", "torch._utils._rebuild_tensor_v2")
_TYPED = "torch._utils._rebuild_tensor_v3"
_PARAMETERS = (
    "torch._utils._rebuild_parameter",
    "torch._utils._rebuild_parameter_with_state",
)
_RECONSTRUCT = ("copyreg._reconstructor", "copy_reg._reconstructor")
#: harmless values that training scripts keep beside the weights
_HARMLESS = (
    *(
        "torch.device",
        "torch.serialization._get_layout",
        "torch.Size",
        "torch.Generator",
        "argparse.Namespace",
        "_codecs.encode",
    ),
    *("pathlib.PosixPath", "pathlib.PurePosixPath", "pathlib.Path", "pathlib.WindowsPath"),
    *("pathlib._local.PosixPath", "datetime.datetime", "datetime.timedelta", "datetime.date"),
    *("numpy.dtype", "numpy.ndarray", "types.SimpleNamespace", "decimal.Decimal"),
    *(
        f"numpy.{core}.multiarray.{n}"
        for core in ("core", "_core")
        for n in ("scalar", "_reconstruct")
    ),
    *(
        f"{module}.{kind}"
        for module in ("builtins", "__builtin__")
        for kind in (
            *("object", "int", "float", "complex", "bool", "str", "bytes", "bytearray", "list"),
            *("tuple", "dict", "set", "frozenset", "slice", "range", "long", "unicode"),
        )
    ),
)


_KNOWN = frozenset((*_MAPPINGS, *_RECONSTRUCT, *_HARMLESS))
_LIBRARY = frozenset((*sys.stdlib_module_names, "__builtin__", "copy_reg"))


class Reader:
    """root: the value of the pickle. foreign: classes of objects that became an `Inert`."""

    def __init__(self, data: bytes, find: FindStorage) -> None:
        """Unreadable for what is broken, unsafe, or no pickle of torch.save."""
        self.foreign: set[str] = set()
        self._find = find
        self._stack: list[object] = []
        self._marked: list[list[object]] = []
        self._memo: dict[int, object] = {}
        try:
            self.root = self._run(data)
        except Unreadable:
            raise
        except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError) as error:
            raise Unreadable(f"its pickle is broken ({type(error).__name__})") from None
        except (RecursionError, MemoryError):
            raise Unreadable("its pickle is nested too deeply, or too large") from None

    def _run(self, data: bytes) -> object:
        for steps, (opcode, argument, _) in enumerate(pickletools.genops(data), 1):
            if steps > _MOST_STEPS:
                raise Unreadable(f"its pickle has over {_MOST_STEPS:,} steps")
            if opcode.name == "STOP":
                return self._stack.pop()
            if opcode.name in _CONSTANTS:
                self._stack.append(argument)
            else:
                step = getattr(self, f"_{opcode.name.lower()}", None)
                if step is None:
                    raise Unreadable(f"its pickle uses {opcode.name}, which torch.save never does")
                step(argument)
        raise Unreadable("its pickle has no end")

    # values ------------------------------------------------------------------

    def _none(self, _: object) -> None:
        self._stack.append(None)

    def _newtrue(self, _: object) -> None:
        self._stack.append(True)

    def _newfalse(self, _: object) -> None:
        self._stack.append(False)

    def _empty_list(self, _: object) -> None:
        self._stack.append([])

    _empty_set = _empty_list

    def _empty_tuple(self, _: object) -> None:
        self._stack.append(())

    def _empty_dict(self, _: object) -> None:
        self._stack.append({})

    def _list(self, _: object) -> None:
        found = self._to_mark()
        self._stack.append(found)

    _frozenset = _list

    def _tuple(self, _: object) -> None:
        found = tuple(self._to_mark())
        self._stack.append(found)

    def _tuple1(self, _: object) -> None:
        self._stack[-1:] = [(self._stack[-1],)]

    def _tuple2(self, _: object) -> None:
        self._stack[-2:] = [(self._stack[-2], self._stack[-1])]

    def _tuple3(self, _: object) -> None:
        self._stack[-3:] = [tuple(self._stack[-3:])]

    def _dict(self, _: object) -> None:
        items = self._to_mark()
        self._stack.append({})
        self._put_items(items)

    # filling -----------------------------------------------------------------

    def _append(self, _: object) -> None:
        value = self._stack.pop()
        self._extend([value])

    def _appends(self, _: object) -> None:
        self._extend(self._to_mark())

    _additems = _appends

    def _setitem(self, _: object) -> None:
        value, key = self._stack.pop(), self._stack.pop()
        self._put_items([key, value])

    def _setitems(self, _: object) -> None:
        self._put_items(self._to_mark())

    def _extend(self, values: list[object]) -> None:
        target = self._stack[-1]
        if isinstance(target, list):
            target.extend(values)
        elif not isinstance(target, Inert):
            raise Unreadable("its pickle appends to what is no list")

    def _put_items(self, items: list[object]) -> None:
        target = self._stack[-1]
        entries = target.entries if isinstance(target, Inert) else target
        if not isinstance(entries, dict) or len(items) % 2:
            raise Unreadable("its pickle puts items into what is no dict")
        for key, value in zip(items[::2], items[1::2], strict=True):
            # Only these: a key that is nested deeply could exhaust the stack when it is hashed.
            parts = key if isinstance(key, tuple) else (key,)
            if not all(isinstance(part, (str, int, float, bytes, type(None))) for part in parts):
                raise Unreadable("its pickle has a dict with a key that is no name or number")
            entries[key] = value

    # stack and memo ----------------------------------------------------------

    def _mark(self, _: object) -> None:
        self._marked.append(self._stack)
        self._stack = []

    def _to_mark(self) -> list[object]:
        found, self._stack = self._stack, self._marked.pop()
        return found

    def _pop(self, _: object) -> None:
        if self._stack:
            self._stack.pop()
        else:
            self._to_mark()

    def _pop_mark(self, _: object) -> None:
        self._to_mark()

    def _dup(self, _: object) -> None:
        self._stack.append(self._stack[-1])

    def _get(self, index: int) -> None:
        self._stack.append(self._memo[index])

    _binget = _long_binget = _get

    def _put(self, index: int) -> None:
        self._memo[index] = self._stack[-1]

    _binput = _long_binput = _put

    def _memoize(self, _: object) -> None:
        self._memo[len(self._memo)] = self._stack[-1]

    def _proto(self, _: object) -> None:
        """Which opcodes there may be; we know those of all."""

    _frame = _proto

    # code, which is never looked for -----------------------------------------

    def _global(self, argument: str) -> None:
        self._name(argument.replace(" ", ".", 1))

    def _stack_global(self, _: object) -> None:
        name, module = self._stack.pop(), self._stack.pop()
        if not isinstance(name, str) or not isinstance(module, str):
            raise Unreadable("its pickle names code by what is no text")
        self._name(f"{module}.{name}")

    def _name(self, text: str) -> None:
        if text.partition(".")[0] in _LIBRARY and text not in _KNOWN:
            raise Unreadable(f"it would run code when it is loaded: it names {text[:100]!r}")
        self._stack.append(Name(text))

    def _reduce(self, _: object) -> None:
        args, called = self._stack.pop(), self._stack.pop()
        if not isinstance(called, Name) or not isinstance(args, tuple):
            raise Unreadable("its pickle calls what is no name")
        self._stack.append(self._call(called.text, args))

    def _call(self, name: str, args: tuple[Any, ...]) -> object:
        if name in _MAPPINGS:
            pairs = args[-1] if args and isinstance(args[-1], (list, dict)) else []
            self._stack.append({})
            if isinstance(pairs, dict):
                pairs = list(pairs.items())
            self._put_items([value for pair in pairs for value in pair])
            return self._stack.pop()
        if name in (*_TENSORS, _TYPED):
            return _tensor(name, args)
        if name in _PARAMETERS and args and isinstance(args[0], Tensor):
            return args[0]
        if name == "torch.Size":
            return tuple(args[0])
        if name in _RECONSTRUCT and args and isinstance(args[0], Name):
            return self._object(args[0].text)
        if name in _HARMLESS:
            return Inert(name)
        if name.startswith("torch.") and "_rebuild" in name:
            raise Unreadable(f"it holds a kind of tensor that cannot be published: {name[:100]}")
        raise Unreadable(f"it would run code when it is loaded: it calls {name[:100]!r}")

    def _newobj(self, _: object) -> None:
        _, kind = self._stack.pop(), self._stack.pop()
        self._new(kind)

    def _newobj_ex(self, _: object) -> None:
        del self._stack[-2:]
        self._new(self._stack.pop())

    def _new(self, kind: object) -> None:
        if not isinstance(kind, Name):
            raise Unreadable("its pickle makes an object of what is no class")
        self._stack.append({} if kind.text in _MAPPINGS else self._object(kind.text))

    def _object(self, name: str) -> Inert:
        if name not in _HARMLESS:
            self.foreign.add(name[:100])
        return Inert(name)

    def _build(self, _: object) -> None:
        state, target = self._stack.pop(), self._stack[-1]
        if isinstance(target, Inert):
            target.state = state
        elif not isinstance(target, (dict, Tensor)):
            raise Unreadable("its pickle fills what is no object")

    def _binpersid(self, _: object) -> None:
        match self._stack.pop():
            case ("storage", Name(text=kind), str(key), str(), int(count), *_):
                dtype = BY_STORAGE.get(kind.rpartition(".")[2])
                if dtype is None and kind.rpartition(".")[2] != "UntypedStorage":
                    raise Unreadable(f"it holds tensors of a kind that is not known: {kind[:60]}")
                self._stack.append(self._find(key, dtype, count))
            case _:
                raise Unreadable("its pickle refers to something else than a tensor's bytes")


#: opcodes whose argument is the value
_CONSTANTS = frozenset(
    {
        *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
        *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE"),
        *("BINUNICODE8", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
    }
)


def _tensor(name: str, args: tuple[Any, ...]) -> Tensor:
    storage, offset, shape, stride = args[:4]
    dtype = storage.dtype if isinstance(storage, Storage) else None
    if name == _TYPED and isinstance(args[6], Name):
        dtype = BY_NAME.get(args[6].text.rpartition(".")[2])
    if not isinstance(storage, Storage) or dtype is None:
        raise Unreadable("it holds a tensor of a dtype that is not known")
    return check(Tensor(dtype, tuple(shape), tuple(stride), offset, storage))
