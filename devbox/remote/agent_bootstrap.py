"""The box half as one zipapp: built once per version of its code, pushed once per box.

On a box it lies at `.devbox-box/devbox-box-<content hash>.pyz` under the login folder, and
`.devbox-box/devbox-box.pyz` is a link to the one in use. Its first start unpacks it beside itself,
so that Python keeps the compiled modules: a verb then needs a third less CPU time to start than
from the zip, from which it still runs where nothing can be written. The same file may be baked
into an image.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from devbox import box, paths
from devbox.errors import SshError, ToolMissing
from devbox.files import locked, write_atomic
from devbox.model import Box
from devbox.process import Completed
from devbox.text import clean

FOLDER = ".devbox-box"
LINK = f"{FOLDER}/devbox-box.pyz"

# The link may point at a newer version tomorrow while this process still imports from its own, so
# the real path takes the link's place before anything is imported. `start` begins in the tree.
_MAIN = b"""\
import os, sys
here = os.path.realpath(os.path.dirname(__file__))
if here.endswith(".d"):
    tree = here
    sys.argv[0] = tree[:-2] + ".pyz"
    sys.path.insert(0, tree)
else:
    tree = here[:-4] + ".d"
    sys.path[0] = sys.argv[0] = here
    if not os.path.isdir(tree):
        import shutil, zipfile
        part = "%s.%d" % (tree, os.getpid())
        try:
            with zipfile.ZipFile(here) as file:
                file.extractall(part)
            os.rename(part, tree)
        except OSError:
            shutil.rmtree(part, ignore_errors=True)
    if os.path.isdir(tree):
        sys.path[0], sys.dont_write_bytecode = tree, False
from devbox.box.__main__ import main
sys.exit(main())
"""
_ROOMS = ("box", "wire")
_OLDEST_PYTHON = (3, 9)
# Exit codes of the script that no verb has.
MISSING, _NO_PYTHON, _FAILED = 93, 94, 95
PUSH_TIMEOUT = 300.0
_UNWATCHED = "the box is not watched, so it would not be switched off when idle"


class Runs(Protocol):
    """The part of `exec.Exec` and `connection.Connection` that is needed. is_new: the box is known
    to lack the present box half, so that it need not be asked."""

    box: Box
    is_new: bool

    def run(
        self,
        argv: Sequence[str],
        *,
        input: bytes | None = None,
        timeout: float | None = 60.0,
        check: bool = True,
    ) -> Completed: ...


def command(verb: str, *args: str) -> list[str]:
    """argv of a verb of the box half, for a program started in the login folder."""
    return ["python3", LINK, verb, *args]


def start(verb: str, *args: str) -> list[str]:
    """argv of a verb of the present box half that needs no packages, begun in the shortest time.
    It ends with code MISSING, having read nothing, on a box that has another version or none."""
    return ["sh", "-c", _START, "sh", f"{FOLDER}/{build().stem}", verb, *args]


def probe() -> list[str]:
    """argv whose code is 1 on a box that lacks the present box half, 0 on one that has it."""
    return ["test", "-f", f"{FOLDER}/{build().name}"]


def push(*words: str) -> tuple[list[str], bytes]:
    """argv that puts the present box half on a box and then runs a verb of it, and what its stdin
    gets before the verb's own input. `require_pushed` looks at the code."""
    path = build()
    data = path.read_bytes()
    return _script(path, len(data), *words), data


def build() -> Path:
    """The zipapp of the present code, in the cache folder; the same code gives the same name.

    Only the sizes and times of the sources are looked at when it was built before.
    """
    sources = _sources()
    seen = _fingerprint(sources)
    index = paths.cache_dir() / "devbox-box.json"
    known = _known(index)
    if known.get("seen") == seen:
        path = paths.cache_dir() / str(known.get("name"))
        if path.is_file():
            return path
    contents = {name: Path(path).read_bytes() for name, path in sources.items()}
    contents["__main__.py"] = _MAIN
    path = paths.cache_dir() / f"devbox-box-{_digest(contents)}.pyz"
    with locked(paths.cache_dir() / "devbox-box.lock"):
        # One that is there is whole, and another process may be reading it.
        if not path.is_file():
            write_atomic(path, _zipped(contents))
        write_atomic(index, json.dumps({"seen": seen, "name": path.name}))
        for old in paths.cache_dir().glob("devbox-box-*.pyz"):
            if old != path:
                old.unlink(missing_ok=True)
    return path


def install(connection: Runs) -> str:
    """Make the present box half the one in use on the box; returns its path there, relative to
    the login folder. One round trip when the box has it already.

    ToolMissing when the box has no python3 of at least 3.9. SshError when it cannot be written.
    """
    path = build()
    _in_use(connection, path, (), b"")
    return f"{FOLDER}/{path.name}"


def run(
    connection: Runs, verb: str, *args: str, input: bytes = b"", timeout: float = 60.0
) -> Completed:
    """Run a verb of the present box half, put there first where it is missing: one round trip
    when the box has it, two when not. Raises as `install`; the code is the verb's own."""
    return _in_use(connection, build(), (verb, *args), input, timeout)


