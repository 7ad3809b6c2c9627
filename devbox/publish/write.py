"""The weights alone, as safetensors and as torch.save writes them: contiguous, nothing shared, from
the file's own bytes. The same weights give the same bytes, so that an upload of what is there
already changes nothing."""

from __future__ import annotations

import json
import pickle
import struct
import zipfile
from pathlib import Path
from typing import BinaryIO

from devbox.publish.tensors import Tensor, blocks, contiguous

_ALIGNED = 64
_EPOCH = (1980, 1, 1, 0, 0, 0)
_ZIP64 = 1 << 31


def safetensors(path: Path, tensors: dict[str, Tensor], source: BinaryIO) -> None:
    """In the order of the format's own library: larger elements first, so that all are aligned."""
    ordered = sorted(tensors.items(), key=lambda item: (-item[1].dtype.size, item[0]))
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    at = 0
    for name, tensor in ordered:
        end = at + tensor.size
        header[name] = {
            "dtype": tensor.dtype.code,
            "shape": list(tensor.shape),
            "data_offsets": [at, end],
        }
        at = end
    data = json.dumps(header, separators=(",", ":")).encode()
    data += b" " * (-len(data) % 8)
    with path.open("wb") as out:
        out.write(struct.pack("<Q", len(data)) + data)
        for _, tensor in ordered:
            for block in blocks(source, tensor):
                out.write(block)


def torch_file(path: Path, tensors: dict[str, Tensor], source: BinaryIO) -> None:
    """What torch.save writes of an OrderedDict of tensors; `weights_only` loads it."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        _entry(archive, "data.pkl", [_pickled(tensors)])
        _entry(archive, "byteorder", [b"little"])
        for number, tensor in enumerate(tensors.values()):
            _entry(archive, f"data/{number}", blocks(source, tensor), tensor.size)
        _entry(archive, "version", [b"3\n"])


def _entry(archive: zipfile.ZipFile, name: str, data: object, size: int = 0) -> None:
    info = zipfile.ZipInfo(f"pytorch_model/{name}", _EPOCH)
    info.file_size, info.create_system = size, 3
    large = size >= _ZIP64
    assert archive.fp is not None
    # torch maps a file into memory by entries that begin at a multiple of this.
    begin = archive.fp.tell() + 30 + len(info.filename) + 4 + (20 if large else 0)
    gap = -begin % _ALIGNED
    info.extra = b"FB" + struct.pack("<H", gap) + b"Z" * gap
    with archive.open(info, "w", force_zip64=large) as out:
        for block in data:  # type: ignore[attr-defined]
            out.write(block)


def _pickled(tensors: dict[str, Tensor]) -> bytes:
    ordered = b"ccollections\nOrderedDict\n)R"
    out = [b"\x80\x02", ordered, b"("]
    for number, (name, tensor) in enumerate(tensors.items()):
        typed = tensor.dtype.storage
        build = "_rebuild_tensor_v2" if typed else "_rebuild_tensor_v3"
        kind = f"ctorch\n{typed}\n" if typed else "ctorch.storage\nUntypedStorage\n"
        held = tensor.elements if typed else tensor.size
        out += [_text(name), f"ctorch._utils\n{build}\n((".encode(), _text("storage")]
        out += [kind.encode(), _text(str(number)), _text("cpu"), _number(held), b"tQ"]
        out += [_number(0), _numbers(tensor.shape), _numbers(contiguous(tensor.shape))]
        out += [b"\x89", ordered]
        out += [] if typed else [f"ctorch\n{tensor.dtype.name}\n".encode()]
        out += [b"tR"]
    return b"".join([*out, b"u."])


def _text(value: str) -> bytes:
    data = value.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def _numbers(values: tuple[int, ...]) -> bytes:
    return b"(" + b"".join(map(_number, values)) + b"t"


def _number(value: int) -> bytes:
    if value < 1 << 31:
        return b"J" + struct.pack("<i", value)
    data = pickle.encode_long(value)
    return b"\x8a" + bytes([len(data)]) + data
