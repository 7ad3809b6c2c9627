"""The build context as BuildKit asks for it: a list of what there is, then only the files whose
size, mode or time differ from what the engine kept of the last build.

The wire format is fsutil's (types/wire.proto, stat.proto): packets that list, ask, carry, end.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from devbox.images.context import Context
from devbox.images.protobuf import field, fields, number

METHOD = "/moby.filesync.v1.FileSync/DiffCopy"
_STAT, _REQUEST, _DATA, _END, _ERROR = range(5)
_TYPE, _ENTRY, _ID, _CONTENT = 1, 2, 3, 4  # of Packet
_FOLDER, _SYMLINK = 1 << 31, 1 << 27  # of Go's file modes
_BLOCK = 32 * 1024
_SECOND = 10**9
_EARLIEST = 946_684_800  # 2000-01-01


class Entry(NamedTuple):
    """path: relative. mode: of Go's os. read: its content in blocks, for a plain file."""

    path: str
    mode: int
    size: int
    mtime_ns: int
    link: str = ""
    read: Callable[[], Iterator[bytes]] | None = None


Folders = Mapping[str, list[Entry]]


def folders(context: Context, dockerfile: str, name: str) -> Folders:
    """What the engine may ask for: the context, and the folder of the Dockerfile, which holds
    only that, under `name`."""
    return {
        "context": _entries(context),
        "dockerfile": _ordered({name: _made(name, dockerfile.encode())}),
    }


class Sender:
    """One conversation. `told` takes a packet of the engine, `next` gives what is to be sent.
    over: the engine has all it wanted."""

    def __init__(self, entries: list[Entry], only: frozenset[str]) -> None:
        """only: patterns of paths that are wanted; empty for all. Names without wildcards are
        taken at their word, others give everything: more than asked for is allowed."""
        plain = only and not any(set("*?[!") & set(path) for path in only)
        self._entries = [each for each in entries if not plain or _wanted(each.path, only)]
        self._pending: list[Iterator[bytes]] = [self._list()]
        self.over = False

    def told(self, packet: bytes) -> None:
        found = dict(fields(packet))
        kind = number(found.get(_TYPE))
        if kind == _REQUEST:
            index = number(found.get(_ID))
            if index < len(self._entries):
                self._pending.append(self._file(index))
        elif kind == _END:
            self._pending.append(iter([_packet(_END)]))
            self.over = True
        elif kind == _ERROR:
            self.over = True

    def next(self) -> bytes | None:
        """The next packet to send, None when the engine has to speak first."""
        while self._pending:
            packet = next(self._pending[0], None)
            if packet is not None:
                return packet
            del self._pending[0]
        return None

    def _list(self) -> Iterator[bytes]:
        for entry in self._entries:
            stat = (
                field(1, entry.path.encode(errors="surrogateescape"))
                + field(2, entry.mode)
                + field(5, entry.size)
                + field(6, entry.mtime_ns)
                + (field(7, entry.link.encode(errors="surrogateescape")) if entry.link else b"")
            )
            yield _packet(_STAT, field(_ENTRY, stat))
        yield _packet(_STAT)

    def _file(self, index: int) -> Iterator[bytes]:
        read = self._entries[index].read
        for block in read() if read else ():
            yield _packet(_DATA, field(_ID, index) + field(_CONTENT, block))
        yield _packet(_DATA, field(_ID, index))


def _packet(kind: int, rest: bytes = b"") -> bytes:
    return (field(_TYPE, kind) if kind else b"") + rest


def _entries(context: Context) -> list[Entry]:
    found: dict[str, Entry] = {}
    for file in context.files:
        if file.link:
            mode, size = _SYMLINK | 0o777, len(file.link)
            found[file.path] = Entry(file.path, mode, size, file.mtime_ns, file.link)
        else:
            mode = 0o755 if file.executable else 0o644
            read = _reader(file.source)
            found[file.path] = Entry(file.path, mode, file.size, file.mtime_ns, "", read)
    found.update({path: _made(path, content) for path, content in context.extra.items()})
    return _ordered(found)


def _made(path: str, content: bytes) -> Entry:
    """A file that devbox made. Its time is made from its content: another content of the same
    size must not pass for the old one."""
    digest = int.from_bytes(hashlib.sha256(content).digest()[:4], "big")
    mtime = (_EARLIEST + digest % (10 * 365 * 86400)) * _SECOND
    return Entry(path, 0o644, len(content), mtime, "", lambda: _blocks(content))


def _ordered(files: Mapping[str, Entry]) -> list[Entry]:
    """With the folders above them, each before what it holds, as fsutil wants it."""
    above: dict[str, int] = {}
    for path, entry in files.items():
        parts = path.split("/")
        for count in range(1, len(parts)):
            folder = "/".join(parts[:count])
            above[folder] = max(above.get(folder, 0), entry.mtime_ns)
    everything = {
        **{path: Entry(path, _FOLDER | 0o755, 0, mtime) for path, mtime in above.items()},
        **files,
    }
    return sorted(
        everything.values(), key=lambda each: each.path.encode(errors="surrogateescape").split(b"/")
    )


def _wanted(path: str, only: frozenset[str]) -> bool:
    return any(each == path or each.startswith(f"{path}/") for each in only) or any(
        path.startswith(f"{each}/") for each in only
    )


def _reader(source: str) -> Callable[[], Iterator[bytes]]:
    def read() -> Iterator[bytes]:
        with open(source, "rb") as stream:
            while block := stream.read(_BLOCK):
                yield block

    return read


def _blocks(content: bytes) -> Iterator[bytes]:
    for at in range(0, len(content), _BLOCK):
        yield content[at : at + _BLOCK]