def _in_use(
    connection: Runs, path: Path, words: Sequence[str], input: bytes, timeout: float = 60.0
) -> Completed:
    done = None
    if not connection.is_new:
        done = connection.run(_script(path, 0, *words), input=input, timeout=timeout, check=False)
    if done is None or done.code == MISSING:
        argv, data = push(*words)
        done = connection.run(argv, input=data + input, timeout=PUSH_TIMEOUT, check=False)
        connection.is_new = False
    require_pushed(connection.box, done, words)
    return done


def _script(path: Path, size: int, *words: str) -> list[str]:
    return ["sh", "-c", _SCRIPT, "sh", path.name, str(size), *words]


def require_pushed(
    box: Box, done: Completed, words: Sequence[str], *, means: str = _UNWATCHED
) -> None:
    """ToolMissing or SshError when that is why the script did not come to the verb."""
    if done.code == _NO_PYTHON:
        raise ToolMissing(
            f"the box {box.name} has no python3 of version 3.9 or later",
            means=means,
            fix="put python3 into its image, or install it: "
            f"devbox exec {box.name} -- apt-get install -y python3",
        )
    if done.code == _FAILED or (done.code and not words):
        raise SshError(
            f"devbox's own program could not be put on {box.name}: " + said(done),
            means=means,
            fix=f"devbox doctor {box.name}",
        )


def said(done: Completed) -> str:
    """Why a verb failed, in its own words, or by its exit code when it had none."""
    words = clean(done.err.strip()[-300:] or done.out.strip()[-300:], 300)
    if done.code == -1:
        words += " (it was killed on the box: out of memory, or by someone)"
    return words.strip() or f"it ended with code {done.code} and said nothing"


_RECEIVE = f"""\
import os, sys
if sys.version_info < {_OLDEST_PYTHON}:
    sys.exit({_NO_PYTHON})
name, left = sys.argv[1], int(sys.argv[2])
part = ".%s.%d" % (name, os.getpid())
file = open(part, "wb")
try:
    while left:
        data = os.read(0, min(left, 65536))
        if not data:
            sys.exit("it was cut short on its way")
        file.write(data)
        left -= len(data)
    file.close()
    os.replace(part, name)
except BaseException:
    os.unlink(part)
    raise
"""
# $1: file name; $2: bytes of it that come first on stdin, 0 for none; then a verb with its words,
# which has the rest of stdin. A version is kept while it is one of the three newest or a process
# names it. The link is replaced in one step by renaming over it.
_SCRIPT = f"""\
name=$1 size=$2
shift 2
(
    umask 077
    mkdir -p {FOLDER} && cd {FOLDER} || exit {_FAILED}
    if [ "$size" != 0 ]; then
        command -v python3 >/dev/null || exit {_NO_PYTHON}
        python3 -IS -c '{_RECEIVE}' "$name" "$size" || {{
            [ $? = {_NO_PYTHON} ] && exit {_NO_PYTHON}
            exit {_FAILED}
        }}
    elif [ ! -f "$name" ]; then
        exit {MISSING}
    fi
    if [ "$(readlink devbox-box.pyz)" != "$name" ]; then
        ln -s "$name" ".link.$$" && mv -f ".link.$$" devbox-box.pyz || exit {_FAILED}
    fi
    [ "$size" = 0 ] && exit 0
    older=$(ls -t devbox-box-*.pyz | tail -n +4)
    [ "$older" ] || exit 0
    used=$( (cat /proc/[0-9]*/cmdline | tr '\\0' ' '; ps axww -o args=) 2>/dev/null)
    echo "$older" | while read -r old; do
        tree=${{old%.pyz}}.d
        case "$used" in *"$old"* | *"$tree"*) ;; *) rm -rf "$old" "$tree" ;; esac
    done
    exit 0
) || exit
[ $# = 0 ] || exec python3 {LINK} "$@"
"""

# $1: path of a version without its ending; then a verb with its words.
_START = f"""\
at=$1
shift
[ -f "$at.d/__main__.py" ] && exec python3 -IS "$at.d/__main__.py" "$@"
[ -f "$at.pyz" ] && exec python3 -IS "$at.pyz" "$@"
exit {MISSING}
"""


def _sources() -> dict[str, str]:
    """Archive name → file: the empty package and everything under box/ and wire/."""
    package = os.path.dirname(os.path.dirname(box.__file__))
    found = [os.path.join(package, "__init__.py")]
    for half in _ROOMS:
        for folder, inner, names in os.walk(os.path.join(package, half)):
            inner[:] = [name for name in inner if name != "__pycache__"]
            found += [os.path.join(folder, name) for name in names if not name.startswith(".")]
    return {f"devbox{path.removeprefix(package)}": path for path in sorted(found)}


def _fingerprint(sources: dict[str, str]) -> str:
    digest = hashlib.sha256(_MAIN)
    for name, path in sources.items():
        found = os.stat(path)
        digest.update(f"{name}\0{found.st_mtime_ns}\0{found.st_size}\n".encode())
    return digest.hexdigest()


def _digest(contents: dict[str, bytes]) -> str:
    """Of the contents, not the zip: another zlib packs the same code into other bytes."""
    digest = hashlib.sha256()
    for name, data in sorted(contents.items()):
        digest.update(f"{name}\0{len(data)}\0".encode() + data)
    return digest.hexdigest()[:12]


def _zipped(contents: dict[str, bytes]) -> bytes:
    import zipfile  # why here: a version is built once, and looked for at each start

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
