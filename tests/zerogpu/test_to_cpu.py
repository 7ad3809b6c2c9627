"""to_cpu: tensors at any depth, and nothing else, become other objects."""

from __future__ import annotations

import subprocess
import sys
from collections import OrderedDict, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import devbox
from devbox.zerogpu import to_cpu
from devbox.zerogpu.move import _holders
from devbox.zerogpu.pack import NotPortable, pack, unpack
from tests.zerogpu.cuda import CudaTensor, cuda
from tests.zerogpu.shapes import SHAPES, Frozen, Outputs, Pair, Prediction, Slots, _cycle, _objects


def tensors(value: Any) -> list[Any]:
    """Every tensor in a value, by a walk of its own."""
    found, seen, todo = [], set(), [value]
    while todo:
        one = todo.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        if isinstance(one, torch.Tensor):
            found.append(one)
        elif isinstance(one, dict):
            todo += (
                [*one.keys(), *one.values(), *vars(one).values()]
                if hasattr(one, "__dict__")
                else [*one.keys(), *one.values()]
            )
        elif isinstance(one, (list, tuple, set)) or type(one).__name__ == "deque":
            todo += list(one)
        elif isinstance(one, np.ndarray) and one.dtype == object:
            todo += one.tolist()
        else:
            todo += list(getattr(one, "__dict__", {}).values())
            todo += [
                getattr(one, name)
                for kind in type(one).__mro__
                for name, member in vars(kind).items()
                if type(member).__name__ == "member_descriptor" and hasattr(one, name)
            ]
    return found


@pytest.mark.parametrize("name", [*SHAPES, "objects"])
def test_each_shape_comes_back_as_itself_with_its_tensors_on_the_cpu(name: str) -> None:
    value = {**SHAPES, "objects": _objects}[name]()
    before = tensors(value)
    moved = to_cpu(value)
    assert type(moved) is (torch.Tensor if isinstance(value, torch.Tensor) else type(value))
    after = tensors(moved)
    assert len(after) == len(before) or name == "bare"
    assert all(type(one) is torch.Tensor and not one.requires_grad for one in after)
    assert [id(one) for one in tensors(value)] == [id(one) for one in before]  # input as it was
    assert unpack(pack(moved, "it"), "it") is not None
    if name in ("array", "cpu"):
        assert moved is value


def test_cycles_and_sharing_are_kept_and_keys_stay_in_order() -> None:
    cycle = to_cpu(_cycle())
    assert cycle["me"][0] is cycle
    assert cycle["me"][1][0] is cycle
    shared = cuda([1.0])
    held: list[Any] = [shared, {"again": shared}, ()]
    first, second, _ = to_cpu(held)
    assert first is second["again"]
    knot: Any = ([], shared)
    knot[0].append(knot)
    untied = to_cpu(knot)
    assert untied[0][0] is untied
    assert list(to_cpu(OrderedDict(z=shared, a=1, m=shared))) == ["z", "a", "m"]
    counted = to_cpu(defaultdict(list, a=[shared]))
    assert counted["new"] == []


def test_what_holds_no_tensor_is_the_same_object_and_modules_stay_where_they_are() -> None:
    model = torch.nn.Linear(2, 2)
    untouched = {"names": ["a"], "lock": object()}
    moved = to_cpu({"model": model, "other": untouched, "depth": cuda([1.0])})
    assert moved["model"] is model
    assert all(one.requires_grad for one in model.parameters())
    assert moved["other"] is untouched


def test_dtypes_are_kept_and_numpy_is_given_on_request() -> None:
    for dtype in (torch.float16, torch.bfloat16, torch.int8, torch.bool, torch.complex64):
        assert to_cpu(torch.ones(2, dtype=dtype).as_subclass(CudaTensor)).dtype == dtype
        back = unpack(pack(torch.ones(2, 3, dtype=dtype).t(), "it"), "it")
        assert back.dtype == dtype
        assert torch.equal(back, torch.ones(3, 2, dtype=dtype))
    arrays = to_cpu(
        Prediction(cuda([1.0]), {"half": torch.ones(2, dtype=torch.bfloat16)}), numpy=True
    )
    assert arrays.depth.dtype == np.float32
    assert arrays.aux["half"].dtype == np.float32
    assert tensors(arrays) == []


def test_errors_and_structures_with_tensors_in_them_come_too() -> None:
    error = to_cpu(ValueError("bad", cuda([1.0])))
    assert type(error.args[1]) is torch.Tensor
    best = torch.max(torch.tensor([[1.0, 2.0]], requires_grad=True), dim=1)
    assert not to_cpu(best).values.requires_grad
    assert (
        type(to_cpu(Pair(Frozen(cuda([1.0])), Outputs(a=cuda([1.0])))).second.extra) is torch.Tensor
    )
    slots = to_cpu(Slots(cuda([1.0])))
    assert type(slots._Slots__hidden) is torch.Tensor
    assert not hasattr(slots, "unset")


def test_what_cannot_travel_is_refused_with_the_path_of_the_part() -> None:
    import threading

    class Local:
        pass

    deep = {"a": [Prediction(np.zeros(1), aux={"cache": {"lock": threading.Lock()}})]}
    with pytest.raises(
        NotPortable, match=r"predict\(\)\['a'\]\[0\]\.aux\['cache'\]\['lock'\] cannot"
    ):
        pack(deep, "predict()")
    with pytest.raises(NotPortable, match=r"it\[0\] cannot leave its process: a tensor on cuda"):
        pack([cuda([1.0])], "it")
    module = torch.nn.Linear(1, 1)
    module.weight = torch.nn.Parameter(cuda([[1.0]]))
    with pytest.raises(NotPortable, match=r"it\.\w*_parameters\['weight'\] cannot .* on cuda"):
        pack(module, "it")
    with pytest.raises(NotPortable, match="Local"):
        pack(Local(), "it")


def test_a_view_travels_without_the_storage_it_looks_into() -> None:
    big = torch.zeros(1_000_000)
    assert len(pack(big[:10], "it")) < 1000


def test_ten_thousand_levels_are_looked_through_and_refused_by_a_sentence() -> None:
    deep: list[Any] = []
    for _ in range(10_000):
        deep = [deep]
    assert _holders(deep, False) == set()
    assert to_cpu(deep) is deep
    with pytest.raises(NotPortable, match="it is nested too deeply"):
        pack(deep, "it")


_ALONE = """
import sys
import zerogpu
assert zerogpu.to_cpu({"a": [1]}) == {"a": [1]}
@zerogpu.gpu(duration=30)
def work(x): return x
assert work(2) == 2
bad = {"torch", "numpy", "gradio", "spaces", "devbox"} & set(sys.modules)
assert not bad, bad
"""


def test_the_folder_works_copied_alone_and_loads_nothing(tmp_path: Path) -> None:
    (tmp_path / "zerogpu").symlink_to(Path(devbox.__file__).parent / "zerogpu")
    subprocess.run([sys.executable, "-c", _ALONE], cwd=tmp_path, check=True, env={})
