"""Checkpoints are read without being executed, whatever is in them."""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import nn

from devbox.publish import read, weights, write
from devbox.publish.tensors import Unreadable
from devbox.publish.weights import Weights
from tests.publish.files import Tiny, save, training


def looked(path: Path) -> Weights:
    with read.opened(path) as checkpoint:
        return weights.find(checkpoint)


class Evil:
    """Runs a command when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (f"touch {self.marker}",)


def with_pickle(path: Path, data: bytes, **entries: bytes) -> Path:
    """An archive as torch.save makes them, around a pickle of ours."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", data)
        archive.writestr("a/version", b"3\n")
        for name, content in entries.items():
            archive.writestr(f"a/data/{name.strip('_')}", content)
    return path


def test_a_pickle_that_runs_code_is_refused_and_never_run(home: Path) -> None:
    marker = home / "ran"
    for number, value in enumerate(
        (Evil(marker), {"w": torch.zeros(3), "x": Evil(marker)}, [Evil(marker)])
    ):
        path = save(home / f"{number}.pth", value)
        with pytest.raises(Unreadable, match="would run code when it is loaded"):
            looked(path)
    raw = with_pickle(home / "raw.pth", pickle.dumps(Evil(marker), protocol=0))
    with pytest.raises(Unreadable, match="run code"):
        looked(raw)
    for code in (b"(S'touch x'\nios\nsystem\n.", b"\x80\x02(cos\nsystem\nS'touch x'\no."):
        with pytest.raises(Unreadable, match=r"torch.save never does|run code"):
            looked(with_pickle(home / "raw.pth", code))
    assert not marker.exists()
    torch.load(home / "0.pth", weights_only=False)  # what it would have done
    assert marker.exists()


@pytest.mark.parametrize(
    "code",
    [
        b"cbuiltins\neval\n(S'1'\ntR.",
        b"cbuiltins\ngetattr\n)R.",
        b"\x80\x04\x8c\x05posix\x8c\x06system\x93(S'x'\ntR.",
        b"ctorch.hub\nload\n(S'x'\ntR.",
        b"ctorch.storage\n_load_from_bytes\n(S'x'\ntR.",
        b"cmypackage\nrun\n)R.",
        b"crunpy\n_run_code\n.",
        b"(cbuiltins\nlist\nS'a'\nS'b'\ndb.",
        b"\x80\x02\x82\x01.",
        b"(dS'a'\nccollections\nOrderedDict\n)\x81}S'__class__'\ncos\nsystem\nsbs.",
    ],
)
def test_names_of_code_are_not_looked_for(home: Path, code: bytes) -> None:
    with pytest.raises(Unreadable):
        looked(with_pickle(home / "x.pth", code))


BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "empty": (lambda p: p.write_bytes(b""), "it is empty"),
    "text": (lambda p: p.write_bytes(b"hello"), "neither a file of torch.save nor safetensors"),
    "list": (lambda p: save(p, [torch.zeros(3)]), "it holds a list"),
    "nothing": (lambda p: save(p, {}), "no weights"),
    "no tensors": (lambda p: save(p, {"epoch": 1, "lr": 0.1}), "no weights"),
    "optimizer": (
        lambda p: save(p, {"optimizer_state_dict": {"state": {0: torch.zeros(3)}}}),
        "no weights",
    ),
    "buffers": (lambda p: save(p, {"inv_freq": torch.zeros(3)}), "holds no parameters"),
    "zero": (lambda p: save(p, {"w": torch.zeros(0)}), "holds no parameters"),
    "module": (lambda p: save(p, nn.Linear(2, 2)), "whole pickled torch.nn.modules.linear.Linear"),
    "module inside": (lambda p: save(p, {"model": nn.Linear(2, 2)}), "whole pickled torch.nn"),
    "tensor": (lambda p: save(p, torch.zeros(3)), "it holds a tensor"),
    "sparse": (lambda p: save(p, {"w": torch.eye(3).to_sparse()}), "cannot be published"),
    "older": (
        lambda p: torch.save({"w": torch.zeros(3)}, p, _use_new_zipfile_serialization=False),
        "before version 1.6",
    ),
    "script": (
        lambda p: torch.jit.save(torch.jit.trace(nn.Linear(2, 2), torch.zeros(1, 2)), p),
        "TorchScript",
    ),
    "other zip": (lambda p: zipfile.ZipFile(p, "w").writestr("x.txt", "hello"), "broken|not one"),
    "expanded": (
        lambda p: save(p, {"w": torch.zeros(1).expand(10**12)}),
        "declares 1,000,000,000,000 elements, and its storage holds 1",
    ),
    "header too long": (lambda p: p.write_bytes(struct.pack("<Q", 1 << 60) + b"{}"), "header"),
    "no json": (lambda p: p.write_bytes(struct.pack("<Q", 2) + b"{,"), "no JSON"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_is_no_state_dict_is_refused(home: Path, case: str) -> None:
    make, said = BROKEN[case]
    path = home / "x.pth"
    made = make(path)
    if isinstance(made, zipfile.ZipFile):
        made.close()
    with pytest.raises(Unreadable, match=said):
        looked(path)


def test_a_file_cut_anywhere_is_refused(home: Path) -> None:
    whole = save(home / "x.pth", training(Tiny())).read_bytes()
    safetensors.torch.save_file({"w": torch.zeros(9)}, home / "x.safetensors")
    small = (home / "x.safetensors").read_bytes()
    for data in (whole, small):
        for at in range(0, len(data), max(1, len(data) // 37)):
            path = home / "cut"
            path.write_bytes(data[:at])
            with pytest.raises(Unreadable):
                looked(path)


def test_damage_raises_nothing_else(home: Path) -> None:
    whole = save(home / "x.pth", {"w": torch.zeros(3, 2), "v": torch.zeros(2)}).read_bytes()
    begin, end = whole.index(b"\x80\x02"), whole.index(b"PK", 100)
    for at in range(begin, end, 3):
        for value in (0, 46, 82, 98, 255):
            path = home / "damaged"
            path.write_bytes(whole[:at] + bytes([value]) + whole[at + 1 :])
            try:
                looked(path)
            except Unreadable:
                continue


def test_zip_tricks_are_refused(home: Path) -> None:
    path = home / "x.pth"
    good = save(home / "good.pth", {"w": torch.zeros(3)})
    with zipfile.ZipFile(good) as archive:
        held = {name: archive.read(name) for name in archive.namelist()}

    def tricked(extra: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> None:
        with zipfile.ZipFile(path, "w", method) as archive:
            for name, data in held.items():
                archive.writestr(name, data)
            for name, data in extra.items():
                archive.writestr(name, data)

    tricked({})
    assert looked(path).parameters == 3
    for extra, said in (
        ({"../../evil": b"x"}, "outside it"),
        ({"/etc/evil": b"x"}, "outside it"),
        ({"b/data.pkl": b"x"}, "not one of torch.save"),
    ):
        tricked(extra)
        with pytest.raises(Unreadable, match=said):
            looked(path)
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(path, "a") as archive:
        archive.writestr("b/data.pkl", b"x")
    with pytest.raises(Unreadable, match="two entries"):
        looked(path)
    tricked({"bomb": bytes(50 << 20)}, zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 1 << 20
    with pytest.raises(Unreadable, match="compressed"):
        looked(path)


def test_sizes_that_are_declared_and_not_there_are_refused(home: Path) -> None:
    storage = b"((X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\0%sX\x03\0\0\0cpuL%dL\ntQ"
    rest = b"K\0(L%dL\nt(K\1t\x89NtR"
    make = b"\x80\x02}X\x01\0\0\0wctorch._utils\n_rebuild_tensor_v2\n"
    for key, count, shape, said in (
        (b"0", 2, 10**15, "declares 1,000,000,000,000,000 elements"),
        (b"0", 10**15, 2, "declares 1,000,000,000,000,000 elements in 8 bytes"),
        (b"9", 2, 2, "bytes of a tensor are not in it"),
        (b"/", 2, 2, "bytes of a tensor are not in it"),
    ):
        data = make + storage % (key, count) + rest % shape + b"s."
        with pytest.raises(Unreadable, match=said):
            looked(with_pickle(home / "x.pth", data, _0=bytes(8)))
    data = make + storage % (b"0", 2) + rest % 2 + b"s."
    assert looked(with_pickle(home / "x.pth", data, _0=bytes(8))).parameters == 2


def test_nesting_and_references_do_not_exhaust_anything(home: Path) -> None:
    deep = b"\x80\x02" + b"(" * 100_000 + b"t" * 100_000 + b"."
    laughs = b"\x80\x02]q\0" + b"".join(
        b"(h%sh%slq%s" % (bytes([i]), bytes([i]), bytes([i + 1])) for i in range(200)
    )
    itself = b"\x80\x02}q\0X\x01\0\0\0ah\0s."
    twins = b"\x80\x02}q\0" + b"".join(
        b"}(X\1\0\0\0ah%sX\1\0\0\0bh%suq%s" % (bytes([i]), bytes([i]), bytes([i + 1]))
        for i in range(30)
    )
    for data in (deep, laughs + b".", itself, twins + b"."):
        with pytest.raises(Unreadable):
            looked(with_pickle(home / "x.pth", data))


def test_safetensors_that_overlap_or_lie_are_refused(home: Path) -> None:
    def made(entry: Any, data: bytes = bytes(12)) -> Path:
        header = json.dumps({"w": entry}).encode()
        path = home / "x.safetensors"
        path.write_bytes(struct.pack("<Q", len(header)) + header + data)
        return path

    good = {"dtype": "F32", "shape": [3], "data_offsets": [0, 12]}
    assert looked(made(good)).parameters == 3
    for change in (
        {"dtype": "F33"},
        {"shape": [10**12]},
        {"shape": [-1, -3]},
        {"shape": [1.5]},
        {"data_offsets": [0, 1 << 60]},
        {"data_offsets": [12, 0]},
        {"shape": None},
    ):
        with pytest.raises(Unreadable):
            looked(made({**good, **change}))
    with pytest.raises(Unreadable):
        looked(made([1]))


def test_counts_are_those_of_torch(home: Path) -> None:
    model = Tiny()
    found = looked(save(home / "x.pth", training(model)))
    assert found.parameters == sum(p.numel() for p in model.parameters()) == 20
    assert (found.buffers, found.kind, found.at) == (5, "full", "model_state_dict")
    assert found.left == {"optimizer_state_dict": 2 * 20 + 3}
    for value in (
        model.state_dict(),
        {"module." + k: v for k, v in model.state_dict().items()},
        {"module._orig_mod." + k: v for k, v in model.state_dict().items()},
        {"state_dict": {"model": model.state_dict()}},
        {"model": {"head": model.head.state_dict(), "scale": model.scale.data}, "n": 3},
        {"model": {**model.state_dict(), "version": 3}},
        {"ema": model.state_dict(), **model.state_dict()},
        {"model": list(model.parameters()) and dict(model.named_parameters())},
    ):
        assert looked(save(home / "x.pth", value)).parameters == 20
    tied = {"a": model.scale.data, "b": model.scale.data, "c": model.scale.data[1:]}
    found = looked(save(home / "x.pth", tied))
    assert (found.parameters, found.tied) == (9, ("b",))
    assert looked(save(home / "x.pth", {"model": {**model.state_dict(), "step": 3}})).ignored == (
        "step",
    )


def test_a_config_object_beside_the_weights_is_left_alone(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(home))
    (home / "finetune_config_x.py").write_text(
        "class Config:\n"
        "    def __init__(self): self.rank = 8\n"
        "    def __setstate__(self, state): raise SystemExit('executed')\n"
    )
    import importlib

    config = importlib.import_module("finetune_config_x").Config()
    path = save(home / "x.pth", {"lora_state_dict": lora(), "config": config, "epoch": 1})
    with read.opened(path) as checkpoint:
        assert checkpoint.foreign == ("finetune_config_x.Config",)
        assert weights.find(checkpoint).kind == "adapters"


def test_weights_in_a_dict_of_a_projects_own_class_are_found(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(home))
    (home / "finetune_dict_x.py").write_text("class State(dict): pass\n")
    import importlib

    kept = training(Tiny())
    found = looked(
        save(home / "x.pth", importlib.import_module("finetune_dict_x").State(kept, ema=lora()))
    )
    assert (found.parameters, found.at) == (20, "model_state_dict")
    assert found.left == {**looked(save(home / "y.pth", kept)).left, "ema": 44}


def lora(rank: int = 2, other: int | None = None) -> dict[str, torch.Tensor]:
    return {
        "a.lora_A": torch.zeros(rank, 6),
        "a.lora_B": torch.zeros(5, rank),
        "b.lora_A": torch.zeros(other or rank, 6),
        "b.lora_B": torch.zeros(5, other or rank),
    }


def test_adapters_are_judged_by_pairs_and_one_rank(home: Path) -> None:
    def found(value: object) -> Weights:
        return looked(save(home / "x.pth", value))

    alone = found({"lora_state_dict": lora(), "lora_config": {"alpha": 16, "x": object}})
    assert (alone.kind, alone.adapters, alone.parameters) == ("adapters", 44, 0)
    assert (alone.pairs, alone.ranks, alone.faults) == (2, (2,), ())
    assert alone.lora_config == {"alpha": 16}
    base = {"a.base_layer.weight": torch.zeros(5, 6), "b.base_layer.weight": torch.zeros(5, 6)}
    both = found({"model_state_dict": {**base, **lora()}, "lora_state_dict": lora()})
    assert (both.kind, both.parameters, both.adapters) == ("full with adapters", 60, 44)
    assert both.left == {"lora_state_dict": 44}
    assert "several ranks: 2, 3" in found(lora(2, 3)).faults[0]
    lone = {k: v for k, v in lora().items() if k != "b.lora_B"}
    assert found(lone).faults == ("b has lora_A alone",)
    crossed = {**lora(), "a.lora_B": torch.zeros(5, 3)}
    assert "no common rank" in found(crossed).faults[0]
    assert "do not fit its weight" in found({**lora(), "a.weight": torch.zeros(7, 7)}).faults[0]
    peft = {f"{k}.default.weight": v for k, v in lora().items()}
    assert found(peft).pairs == 2


DTYPES = (
    *(torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32),
    *(torch.int16, torch.int8, torch.uint8, torch.bool, torch.complex64, torch.float8_e4m3fn),
    *(torch.float8_e5m2, torch.uint16, torch.uint32, torch.uint64),
)


def test_what_is_written_is_what_torch_and_safetensors_read(home: Path) -> None:
    given: dict[str, torch.Tensor] = {}
    for dtype in DTYPES:
        whole = torch.arange(60).reshape(3, 4, 5).to(dtype)
        given |= {f"{dtype}": whole, f"{dtype}.t": whole.transpose(0, 2)}
        given |= {f"{dtype}.part": whole[1:, ::2, 1:3]}
    given |= {"none": torch.zeros(0, 3), "one": torch.tensor(3.5)}
    given |= {"odd strides": torch.arange(5.0).reshape(5, 1).t(), "shared": given["torch.float32"]}
    source = save(home / "x.pth", given)
    with read.opened(source) as checkpoint:
        tensors = weights.find(checkpoint).tensors
        write.torch_file(home / "m.bin", tensors, checkpoint.file)
        write.safetensors(home / "m.safetensors", tensors, checkpoint.file)
    for loaded in (
        torch.load(home / "m.bin", weights_only=True),
        torch.load(home / "m.bin", weights_only=True, mmap=True),
        safetensors.torch.load_file(home / "m.safetensors"),
    ):
        assert set(loaded) == set(given)
        for name, tensor in given.items():
            assert loaded[name].dtype == tensor.dtype
            assert loaded[name].shape == tensor.shape
            assert loaded[name].is_contiguous()
            assert loaded[name].flatten().view(torch.uint8).tolist() == (
                tensor.flatten().view(torch.uint8).tolist()
            ), name
    places = [t.untyped_storage().data_ptr() for t in torch.load(home / "m.bin").values()]
    assert len({p for p in places if p}) == len([p for p in places if p])
    assert looked(home / "m.bin").parameters == looked(home / "m.safetensors").parameters


def test_random_bytes_raise_nothing_else(home: Path) -> None:
    from random import Random

    random = Random(1)
    for _ in range(300):
        data = bytes(random.choice(b"()]}.RbscX\x80\x02q\0KMt\x85\x86\x81ed") for _ in range(40))
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr("a/data.pkl", data)
        path = home / "x.pth"
        path.write_bytes(buffer.getvalue())
        with pytest.raises(Unreadable):
            looked(path)
