"""Which rsync this machine has, and the flags it understands.

`samba` is the well-known one. macOS has shipped `openrsync` since 15.0 (before that, samba's
2.6.9): its getopt table knows -rlptuOn, --from0, --exclude-from, --files-from, --partial-dir,
--temp-dir, --safe-links, --rsync-path, --out-format and --chmod, but neither --info, --outbuf,
--mkpath, --append-verify nor -s; it calls the other side `openrsync` unless told otherwise, and
splits -e at blanks outside quotes. Source: openrsync(1) of macOS 15.4, main.c of its upstream;
`rsync --version` there prints "openrsync: protocol version 29".
"""

from __future__ import annotations

import os
import re
import shlex
from functools import cache
from typing import NamedTuple

import msgspec

from devbox import files, paths, process
from devbox.errors import ToolMissing
from devbox.ignore.defaults import PARTIAL
from devbox.text import clean

OPENRSYNC, SAMBA = "openrsync", "samba"
#: One line for each thing that rsync did; the number is a size in bytes.
OUT_FORMAT = "@%i@%l@%n"


class Flavour(NamedTuple):
    """kind: SAMBA or OPENRSYNC. version: of samba's, (0, 0, 0) for openrsync."""

    kind: str
    version: tuple[int, int, int] = (0, 0, 0)

    @property
    def secluded(self) -> bool:
        """Sends its arguments inside the protocol, past the shell on the box (samba 3.0)."""
        return self.kind == SAMBA and self.version >= (3, 0, 0)

    @property
    def informs(self) -> bool:
        """Says how the whole transfer stands and which files it left alone (samba 3.1)."""
        return self.kind == SAMBA and self.version >= (3, 1, 0)

    def flags(self) -> list[str]:
        """Those of every transfer: contents, symlinks, permissions and times; no owners, no
        devices; a partly sent file is kept apart and continued.

        A kept part is a basis for rsync's own delta and is checked as a whole, so a file that
        changed meanwhile comes out right; --append-verify would write into the live file.
        """
        # -S: holes of a sparse file stay holes. openrsync does not know it.
        first = "-rlptOS" if self.kind == SAMBA else "-rlptO"
        flags = [first, "--from0", f"--partial-dir={PARTIAL}", f"--out-format={OUT_FORMAT}"]
        flags += ["-s"] if self.secluded else []
        flags += ["--info=progress2,skip1", "--outbuf=L", "--no-h"] if self.informs else []
        return flags

    def receiving(self) -> list[str]:
        """Further ones where the box sends: no symlink out of the tree, no setuid file, nothing
        that its owner cannot read or remove."""
        return ["--safe-links", *(["--chmod=ug-s,u+rwX"] if self.secluded else [])]

    def remote(self, alias: str, path: str) -> str:
        """`path` on the box as an argument. Without `secluded` the shell there reads it."""
        return f"{alias}:{path if self.secluded else shlex.quote(path)}"


def parse(version: str) -> Flavour | None:
    """From what `rsync --version` prints; None for a program that is not known."""
    if re.match(r"openrsync\b", version):
        return Flavour(OPENRSYNC)
    found = re.match(r"rsync\s+version\s+v?(\d+)\.(\d+)\.(\d+)", version)
    return Flavour(SAMBA, (int(found[1]), int(found[2]), int(found[3]))) if found else None


@cache
def detect(program: str) -> Flavour:
    """The flavour of `program` (an absolute path); asked once per installed version of it.
    ToolMissing for one that is not known."""
    status = os.stat(program)
    key = [program, status.st_mtime_ns, status.st_size, status.st_ino]
    noted = paths.cache_dir() / "rsync.json"
    try:
        known, said = msgspec.json.decode(noted.read_bytes(), type=tuple[list[str | int], str])
    except (FileNotFoundError, msgspec.DecodeError):
        known, said = [], ""
    if known != key:
        said = process.run([program, "--version"], timeout=20, check=False).out[:500]
        files.write_atomic(noted, msgspec.json.encode((key, said)))
    found = parse(said)
    if not found:
        raise ToolMissing(
            f"{program} does not say which rsync it is: {clean(said.strip()[:80], 80)!r}",
            fix="install one: apt-get install rsync, or: brew install rsync",
        )
    return found
