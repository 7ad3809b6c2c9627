"""Messages about the files of a box. They stand apart from `messages`, whose classes would take a
third of the time in which the box begins to look at files. A path is latin-1 text of its bytes.
"""

from __future__ import annotations

from typing import Annotated, Dict, NamedTuple, Optional, Tuple

from devbox.wire.codec import BIG, Between, Exactly, Word

#: The most bytes of a request or an answer that are read.
MOST_BYTES = 512 << 20
#: Ordered (regular expression of a whole path, keep); the first that matches decides.
Rules = Tuple[Tuple[Word, bool], ...]
Mtime = Annotated[int, Between(-BIG, BIG)]  # nanoseconds


class Elsewhere(NamedTuple):
    """Look for files outside the root as well: under `tops`, for `seconds`, and at `most` files, of
    which the `named` largest are told."""

    tops: Tuple[Word, ...]
    most: int
    seconds: float
    named: int


class ListFiles(NamedTuple):
    """`files list`: every file and symlink under root that the rules keep, at most `limit`."""

    root: Word
    folders: Rules
    files: Rules
    limit: int
    elsewhere: Optional[Elsewhere] = None


class LookAt(NamedTuple):
    """`files look`: those of the named paths that are files or symlinks. They are asked for as
    `Listed` too."""

    root: Word
    names: Tuple[Word, ...]


class Outside(NamedTuple):
    """How much lies outside the root. complete: all of it was seen."""

    files: int
    bytes: int
    complete: bool


class Listed(NamedTuple):
    """The end of an answer to `list` and `look`. Before it comes a record for each file, ended by a
    NUL byte: 'f|l size mtime_ns path', after a symlink its target as a record of its own, and last
    'o size mtime_ns path' for the largest outside.

    now: the box's clock when it began, unix ns. missing: there is no such folder. more: it stopped
    at the limit."""

    now: int
    missing: bool = False
    more: bool = False
    outside: Optional[Outside] = None


class DigestFiles(NamedTuple):
    """`files digest`: the content hashes of the named files."""

    root: Word
    names: Tuple[Word, ...]


class Digests(NamedTuple):
    """path → blake2b of 16 bytes, of those that can be read; symlinks are not followed."""

    found: Dict[Word, Annotated[str, Exactly("[0-9a-f]{32}")]]


class DeleteFiles(NamedTuple):
    """`files delete`: exactly the named files, then those of their folders, and of all in
    `folders`, that are empty."""

    root: Word
    names: Tuple[Word, ...]
    folders: Tuple[Word, ...] = ()


class Deleted(NamedTuple):
    """Those of the files that are gone now."""

    names: Tuple[Word, ...]


class Baseline(NamedTuple):
    """synced.json on the box: what the last sync left nothing to fetch of. t: unix seconds, up to
    which all was fetched. pushed: path → mtime of what came from the laptop since. exclude: names
    that are never synced."""

    t: float
    pushed: Dict[Word, Mtime] = {}
    exclude: Tuple[Word, ...] = ()


class SetBaseline(NamedTuple):
    """`files stamp`: keep this as the baseline. t None: the one that is there stays and `pushed`
    is added to it. arriving: a folder in which killed transfers left files."""

    root: Word
    t: Optional[float]
    pushed: Dict[Word, Mtime]
    exclude: Tuple[Word, ...]
    arriving: Word


class BaselineTime(NamedTuple):
    """The answer to `stamp`: the time in force."""

    t: float
