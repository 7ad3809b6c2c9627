"""What a deploy would push, and what stands in its way. Changes nothing but a hidden ref of the
project's git (`repo.SEEN`), which remembers the Space's branch."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import msgspec

from devbox import secrets
from devbox.deploy.repo import Object, Repo
from devbox.deploy.target import Target
from devbox.errors import Conflict, UsageError
from devbox.images import ignored_imports, secret_scan
from devbox.providers.hf import image, upload
from devbox.text import clean
from devbox.workspace import Workspace

Via = Literal["git", "api"]
#: bytes from which the Hub takes a file through LFS only
LARGE = 10 * 1024**2
_SCANNED = 1024**2
_ATTRIBUTES = 8192


class Candidate(msgspec.Struct, frozen=True):
    """A file for Git LFS. must: too large for plain git; else it is binary, which the Hub may
    refuse in plain git."""

    path: str
    size: int
    must: bool


class Plan(msgspec.Struct, frozen=True):
    """head: our commit, by git. base: the Space's commit. files, size: what would be sent, as
    (path, bytes). stale: paths that only the Space has; prunes: they go untold, as it is a box of
    ours. lacks: what keeps our commits from being a Space. ignored_imports: sentences
    on Python code
    that stays behind though what is sent imports it. theirs: commits that it has and we have not,
    "abc1234 title". ahead: commits of ours that it lacks. dirty: paths that no commit has.
    upstream: of the branch that ours follows, and how many commits it lacks. secrets: paths that
    look like some."""

    space: str
    via: Via
    url: str
    head: str = ""
    title: str = ""
    base: str = ""
    ahead: int = 0
    theirs: tuple[str, ...] = ()
    files: tuple[tuple[str, int], ...] = ()
    size: int = 0
    stale: tuple[str, ...] = ()
    prunes: bool = False
    lacks: str = ""
    ignored_imports: tuple[str, ...] = ()
    dirty: tuple[str, ...] = ()
    lfs: tuple[Candidate, ...] = ()
    secrets: tuple[str, ...] = ()
    upstream: tuple[str, int] | None = None
    known_remote: str = ""

    @property
    def is_empty(self) -> bool:
        """The Space has it all already."""
        if self.via == "git":
            return self.head == self.base
        return not self.files and not (self.stale and self.prunes)


def choose(ws: Workspace, asked: str = "") -> Via:
    """`asked`, else git where the project is the top of a git repository, else the API.
    UsageError for git anywhere else: a Space's Dockerfile lies at the top."""
    found = Repo.at(ws.spec.root)
    top = found is not None and found.root == Path(os.path.realpath(ws.spec.root))
    if asked == "git" and not top:
        raise UsageError(
            f"{ws.spec.root} is not the top folder of a git repository",
            means="nothing was pushed",
            fix="devbox deploy --via api, or: git init",
        )
    return "api" if asked == "api" or not top else "git"


def plan(ws: Workspace, target: Target, via: Via) -> Plan:
    """Look at both sides. Raises what the Hub and git refuse."""
    return _by_git(ws, target) if via == "git" else _by_api(ws, target)[0]


def files(ws: Workspace, target: Target) -> dict[str, upload.Content]:
    """What the Space would hold by the API: the project, and for a Space that devbox made what a
    Space needs around it. UsageError for secrets and for too much."""
    return _files(ws, target, ours=target.repository.is_box())


def _files(ws: Workspace, target: Target, *, ours: bool) -> dict[str, upload.Content]:
    return upload.wanted(target.title, target.box, str(ws.spec.root), adopted=not ours)


