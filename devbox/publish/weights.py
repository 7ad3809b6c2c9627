"""Which tensors of a checkpoint are its weights, and how many parameters, buffers and adapters."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from devbox.publish.pickle_reader import Inert
from devbox.publish.read import Checkpoint
from devbox.publish.tensors import Tensor, Unreadable

_MODELS = (
    *("model_state_dict", "state_dict", "model", "module", "net", "network", "weights", "params"),
)
_ADAPTERS = ("lora_state_dict", "lora_state", "adapter_state_dict")
_NOT_WEIGHTS = re.compile(r"optim|sched|scaler|ema|rng|amp", re.IGNORECASE)
_PREFIXES = ("module.", "_orig_mod.")
_LORA = re.compile(r"(.+)\.lora_([AB])((?:\..+)?)")
_DEEPEST = 32
_MOST = 1_000_000
#: names of tensors that no optimizer trains
BUFFERS = (
    *("*running_mean", "*running_var", "*num_batches_tracked", "*inv_freq", "*position_ids"),
    *("*.rope.*", "*attn_mask", "*causal_mask"),
)


class Weights(NamedTuple):
    """tensors: by name, as they are published. kind: 'full', 'full with adapters' or 'adapters'.
    at: where in the checkpoint they were. parameters, buffers, adapters: elements, each tensor
    once. tied: names that share a tensor with an earlier one. left: elements of other parts of the
    checkpoint, which are not published. ignored: names of entries that are no tensors. prefix: what
    was taken off every name. lora_config: plain values beside the adapters."""

    tensors: dict[str, Tensor]
    kind: str
    at: str
    parameters: int
    buffers: int
    adapters: int
    tied: tuple[str, ...]
    left: dict[str, int]
    ignored: tuple[str, ...]
    prefix: str
    pairs: int
    ranks: tuple[int, ...]
    faults: tuple[str, ...]
    lora_config: dict[str, object]


def find(checkpoint: Checkpoint, buffers: Iterable[str] = BUFFERS) -> Weights:
    """Unreadable when it holds no weights by name."""
    root = checkpoint.root
    held, path = _select(root, ())
    ignored: list[str] = []
    tensors = _flat(held, ignored)
    if not tensors:
        raise Unreadable("it holds no weights: nothing in it is a dict of tensors by name")
    tensors, prefix = _without_prefix(tensors)
    patterns = tuple(buffers)
    counts = {"parameters": 0, "buffers": 0, "adapters": 0}
    seen: set[object] = set()
    tied: list[str] = []
    for name, tensor in tensors.items():
        if tensor.place in seen:
            tied.append(name)
            continue
        seen.add(tensor.place)
        counts[_kind(name, tensor, patterns)] += tensor.elements
    pairs, ranks, faults = _pairs(tensors)
    if counts["adapters"] and not counts["parameters"]:
        kind = "adapters"
    else:
        kind = "full with adapters" if counts["adapters"] else "full"
    if not counts["parameters"] and not counts["adapters"]:
        raise Unreadable("it holds no parameters: every tensor in it is empty, or a buffer")
    return Weights(
        tensors,
        kind,
        ".".join(path),
        **counts,
        tied=tuple(tied),
        left=_left(root, path),
        ignored=tuple(ignored),
        prefix=prefix,
        pairs=pairs,
        ranks=ranks,
        faults=faults,
        lora_config=_plain(_entries(root).get("lora_config")),
    )


def _select(held: object, path: tuple[str, ...]) -> tuple[dict[object, object], tuple[str, ...]]:
    """The dict that holds the weights, and the keys that lead to it."""
    if isinstance(held, Inert) and (held.state is not None or not held.entries):
        raise Unreadable(
            f"it is a whole pickled {held.name[:80]}, which only its code can load: save its "
            "state_dict() instead"
        )
    held = held.entries if isinstance(held, Inert) else held
    if not isinstance(held, dict):
        raise Unreadable(f"it holds a {type(held).__name__.lower()}, and no tensors by name")
    if len(path) < _DEEPEST:
        for key in (*_MODELS, *_ADAPTERS):
            inner = held.get(key)
            if isinstance(inner, Inert) and inner.name.startswith("torch.nn."):
                return _select(inner, (*path, key))
            if isinstance(inner, (dict, Inert)) and _elements(inner):
                return _select(inner, (*path, key))
    return {k: v for k, v in held.items() if path or not _NOT_WEIGHTS.search(str(k))}, path


def _flat(held: dict[object, object], ignored: list[str]) -> dict[str, Tensor]:
    """Name → tensor, the names of nested dicts joined by dots. Names of other entries go to
    `ignored`."""
    found: dict[str, Tensor] = {}
    entries = 0

    def add(mapping: dict[object, object], before: str, above: tuple[int, ...]) -> None:
        if id(mapping) in above or len(above) > _DEEPEST:
            raise Unreadable("a dict in it holds itself, or is nested too deeply")
        nonlocal entries
        entries += len(mapping)
        if entries > _MOST:  # a few dicts that hold each other make any number of paths
            raise Unreadable(f"it has over {_MOST:,} entries")
        for key, value in mapping.items():
            name = f"{before}{key}"
            if isinstance(value, Tensor):
                if name in found or not _is_text(name):
                    raise Unreadable(
                        f"two of its tensors have the name {name[:80]!r}, or it is no text"
                    )
                found[name] = value
            elif isinstance(value, dict) or (isinstance(value, Inert) and value.entries):
                inner = value if isinstance(value, dict) else value.entries
                add(inner, f"{name}.", (*above, id(mapping)))
            else:
                ignored.append(name[:100])

    add(held, "", ())
    return found


def _is_text(name: str) -> bool:
    try:
        return bool(name.encode()) and "\0" not in name and len(name) < 1000
    except UnicodeEncodeError:
        return False


def _without_prefix(tensors: dict[str, Tensor]) -> tuple[dict[str, Tensor], str]:
    """What DistributedDataParallel and torch.compile put before every name, off."""
    taken = ""
    while prefix := next((p for p in _PREFIXES if all(n.startswith(p) for n in tensors)), ""):
        tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
        taken += prefix
    return tensors, taken


def _kind(name: str, tensor: Tensor, buffers: tuple[str, ...]) -> str:
    if _LORA.fullmatch(name):
        return "adapters"
    if not tensor.dtype.is_float or any(fnmatch.fnmatchcase(name, each) for each in buffers):
        return "buffers"
    return "parameters"


def _pairs(tensors: Mapping[str, Tensor]) -> tuple[int, tuple[int, ...], tuple[str, ...]]:
    """(pairs, ranks, faults) of the adapters. A is rank × in, B is out × rank, of one layer."""
    halves: dict[tuple[str, str], dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if found := _LORA.fullmatch(name):
            halves.setdefault((found[1], found[3]), {})[found[2]] = tensor
    faults, ranks = [], set()
    for (layer, _), half in halves.items():
        if set(half) != {"A", "B"}:
            faults.append(f"{layer} has lora_{next(iter(half))} alone")
            continue
        a, b = half["A"].shape, half["B"].shape
        if len(a) < 2 or len(b) < 2 or a[0] != b[1]:
            faults.append(f"{layer}: lora_A {_said(a)} and lora_B {_said(b)} have no common rank")
            continue
        ranks.add(a[0])
        base = tensors.get(f"{layer}.base_layer.weight") or tensors.get(f"{layer}.weight")
        if base and len(base.shape) >= 2 and (base.shape[1], base.shape[0]) != (a[1], b[0]):
            faults.append(f"{layer}: its adapters do not fit its weight {_said(base.shape)}")
    if len(ranks) > 1:
        faults.append(f"its adapters have several ranks: {', '.join(map(str, sorted(ranks)))}")
    return len(halves), tuple(sorted(ranks)), tuple(faults)


def _said(shape: tuple[int, ...]) -> str:
    return " × ".join(map(str, shape)) or "scalar"


def _left(root: object, path: tuple[str, ...]) -> dict[str, int]:
    """Elements of the other parts that hold tensors, by their place in the checkpoint."""
    found: dict[str, int] = {}
    before = ""
    for key in path:
        entries = _entries(root)
        for other, value in entries.items():
            if other != key and (count := _elements(value)):
                found[f"{before}{other}"[:100]] = count
        root, before = entries[key], f"{before}{key}."
    for name, value in _entries(root).items() if not path else ():
        if _NOT_WEIGHTS.search(str(name)) and (count := _elements(value)):
            found[str(name)[:100]] = count
    return found


def _entries(held: object) -> dict[object, object]:
    entries = held.entries if isinstance(held, Inert) else held
    return entries if isinstance(entries, dict) else {}


def _elements(value: object) -> int:
    """Elements of all tensors in it, each once."""
    total, seen = 0, set()
    for tensor in _tensors(value):
        if tensor.place not in seen:
            seen.add(tensor.place)
            total += tensor.elements
    return total


def _tensors(value: object) -> Iterator[Tensor]:
    waiting, seen = [value], set()
    while waiting:
        each = waiting.pop()
        if isinstance(each, Tensor):
            yield each
        elif isinstance(each, (dict, list, tuple, Inert)) and id(each) not in seen:
            seen.add(id(each))
            if isinstance(each, Inert):
                waiting += [each.state, each.entries]
            else:
                waiting += each.values() if isinstance(each, dict) else each


def _plain(value: object) -> dict[str, object]:
    """What of a dict is plain numbers and short text, and lists of them."""
    if not isinstance(value, dict):
        return {}
    return {
        str(key): each
        for key, each in value.items()
        if _is_text(str(key))
        and (_is_plain(each) or (isinstance(each, (list, tuple)) and all(map(_is_plain, each))))
    }


def _is_plain(value: object) -> bool:
    if isinstance(value, (int, float)):
        return abs(value) < 1 << 53
    return isinstance(value, str) and _is_text(value)
