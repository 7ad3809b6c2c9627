"""Asking the box half about the files of its box. All of what it answers is bounded and checked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, TypeVar

from devbox.errors import SyncError
from devbox.ignore.defaults import ARRIVING
from devbox.ignore.rules import Rules
from devbox.ignore.tree import Entry
from devbox.model import Box
from devbox.process import Completed
from devbox.remote import agent_bootstrap
from devbox.remote.exec import Program
from devbox.sync.baseline import names
from devbox.text import clean
from devbox.wire import files
from devbox.wire.codec import Unreadable, decode, encode

#: A tree with more files than this is not compared, and a longer answer is not read.
MAX_FILES = 2_000_000
#: Bounds of the look outside the synced folder: files, seconds on the box, files named.
OUTSIDE_MOST, OUTSIDE_SECONDS, OUTSIDE_NAMED = 20_000, 5.0, 200
_MAX_SIZE = 1 << 62
_SECONDS = 600.0
M = TypeVar("M", bound=NamedTuple)


class Listing(NamedTuple):
    """files: path → entry. about: the rest of what the box said, such as its clock. largest: those
    outside, relative to the login folder, not more than the box was asked to name."""

    files: dict[bytes, Entry]
    about: files.Listed
    largest: dict[bytes, Entry]


def list_files(box: Box, folder: str, rules: Rules) -> Listing:
    """Every file and symlink under `folder` on the box that `rules` keep. SshError when the box
    cannot be reached, SyncError when it has too many files or answers nonsense."""
    return parse(Asking(box, "list").answer(_list_request(folder, rules)), box.name)


def look(
    box: Box, folder: str, paths: Iterable[bytes], asking: Asking | None = None
) -> dict[bytes, Entry]:
    """Those of `paths` that are files or symlinks on the box. asking: one for 'look' that was
    started early. Raises as `list_files`."""
    wanted = set(paths)
    request = files.LookAt(folder, names(sorted(wanted)))
    found = parse((asking or Asking(box, "look")).answer(request), box.name).files
    return {path: found[path] for path in found.keys() & wanted}


def survey(box: Box, folder: str, rules: Rules) -> tuple[Listing, files.Outside]:
    """`list_files`, and what `rules` keep elsewhere in the login folder and the workdir (without
    hidden entries at their top and without other file systems), in one trip. Raises as
    `list_files`."""
    tops = (".", *([box.workdir] if box.workdir.startswith("/") else []))
    bounds = files.Elsewhere(tops, OUTSIDE_MOST, OUTSIDE_SECONDS, OUTSIDE_NAMED)
    request = _list_request(folder, rules)._replace(elsewhere=bounds)
    listing = parse(Asking(box, "list").answer(request), box.name)
    outside = listing.about.outside
    if outside is None:
        raise SyncError(
            "the box did not say what lies outside the work folder", fix=f"devbox doctor {box.name}"
        )
    return listing, outside


def digests(box: Box, folder: str, paths: Iterable[bytes]) -> dict[bytes, str]:
    """Content hashes (blake2b, 16 bytes, hex) of files on the box; unreadable ones are left out."""
    wanted = {path.decode("latin-1"): path for path in paths}
    told = _ask(box, "digest", files.DigestFiles(folder, tuple(wanted)), files.Digests)
    return {wanted[name]: found for name, found in told.found.items() if name in wanted}


def delete(
    box: Box, folder: str, paths: Iterable[bytes], folders: Iterable[bytes] = ()
) -> set[bytes]:
    """Delete exactly these files on the box, then those of their folders, and of all in `folders`,
    that are empty. The files that are gone now."""
    wanted = {path.decode("latin-1"): path for path in paths}
    if not wanted:
        return set()
    request = files.DeleteFiles(folder, tuple(wanted), names(folders))
    told = _ask(box, "delete", request, files.Deleted)
    return {wanted[name] for name in told.names if name in wanted}


def stamp(
    box: Box,
    folder: str,
    since: float | None,
    pushed: Mapping[bytes, int],
    exclude: Sequence[str],
    asking: Asking | None = None,
) -> int:
    """Tell the box what the laptop knows of: everything there up to `since` (unix seconds of the
    box's clock; None leaves it, or on the first sync says 'now' if nothing else lies there), and
    the `pushed` (path → mtime ns). asking: one for 'stamp' that was started early. The time in
    force, ns of the box's clock."""
    known = {
        path.decode("latin-1"): mtime for path, mtime in pushed.items() if abs(mtime) < _MAX_SIZE
    }
    request = files.SetBaseline(folder, since, known, tuple(exclude), f"{folder}/{ARRIVING}")
    return int(_ask(box, "stamp", request, files.BaselineTime, asking).t * 1e9)


def parse(answer: bytes, name: str = "") -> Listing:
    """An answer to `list` or `look`. Names that would leave the folder are an error. name: the
    box's, for its text."""
    fix = f"devbox doctor {name}".strip()
    *records, end = answer.split(b"\0")
    about = _decoded(end, files.Listed, fix)
    found: dict[bytes, Entry] = {}
    largest: dict[bytes, Entry] = {}
    left = iter(records)
    for record in left:
        path, entry = _entry(record, fix)
        if entry.kind == "o":
            largest[path] = entry._replace(kind="f")
        elif entry.kind == "l":
            found[path] = entry._replace(target=next(left, b""))
        else:
            found[path] = entry
    if about.more or len(found) > MAX_FILES:
        raise SyncError(
            f"the box has more than {MAX_FILES:,} files in its workdir",
            fix="leave folders out with sync.exclude in devbox.toml",
        )
    return Listing(found, about, largest)


def _list_request(folder: str, rules: Rules) -> files.ListFiles:
    return files.ListFiles(folder, *rules.regexes(), MAX_FILES)


def _entry(record: bytes, fix: str) -> tuple[bytes, Entry]:
    kind, size, mtime, path = [*record.split(b" ", 3), b"", b"", b""][:4]
    usable = (
        kind in (b"f", b"l", b"o")
        and size.isdigit()
        and mtime.removeprefix(b"-").isdigit()
        and len(size) < 20
        and len(mtime) < 21
        and 0 < len(path) < 4096
        and not {b"", b".", b".."} & set(path[kind == b"o" and path[:1] == b"/" :].split(b"/"))
    )
    if not usable:
        raise SyncError(
            f"the box sent a file name that cannot be: {clean(repr(path[:80]), 90)}",
            means="nothing was changed",
            fix=fix,
        )
    return path, Entry(kind.decode(), min(int(size), _MAX_SIZE), int(mtime))


class Asking:
    """A verb of the box half on files, started on the box and waiting for its one request. Started
    early, it costs no waiting later; `close` ends one that is not needed after all."""

    def __init__(self, box: Box, verb: str) -> None:
        self._box, self._verb = box, verb
        self._program = Program(box, agent_bootstrap.start("files", verb))
        self.close = self._program.close

    def answer(self, request: NamedTuple) -> bytes:
        """Its answer; a box without the present box half gets it first. SshError, SyncError."""
        body, words = encode(request), ("files", self._verb)
        code, out, said = _finished(self._program, body, _SECONDS)
        if code == agent_bootstrap.MISSING:
            argv, data = agent_bootstrap.push(*words)
            seconds = _SECONDS + agent_bootstrap.PUSH_TIMEOUT
            code, out, said = _finished(Program(self._box, argv), data + body, seconds)
            done, means = Completed(code, "", said), "nothing was changed there"
            agent_bootstrap.require_pushed(self._box, done, words, means=means)
        if code:
            name, said = self._box.name, clean(said.strip()[-400:], 400)
            what = f"box {name} has no python3" if code == 127 else f"box {name}: {said}"
            raise SyncError(what, fix=f"devbox doctor {name}")
        return out


def _finished(program: Program, input: bytes, seconds: float) -> tuple[int, bytes, str]:
    with program:
        code, out = program.finish(input, timeout=seconds, most=files.MOST_BYTES)
    return code, out, program.err


def _ask(
    box: Box, verb: str, request: NamedTuple, kind: type[M], asking: Asking | None = None
) -> M:
    answer = (asking or Asking(box, verb)).answer(request)
    return _decoded(answer, kind, f"devbox doctor {box.name}")


def _decoded(answer: bytes, kind: type[M], fix: str) -> M:
    try:
        return decode(answer, kind, limit=files.MOST_BYTES)
    except Unreadable as error:
        what = f"the box's answer about its files could not be read: {error}"
        raise SyncError(what, fix=fix) from error
