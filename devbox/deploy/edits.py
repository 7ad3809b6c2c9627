"""Edits made on a box, as a patch: what the box has now against what it was given. Nothing on the
box is changed, and what it says is untrusted: names and sizes are bounded and checked."""

from __future__ import annotations

import hashlib
import os
import posixpath
import tempfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

from devbox import names, process
from devbox.deploy import baseline as bases
from devbox.deploy.baseline import Base
from devbox.deploy.repo import Repo
from devbox.deploy.target import PROVIDER
from devbox.errors import Conflict, UsageError
from devbox.ignore import tree
from devbox.model import Box
from devbox.providers import registry
from devbox.providers.base import Provider
from devbox.providers.hf.repository import SpaceRepository
from devbox.remote.exec import read
from devbox.sync import held, remote, target
from devbox.text import clean, size
from devbox.workspace import Workspace

MOST = 10 * 1024**2  # bytes of a file that goes into a patch
_MOST_FILES = 2000
_AT_ONCE = 6  # files that are read at the same time; an ssh server takes ten programs at once
_MOST_TOGETHER = 100 * 1024**2  # bytes of all files of a patch; they are held in memory


class Edits(msgspec.Struct, frozen=True):
    """patch: as `git apply` reads it, empty for no edits. changed, added: paths. left_out: paths
    too large for a patch, links that the project has not, names that none can have, and edits of
    files that programs here act on (`sync.held`). missing: paths
    that the box was given and has not; in the patch only when that was asked for. base: what it is
    against."""

    patch: bytes
    base: str
    folder: str
    changed: tuple[str, ...] = ()
    added: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()


def collect(
    ws: Workspace, box: Box, *, folder: str = "", revision: str = "", deletions: bool = False
) -> Edits:
    """What was edited there: differs from what the box was given and from what is here. folder: of
    the code on the box; '' for the synced one, and on a Space whose work folder is apart from its
    app (`workdir = "work"`) for the app's. revision:
    a commit that the box was given, in place of the Space's own branch or HEAD. deletions: files
    that are missing on the box are deleted by the patch."""
    where = target.find(ws, box)
    apart = registry.code_folder(box.provider) if box.workdir == Provider.workdir else ""
    there = names.remote_path(folder, "folder") if folder else apart or where.folder
    against = _base(ws, box, where.root, revision)
    rules = tree.read(where.root, where.sync).rules
    listing = remote.list_files(box, there, rules)
    if listing.about.missing:
        raise UsageError(
            f"{box.name} has no folder {clean(there, 100)}", fix="name it with: --folder PATH"
        )
    found: dict[str, int] = {}
    left_out = []
    for raw, entry in listing.files.items():
        path = _usable(raw)
        if path is None or entry.size > MOST:
            left_out.append(clean(raw.decode(errors="replace"), 200))
        elif not rules.keeps(raw, folder=False):
            continue
        elif entry.kind == "f":
            found[path] = entry.size
        elif not (where.root / path).is_symlink():
            left_out.append(clean(path, 200))
    added = sorted(found.keys() - against.files.keys())
    both = [path for path in found if path in against.files and not against.files[path].large]
    old = against.contents(path for path in both if against.files[path].size <= MOST)
    changed = sorted(_changed(box, there, {path: found[path] for path in old}, old))
    back = held.held_back([path.encode() for path in [*changed, *added]])
    left_out += sorted(clean(path.decode(), 200) for path in back)
    changed = [path for path in changed if path.encode() not in back]
    added = [path for path in added if path.encode() not in back]
    missing = sorted(
        path
        for path in against.files
        if path not in found and rules.keeps(os.fsencode(path), folder=False)
    )
    gone = missing if deletions else []
    if len(changed) + len(added) > _MOST_FILES:
        raise Conflict(
            f"{len(changed) + len(added)} files of {box.name} are not as it was given them",
            means="nothing was changed",
            fix="is it the right folder (--folder) and commit (--base)? else: devbox sync down",
        )
    together = sum(found[path] for path in [*changed, *added])
    if together > _MOST_TOGETHER:
        raise _too_much(box, together)
    new = _fetch(box, there, [*changed, *added])
    # What was saved here and synced is no edit of the box.
    here = {path for path, content in new.items() if _is_here(where.root / path, content)}
    changed = [path for path in changed if path not in here]
    added = [path for path in added if path not in here]
    new = {path: new[path] for path in [*changed, *added]}
    old |= against.contents(path for path in gone if path not in old)
    return Edits(
        _patch({path: old[path] for path in [*changed, *gone] if path in old}, new, where.root),
        against.label,
        there,
        tuple(changed),
        tuple(added),
        tuple(sorted(left_out)),
        tuple(path for path in missing if not posixpath.basename(path).startswith(".git")),
    )


