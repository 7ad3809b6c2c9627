"""Values as bytes between two processes, each proved to travel before it does."""

from __future__ import annotations

import io
import pickle
import sys
from typing import Any, Set, Tuple

from .move import children, device_of, is_leaf, is_tensor


class NotPortable(TypeError):
    """A value that cannot go to another process. The message names the part that cannot."""


def pack(value: object, name: str) -> bytes:
    """`value` by value: no shared memory, no file descriptor, and nothing that needs a GPU to be
    read. NotPortable, with the path from `name`, for a tensor that is not on the CPU and for
    what cannot be pickled."""
    try:
        return _bytes(value)
    except Exception as error:
        deep = isinstance(error, RecursionError)
        path, reason = (name, "it is nested too deeply") if deep else _culprit(value, name, error)
        raise NotPortable(f"{path} cannot leave its process: {reason}") from error


def unpack(payload: bytes, name: str) -> Any:
    """NotPortable for what can be written and not be read again."""
    try:
        return pickle.loads(payload)
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise NotPortable(f"{name} arrived, but cannot be read: {reason}") from error


class _Pickler(pickle.Pickler):
    def reducer_override(self, value: object) -> Any:
        if not is_tensor(value):
            return NotImplemented
        if _is_before_gpu(value):
            raise NotPortable("a tensor that spaces holds for the GPU; use it inside the function")
        device = device_of(value)
        if device not in ("cpu", "meta"):
            raise NotPortable(f"a tensor on {device}")
        return _reduced(value)


def _is_before_gpu(tensor: object) -> bool:
    """spaces answers .to("cuda") with a placeholder until there is a GPU. In a thread other than
    the main one it calls itself a CPU tensor."""
    patching = sys.modules.get("spaces.zero.torch.patching")
    return tensor in getattr(patching, "cuda_aliases", ()) if _is_torch(tensor) else False


def _is_torch(tensor: object) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(tensor, torch.Tensor)


def _reduced(tensor: Any) -> object:
    """A plain CPU tensor by its bytes, of its own elements only (a view drags in its whole
    storage otherwise). Others as torch itself does it."""
    torch = sys.modules.get("torch")
    plain = torch is not None and type(tensor) is torch.Tensor
    if (
        torch is None
        or not plain
        or tensor.layout is not torch.strided
        or tensor.is_quantized
        or tensor.requires_grad
        or device_of(tensor) != "cpu"
    ):
        return NotImplemented
    whole = tensor.resolve_conj().resolve_neg().contiguous()
    data = whole.reshape(-1).view(torch.uint8).numpy().tobytes()
    return _tensor, (str(tensor.dtype)[len("torch.") :], tuple(tensor.shape), data)


def _tensor(dtype: str, shape: Tuple[int, ...], data: bytes) -> object:
    import torch

    kind = getattr(torch, dtype)
    if not data:
        return torch.empty(shape, dtype=kind)
    return torch.frombuffer(bytearray(data), dtype=kind).reshape(shape)


def _bytes(value: object) -> bytes:
    stream = io.BytesIO()
    _Pickler(stream, protocol=5).dump(value)
    return stream.getvalue()


def _culprit(value: object, name: str, error: Exception) -> Tuple[str, str]:
    """The innermost part that cannot go by itself either, and why."""
    seen: Set[int] = set()
    while True:
        seen.add(id(value))
        for form, key, child in children(value):
            if id(child) in seen:
                continue
            if is_leaf(child) and not is_tensor(child) and not callable(child):
                continue
            try:
                _bytes(child)
            except Exception as inner:
                value, error, name = child, inner, name + _step(form, key)
                break
        else:
            return name, _reason(error)


def _step(form: str, key: object) -> str:
    shown = repr(key) if isinstance(key, (str, int, float, bytes, tuple)) else type(key).__name__
    shown = shown if len(shown) <= 40 else shown[:39] + "…"
    return f".{key}" if form == "." else f"[{shown}]" if form == "[]" else f" key {shown}"


def _reason(error: Exception) -> str:
    if isinstance(error, NotPortable):
        return str(error)
    return f"{type(error).__name__}: {error}"
