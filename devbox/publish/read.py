"""A checkpoint file opened without executing it: torch's zip archive, or safetensors."""

from __future__ import annotations

import json
import os
import re
import struct
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple

from devbox.publish.pickle_reader import Reader
from devbox.publish.tensors import BY_CODE, Dtype, Storage, Tensor, Unreadable, check, contiguous

_MOST_PICKLE = 64 << 20
_MOST_HEADER = 100 << 20  # the format's own limit
_MOST_ENTRIES = 100_000
_LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # torch's magic number before 1.6
_KEY = re.compile(r"[0-9A-Za-z_]{1,64}")


class Checkpoint(NamedTuple):
    """root: its content, tensors as `Tensor`. foreign: classes of objects in it, by name. form:
    'torch' or 'safetensors'. file: open, for `tensors.blocks`. size: bytes."""

    root: object
    foreign: tuple[str, ...]
    form: str
    file: BinaryIO
    size: int


@contextmanager
def opened(path: Path) -> Iterator[Checkpoint]:
    """Unreadable says what it is instead, or why it is unsafe."""
    if not path.is_file():
        raise Unreadable("it is no file" if path.exists() else "there is no such file")
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        start = file.read(16)
        if not start:
            raise Unreadable("it is empty")
        if start.startswith(b"PK\x03\x04"):
            root, foreign = _archive(file, size)
            yield Checkpoint(root, foreign, "torch", file, size)
        elif start.startswith(_LEGACY[:15]):
            raise Unreadable(
                "it is in torch's format from before version 1.6, which is not read here: save it "
                "again with torch.save from where you trust it"
            )
        elif len(start) >= 9 and start[8:9] == b"{":
            yield Checkpoint(_safetensors(file, size), (), "safetensors", file, size)
        else:
            raise Unreadable("it is neither a file of torch.save nor safetensors")


def _archive(file: BinaryIO, size: int) -> tuple[object, tuple[str, ...]]:
    try:
        with zipfile.ZipFile(file) as archive:
            if any(name.endswith("/constants.pkl") for name in archive.namelist()):
                raise Unreadable("it is a TorchScript program, not weights")
            entries = _entries(archive, size)
            top = _top(entries)
            if (
                f"{top}byteorder" in entries
                and _small(archive, entries[f"{top}byteorder"]) == b"big"
            ):
                raise Unreadable("its tensors are of a big-endian machine")
            pickled = entries[f"{top}data.pkl"]
            if pickled.file_size > _MOST_PICKLE:
                raise Unreadable(f"its pickle is over {_MOST_PICKLE >> 20} MB")
            data = archive.read(pickled)
        places = {name: _begins(file, entry) for name, entry in entries.items()}
    except (zipfile.BadZipFile, zipfile.LargeZipFile, EOFError, struct.error, ValueError) as error:
        raise Unreadable(f"its zip archive is broken or cut off: {str(error)[:100]}") from None
    except (NotImplementedError, RuntimeError) as error:  # why: zipfile's, of a method or password
        raise Unreadable(f"its zip archive is none of torch.save: {str(error)[:100]}") from None

    def find(key: str, dtype: Dtype | None, count: int) -> Storage:
        name = f"{top}data/{key}"
        if not _KEY.fullmatch(key) or name not in entries:
            raise Unreadable(f"the bytes of a tensor are not in it: {key[:60]!r}")
        held = entries[name].file_size
        if count * (dtype.size if dtype else 1) > held:
            raise Unreadable(f"a tensor's storage declares {count:,} elements in {held:,} bytes")
        return Storage(key, places[name], held, dtype)

    reader = Reader(data, find)
    return reader.root, tuple(sorted(reader.foreign))


def _entries(archive: zipfile.ZipFile, size: int) -> dict[str, zipfile.ZipInfo]:
    """By name. torch.save compresses nothing, so that no entry is larger than the file."""
    listed = archive.infolist()
    if len(listed) > _MOST_ENTRIES:
        raise Unreadable(f"its zip archive has over {_MOST_ENTRIES:,} entries")
    found: dict[str, zipfile.ZipInfo] = {}
    for entry in listed:
        if entry.compress_type != zipfile.ZIP_STORED or entry.compress_size != entry.file_size:
            raise Unreadable("its zip archive is compressed, which torch.save never does")
        if entry.flag_bits & 1:
            raise Unreadable("its zip archive is encrypted")
        parts = entry.filename.split("/")
        if entry.filename.startswith("/") or "\\" in entry.filename or ".." in parts:
            raise Unreadable(f"its zip archive has an entry outside it: {entry.filename[:80]!r}")
        if entry.filename in found:
            raise Unreadable(f"its zip archive has two entries {entry.filename[:80]!r}")
        found[entry.filename] = entry
    if sum(entry.file_size for entry in listed) > size:
        raise Unreadable("entries of its zip archive overlap, or reach past its end")
    return found


def _top(entries: dict[str, zipfile.ZipInfo]) -> str:
    tops = [name[: -len("data.pkl")] for name in entries if name.endswith("/data.pkl")]
    if len(tops) != 1 or tops[0].count("/") != 1:
        raise Unreadable("it is a zip archive, and not one of torch.save")
    return tops[0]


def _small(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    return archive.read(entry).strip() if entry.file_size < 100 else b""


def _begins(file: BinaryIO, entry: zipfile.ZipInfo) -> int:
    """Where an entry's bytes begin in the file: after its own header, which has its own lengths."""
    file.seek(entry.header_offset)
    header = file.read(30)
    if len(header) < 30 or header[:4] != b"PK\x03\x04":
        raise Unreadable("its zip archive is broken: an entry is not where it should be")
    name, extra = struct.unpack("<HH", header[26:30])
    return int(entry.header_offset + 30 + name + extra)


def _safetensors(file: BinaryIO, size: int) -> dict[str, Tensor]:
    file.seek(0)
    (length,) = struct.unpack("<Q", file.read(8))
    if length > min(_MOST_HEADER, size - 8):
        raise Unreadable("its header is longer than the file, or over 100 MB")
    try:
        header = json.loads(file.read(length), object_pairs_hook=_once)
    except (ValueError, RecursionError):
        raise Unreadable("its header is no JSON") from None
    if not isinstance(header, dict):
        raise Unreadable("its header is no JSON object")
    header.pop("__metadata__", None)
    found: dict[str, Tensor] = {}
    begin = 8 + length
    for name, entry in header.items():
        try:
            dtype, shape = BY_CODE[entry["dtype"]], tuple(entry["shape"])
            first, end = entry["data_offsets"]
            if any(type(n) is not int or n < 0 for n in (*shape, first, end)) or end < first:
                raise ValueError(name)
        except (KeyError, TypeError, ValueError):
            raise Unreadable(f"its header describes {name[:80]!r} in no known way") from None
        tensor = Tensor(
            dtype, shape, contiguous(shape), 0, Storage(name, begin + first, end - first, dtype)
        )
        if tensor.size != end - first or begin + end > size:
            raise Unreadable(f"{name[:80]!r} has another size than its header declares")
        found[name] = check(tensor)
    return found


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name is there twice")
    return found