def keep(ws: Workspace, box: Box, edits: Edits, now: str) -> Path:
    """Write the patch into the project, where neither git nor sync looks; the file. now: part of
    its name."""
    folder = ws.project_of(box).root / ".devbox" / "edits"
    folder.mkdir(parents=True, exist_ok=True)
    ignore = folder / ".gitignore"
    if not ignore.exists():
        ignore.write_text("*\n")
    file = folder / f"{box.name}-{now}.patch"
    file.write_bytes(edits.patch)
    return file


def apply(ws: Workspace, box: Box, edits: Edits) -> None:
    """Apply the patch to the project and its index, ready to be committed. Conflict when a file
    has changes of its own that stand in the way."""
    root = target.find(ws, box).root
    repo = Repo.at(root)
    if repo is None:
        raise Conflict(f"{root} is in no git repository", fix=f"patch -p1 -d {root} < PATCH")
    done = repo.apply(edits.patch, repo.prefix(root))
    if done.code:
        raise Conflict(
            f"the edits do not fit your files: {clean(done.err.strip()[-400:], 400)}",
            means="files with conflicts are marked; the others are as before or changed whole",
            fix="git status; resolve, or go back with: git checkout -- FILES",
        )


def _base(ws: Workspace, box: Box, root: Path, revision: str) -> Base:
    if box.provider == PROVIDER and not revision:
        space = SpaceRepository(ws.settings_of(box), box.handle)
        return bases.SpaceBaseline(space, root, Repo.at(root))
    return bases.of_git(root, revision or "HEAD")


def _is_here(file: Path, content: bytes) -> bool:
    return file.is_file() and not file.is_symlink() and file.read_bytes() == content


def _usable(raw: bytes) -> str | None:
    """A path that a project may have: text, inside it, and not git's own."""
    try:
        path = names.inner_path(raw.decode())
    except (UnicodeDecodeError, UsageError):
        return None
    inside = {part.casefold() for part in path.split("/")}
    return None if ".git" in inside else path


def _changed(box: Box, folder: str, sizes: dict[str, int], old: dict[str, bytes]) -> Iterable[str]:
    same = [path for path, length in sizes.items() if length == len(old[path])]
    told = remote.digests(box, folder, (path.encode() for path in same))
    for path in sizes:
        content = old[path]
        mine = hashlib.blake2b(content, digest_size=16).hexdigest()
        if path not in same or told.get(path.encode()) != mine:
            yield path


def _fetch(box: Box, folder: str, paths: list[str]) -> dict[str, bytes]:
    new: dict[str, bytes] = {}
    together = 0
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        found = pool.map(lambda path: read(box, posixpath.join(folder, path), most=MOST), paths)
        for path, content in zip(paths, found, strict=True):
            together += len(content)
            if together > _MOST_TOGETHER:
                pool.shutdown(cancel_futures=True)
                raise _too_much(box, together)
            new[path] = content
    return new


def _too_much(box: Box, length: int) -> Conflict:
    return Conflict(
        f"the edits on {box.name} are {size(length)}; a patch takes {size(_MOST_TOGETHER)}",
        means="nothing was changed",
        fix="is it the right folder (--folder) and commit (--base)? else: devbox sync down",
    )


def _patch(old: dict[str, bytes], new: dict[str, bytes], root: Path) -> bytes:
    """By git itself, from two folders; nothing of the user's git settings changes it. A file
    keeps the mode that it has here."""
    if not old and not new:
        return b""
    with tempfile.TemporaryDirectory(prefix="devbox-edits") as folder:
        for side, contents in (("a", old), ("b", new)):
            (Path(folder) / side).mkdir()
            for path, content in contents.items():
                file = Path(folder, side, path)
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(content)
                mine = root / path
                runs = mine.is_file() and os.access(mine, os.X_OK)
                file.chmod(0o755 if runs else 0o644)
        words = "-c core.autocrlf=false -c core.fileMode=true diff --no-index --binary --no-prefix"
        more = "--full-index --no-color --no-ext-diff --no-textconv --no-renames a b"
        done = process.finished(
            ["git", *words.split(), *more.split()],
            env={**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull},
            cwd=folder,
        )
        if done.returncode > 1:
            raise Conflict(f"git could not make the patch: {clean(done.stderr.decode(), 300)}")
        return done.stdout
