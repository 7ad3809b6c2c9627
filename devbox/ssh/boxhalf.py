"""The box half as one zipapp: built once per version of its code, pushed once per box.

On a box it lies at `.devbox-box/onbox-<content hash>.pyz` under the login folder, and
`.devbox-box/onbox.pyz` is a link to the one in use. It runs straight from the zip: measured,
that starts 10 ms slower than an unpacked tree with compiled files (50 against 40 ms), which is
not worth a second form. The same file may be baked into an image.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from devbox import onbox, paths
from devbox.errors import SshError, ToolMissing
from devbox.files import locked, write_atomic
from devbox.text import clean

if TYPE_CHECKING:
    from devbox.ssh.connection import Connection

FOLDER = ".devbox-box"
LINK = f"{FOLDER}/onbox.pyz"

# The link may point at a newer version tomorrow while this process still imports from its own, so
# the real path takes the link's place before anything is imported.
_MAIN = b"""\
import os, sys
sys.path[0] = sys.argv[0] = os.path.realpath(sys.path[0])
from devbox.onbox.__main__ import main
sys.exit(main())
"""
_OLDEST_PYTHON = (3, 9)
_MISSING, _NO_PYTHON = 3, 4


def command(verb: str, *args: str) -> list[str]:
    """argv of a verb of the box half, for a program started in the login folder."""
    return ["python3", LINK, verb, *args]


def build() -> Path:
    """The zipapp of the present code, in the cache folder; the same code gives the same name.

    Only the sizes and times of the sources are looked at when it was built before.
    """
    sources = _sources()
    seen = _fingerprint(sources)
    index = paths.cache_dir() / "onbox.json"
    known = _known(index)
    if known.get("seen") == seen:
        path = paths.cache_dir() / str(known.get("name"))
        if path.is_file():
            return path
    contents = {name: path.read_bytes() for name, path in sources.items()}
    contents["__main__.py"] = _MAIN
    path = paths.cache_dir() / f"onbox-{_digest(contents)}.pyz"
    with locked(paths.cache_dir() / "onbox.lock"):
        # One that is there is whole, and another process may be reading it.
        if not path.is_file():
            write_atomic(path, _zipped(contents))
        write_atomic(index, json.dumps({"seen": seen, "name": path.name}))
        for old in paths.cache_dir().glob("onbox-*.pyz"):
            if old != path:
                old.unlink(missing_ok=True)
    return path


def install(connection: Connection) -> str:
    """Make the present box half the one in use on the box; returns its path there, relative to
    the login folder. One round trip when the box has it already.

    ToolMissing when the box has no python3 of at least 3.9. SshError when it cannot be written.
    """
    path = build()
    remote = f"{FOLDER}/{path.name}"
    found = connection.run(["sh", "-c", _LINK_SCRIPT, "sh", path.name], check=False)
    if found.code == _MISSING:
        connection.put(path.read_bytes(), remote)
        found = connection.run(["sh", "-c", _LINK_SCRIPT, "sh", path.name, "prune"], check=False)
    if found.code == _NO_PYTHON:
        raise ToolMissing(
            f"the box {connection.box.name} has no python3 of version 3.9 or later",
            means="devbox cannot watch it, so it would not be switched off when idle",
            fix="put python3 into its image, or install it: "
            f"devbox exec {connection.box.name} -- apt-get install -y python3",
        )
    if found.code:
        raise SshError(
            f"devbox's own program could not be put on {connection.box.name}: "
            + clean(found.err.strip()[-300:], 300),
            means="the box is not watched, so it would not be switched off when idle",
            fix=f"devbox doctor {connection.box.name}",
        )
    return remote


# $1: file name; $2: anything: also remove old versions. A version is kept while it is one of the
# three newest or a process names it. The link is replaced in one step by renaming over it.
_LINK_SCRIPT = f"""\
umask 077
mkdir -p {FOLDER} && cd {FOLDER} || exit 1
if [ ! -f "$1" ]; then
    python3 -c 'import sys; sys.exit(sys.version_info < {_OLDEST_PYTHON})' || exit {_NO_PYTHON}
    exit {_MISSING}
fi
if [ "$(readlink onbox.pyz)" != "$1" ]; then
    ln -s "$1" ".link.$$" && mv -f ".link.$$" onbox.pyz || exit 1
fi
[ -z "$2" ] && exit 0
used=$( (cat /proc/[0-9]*/cmdline | tr '\\0' ' '; ps axww -o args=) 2>/dev/null)
ls -t onbox-*.pyz | tail -n +4 | while read -r old; do
    case "$used" in *"$old"*) ;; *) rm -f "$old" ;; esac
done
exit 0
"""


def _sources() -> dict[str, Path]:
    """Archive name → file: the empty package and everything under onbox/."""
    folder = Path(onbox.__file__).parent
    package = folder.parent
    found = [package / "__init__.py", *folder.rglob("*")]
    return {
        str(Path("devbox") / path.relative_to(package)): path
        for path in sorted(found)
        if path.is_file() and "__pycache__" not in path.parts and not path.name.startswith(".")
    }


def _fingerprint(sources: dict[str, Path]) -> str:
    digest = hashlib.sha256(_MAIN)
    for name, path in sources.items():
        found = path.stat()
        digest.update(f"{name}\0{found.st_mtime_ns}\0{found.st_size}\n".encode())
    return digest.hexdigest()


def _digest(contents: dict[str, bytes]) -> str:
    """Of the contents, not the zip: another zlib packs the same code into other bytes."""
    digest = hashlib.sha256()
    for name, data in sorted(contents.items()):
        digest.update(f"{name}\0{len(data)}\0".encode() + data)
    return digest.hexdigest()[:12]


def _zipped(contents: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        for name, data in sorted(contents.items()):
            entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            entry.create_system, entry.external_attr = 3, 0o644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, data)
    return out.getvalue()


def _known(index: Path) -> dict[str, object]:
    try:
        found = json.loads(index.read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