def _by_git(ws: Workspace, target: Target) -> Plan:
    repository = target.repository
    repo = repo_of(ws)
    head = repo.head()
    base = repo.fetch(repository.git_url, token(target))
    new = repo.objects(head.oid, base)
    return Plan(
        space=repository.space,
        via="git",
        url=repository.git_url,
        head=head.oid,
        title=head.title,
        base=base,
        ahead=len(repo.only_in(head.oid, base)),
        theirs=tuple(
            f"{each.oid[:7]} {each.title}"
            for each in (repo.only_in(base, head.oid) if base else ())
        ),
        files=tuple((clean(each.path, 300), each.size) for each in new),
        size=repo.packed_size(head.oid, base),
        dirty=tuple(repo.dirty()),
        lacks=_lacks(repo, head.oid),
        ignored_imports=_ignored_imports(repo.root, (each.path for each in repo.files(head.oid))),
        lfs=_large(repo, new),
        secrets=_secret(repo, new),
        upstream=repo.ahead_of_upstream(),
        known_remote=repo.url(),
    )


def _by_api(ws: Workspace, target: Target) -> tuple[Plan, dict[str, upload.Content]]:
    repository = target.repository
    ours = repository.is_box()
    wanted = _files(ws, target, ours=ours)
    if not wanted:
        raise UsageError(
            f"{ws.spec.root} has nothing to deploy",
            fix="run it in a project with a devbox.toml: devbox init",
        )
    changed, stale = repository.changes(wanted)
    sizes = {path: _length(wanted[path]) for path in changed}
    large = [Candidate(path, size, must=True) for path, size in sizes.items() if size > LARGE]
    made = Plan(
        space=repository.space,
        via="api",
        url=repository.page,
        files=tuple(sizes.items()),
        size=sum(sizes.values()),
        stale=tuple(clean(path, 300) for path in stale),
        prunes=ours,
        ignored_imports=_ignored_imports(ws.spec.root, wanted),
        lfs=tuple(large),
    )
    return made, wanted


def repo_of(ws: Workspace) -> Repo:
    found = Repo.at(ws.spec.root)
    if found is None:
        raise Conflict(f"{ws.spec.root} is in no git repository", fix="devbox deploy --via api")
    return found


def token(target: Target) -> str:
    """For a server that asks for one."""
    repository = target.repository
    if not repository.git_url.startswith("http"):
        return ""
    secrets.require_private(repository.git_url, "the Hugging Face")
    return repository.hub.token()


def _lacks(repo: Repo, head: str) -> str:
    """The Hub builds nothing without metadata, nor a Docker Space without a Dockerfile."""
    readme = repo.content(head, image.README) or b""
    if not image.has_metadata(readme):
        return f"a {image.README} whose metadata names an SDK"
    docker = re.search(rb"^sdk:\s*[\"']?docker\b", readme, re.MULTILINE)
    return (
        f"a {image.DOCKERFILE}" if docker and repo.content(head, image.DOCKERFILE) is None else ""
    )


def _ignored_imports(root: Path, sent: Iterable[str]) -> tuple[str, ...]:
    return tuple(clean(str(each), 300) for each in ignored_imports.missing(root, sent))


def _large(repo: Repo, new: list[Object]) -> tuple[Candidate, ...]:
    """Versions in the history too: the Hub refuses a push for any of them."""
    found = {
        each.path: Candidate(clean(each.path, 300), each.size, True)
        for each in new
        if each.size > LARGE
    }
    small = [each for each in new if each.size <= _SCANNED and each.path not in found]
    for each, content in repo.contents(small):
        if b"\0" in content[:_ATTRIBUTES]:
            found.setdefault(each.path, Candidate(clean(each.path, 300), each.size, False))
    middle = [each for each in new if _SCANNED < each.size <= LARGE]
    for each in middle:
        found.setdefault(each.path, Candidate(clean(each.path, 300), each.size, False))
    return tuple(sorted(found.values(), key=lambda one: (not one.must, -one.size, one.path)))


def _secret(repo: Repo, new: list[Object]) -> tuple[str, ...]:
    found = {each.path for each in new if secret_scan.named_like(each.path)}
    small = [each for each in new if each.size <= _SCANNED and each.path not in found]
    found |= {each.path for each, content in repo.contents(small) if secret_scan.holds(content)}
    return tuple(clean(path, 200) for path in sorted(found))


def _length(content: upload.Content) -> int:
    return content.stat().st_size if isinstance(content, Path) else len(content)
