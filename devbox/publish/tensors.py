"""Tensors as a checkpoint describes them: where their bytes lie in the file. Nothing is loaded."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import BinaryIO, Literal, NamedTuple

_CHUNK = 1 << 24
_DIMENSIONS = 64
_WORDS: dict[int, Literal["B", "H", "I", "Q"]] = {1: "B", 2: "H", 4: "I", 8: "Q"}


class Unreadable(Exception):
    """The file is not what it should be, or asks for what is unsafe; the text says which."""


class Dtype(NamedTuple):
    """name: torch's. code: that of safetensors. storage: the class of torch that holds it, "" where
    it has none of its own. size: bytes of an element."""

    name: str
    code: str
    storage: str
    size: int

    @property
    def is_float(self) -> bool:
        return "float" in self.name or "complex" in self.name


DTYPES = (
    Dtype("float64", "F64", "DoubleStorage", 8),
    Dtype("float32", "F32", "FloatStorage", 4),
    Dtype("float16", "F16", "HalfStorage", 2),
    Dtype("bfloat16", "BF16", "BFloat16Storage", 2),
    Dtype("float8_e4m3fn", "F8_E4M3", "", 1),
    Dtype("float8_e5m2", "F8_E5M2", "", 1),
    Dtype("int64", "I64", "LongStorage", 8),
    Dtype("int32", "I32", "IntStorage", 4),
    Dtype("int16", "I16", "ShortStorage", 2),
    Dtype("int8", "I8", "CharStorage", 1),
    Dtype("uint64", "U64", "", 8),
    Dtype("uint32", "U32", "", 4),
    Dtype("uint16", "U16", "", 2),
    Dtype("uint8", "U8", "ByteStorage", 1),
    Dtype("bool", "BOOL", "BoolStorage", 1),
    Dtype("complex64", "C64", "ComplexFloatStorage", 8),
)
BY_NAME = {each.name: each for each in DTYPES}
BY_CODE = {each.code: each for each in DTYPES}
BY_STORAGE = {each.storage: each for each in DTYPES if each.storage}


class Storage(NamedTuple):
    """Bytes of the file that tensors are views of. at, size: in bytes. dtype: None where each
    tensor names its own."""

    key: str
    at: int
    size: int
    dtype: Dtype | None = None


class Tensor(NamedTuple):
    """stride and offset: in elements, offset from the beginning of the storage."""

    dtype: Dtype
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    offset: int
    storage: Storage

    @property
    def elements(self) -> int:
        """How many there are."""
        return math.prod(self.shape)

    @property
    def size(self) -> int:
        """Bytes, once contiguous."""
        return self.elements * self.dtype.size

    @property
    def place(self) -> tuple[str, int, tuple[int, ...], tuple[int, ...]]:
        """Equal for two names of one tensor."""
        return self.storage.key, self.offset, self.shape, self.stride


def check(tensor: Tensor) -> Tensor:
    """The tensor itself. Unreadable unless its elements lie inside its storage, each once."""
    numbers = (*tensor.shape, *tensor.stride, tensor.offset)
    if any(type(number) is not int or number < 0 for number in numbers):
        raise Unreadable("a tensor's shape, stride or offset is not made of whole numbers")
    if len(tensor.shape) != len(tensor.stride) or len(tensor.shape) > _DIMENSIONS:
        raise Unreadable("a tensor has another number of strides than dimensions, or far too many")
    held = tensor.storage.size // tensor.dtype.size
    last = tensor.offset
    if tensor.elements:
        last += sum((n - 1) * step for n, step in zip(tensor.shape, tensor.stride, strict=True)) + 1
    if last > held or tensor.elements > held:
        raise Unreadable(
            f"a tensor declares {tensor.elements:,} elements, and its storage holds {held:,}"
        )
    return tensor


def blocks(file: BinaryIO, tensor: Tensor) -> Iterator[bytes]:
    """Its bytes in the order of a contiguous tensor. Unreadable when the file is too short."""
    size = tensor.dtype.size
    if not tensor.elements:
        return
    if _is_contiguous(tensor):
        yield from read(file, tensor.storage.at + tensor.offset * size, tensor.size)
        return
    steps = zip(tensor.shape, tensor.stride, strict=True)
    span = sum((n - 1) * step for n, step in steps) + 1
    data = b"".join(read(file, tensor.storage.at + tensor.offset * size, span * size))
    words = memoryview(data).cast(_WORDS[size])
    *outer, row = tensor.shape
    *steps_out, step = tensor.stride
    pending = bytearray()
    for index in itertools.product(*map(range, outer)):
        first = sum(i * s for i, s in zip(index, steps_out, strict=True))
        # A dimension of one element may have any stride, also none.
        pending += words[first : first + (row - 1) * step + 1 : step or 1].tobytes()
        if len(pending) >= _CHUNK:
            yield bytes(pending)
            pending.clear()
    yield bytes(pending)


def read(file: BinaryIO, at: int, size: int) -> Iterator[bytes]:
    """That many bytes from there. Unreadable when the file is too short."""
    file.seek(at)
    while size:
        data = file.read(min(size, _CHUNK))
        if not data:
            raise Unreadable("the file ends in the middle of a tensor")
        size -= len(data)
        yield data


def contiguous(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The strides of a contiguous tensor."""
    strides, step = [], 1
    for length in reversed(shape):
        strides.append(step)
        step *= max(1, length)
    return tuple(reversed(strides))


def _is_contiguous(tensor: Tensor) -> bool:
    wanted = contiguous(tensor.shape)
    found = zip(tensor.shape, tensor.stride, wanted, strict=True)
    return all(length == 1 or step == right for length, step, right in found)
