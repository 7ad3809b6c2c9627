"""The project's own git repository, asked through the git program. Nothing here talks to a remote
but `fetch` and `push`, and only `push` and `add_remote` change anything a user sees."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from devbox import process
from devbox.errors import AuthError, Conflict, DevboxError, Gone, ProviderError, Unavailable
from devbox.process import Completed
from devbox.text import clean

REMOTE, BRANCH = "hf", "main"
#: what the Space's main branch is, as last fetched; no branch of the user's is touched
SEEN = "refs/devbox/hf-main"
_TOKEN = "DEVBOX_GIT_TOKEN"  # noqa: S105  why: a variable's name
_NETWORK = 900.0  # seconds
_LISTED = 1000  # commits
_BATCH = 16 * 1024**2  # bytes of content that are read at once


class Object(NamedTuple):
    """A version of a file in the history. path: one of those it lies at."""

    oid: str
    size: int
    path: str


class Commit(NamedTuple):
    oid: str
    title: str


class Repo:
    """root: the top folder of the work tree."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @classmethod
    def at(cls, folder: Path) -> Repo | None:
        """The repository that `folder` lies in; None when it lies in none."""
        done = process.run(
            ["git", "-C", str(folder), "rev-parse", "--show-toplevel"], check=False, env=_quiet()
        )
        return None if done.code else cls(Path(os.path.realpath(done.out.strip())))

    def head(self) -> Commit:
        """Conflict when nothing has been committed."""
        done = self._git("log", "-1", "--format=%H %s", check=False)
        if done.code:
            raise Conflict(
                f"nothing has been committed in {self.root}",
                means="nothing was pushed",
                fix="git add -A && git commit, or: devbox deploy --via api",
            )
        return _commit(done.out)

    def dirty(self) -> list[str]:
        """Paths with changes that no commit has, untracked ones too."""
        out = self._git("status", "--porcelain=v1", "-z", "--no-renames").out
        return [clean(line[3:], 200) for line in out.split("\0") if len(line) > 3]

    def url(self) -> str:
        """Of the remote; empty when there is none."""
        return self._git("remote", "get-url", REMOTE, check=False).out.strip()

    def add_remote(self, url: str) -> None:
        """It fetches and pushes only when it is named: no `git fetch --all` asks for its password,
        and no branch of the user's follows it."""
        self._git("remote", "add", "-t", BRANCH, REMOTE, url)
        self._git("config", f"remote.{REMOTE}.skipFetchAll", "true")

    def fetch(self, url: str, token: str) -> str:
        """The commit of the Space's main branch, its history fetched; empty for none yet."""
        listed = self._far(url, token, "ls-remote", url, f"refs/heads/{BRANCH}")
        oid = listed.out.split("\t")[0].strip()
        if oid:
            wanted = f"+refs/heads/{BRANCH}:{SEEN}"
            self._far(url, token, "fetch", "--no-tags", "--no-write-fetch-head", url, wanted)
        return oid

    def push(self, url: str, token: str, head: str, lease: str) -> None:
        """head → the Space's main branch, if that is still at `lease` (empty: does not exist)."""
        self._far(
            url,
            token,
            "push",
            f"--force-with-lease=refs/heads/{BRANCH}:{lease}",
            url,
            f"{head}:refs/heads/{BRANCH}",
        )
        if self.url() == url:
            self._git("update-ref", f"refs/remotes/{REMOTE}/{BRANCH}", head)
        self._git("update-ref", SEEN, head)

    def only_in(self, one: str, other: str) -> list[Commit]:
        """The newest thousand commits of `one` that `other` has not. other: empty for nothing."""
        without = [f"^{other}"] if other else []
        out = self._git("log", f"--max-count={_LISTED}", "--format=%H %s", one, *without).out
        return [_commit(line) for line in out.splitlines()]

    def ahead_of_upstream(self) -> tuple[str, int] | None:
        """(name, commits of HEAD that it has not) of the branch that the user's own follows."""
        named = self._git("rev-parse", "--abbrev-ref", "@{upstream}", check=False)
        if named.code:
            return None
        count = self._git("rev-list", "--count", "@{upstream}..HEAD").out.strip()
        return clean(named.out.strip(), 100), int(count)

    def objects(self, one: str, other: str) -> list[Object]:
        """Versions of files that `one`'s history has and `other`'s has not."""
        without = [f"^{other}"] if other else []
        named = self._bytes("rev-list", "--objects", one, *without)
        form = "--batch-check=%(objecttype) %(objectname) %(objectsize) %(rest)"
        found = []
        for line in self._bytes("cat-file", form, input=named).splitlines():
            kind, oid, length, path = [*line.split(b" ", 3), b"", b""][:4]
            if kind == b"blob":
                found.append(Object(oid.decode(), int(length), path.decode(errors="replace")))
        return found

    def packed_size(self, one: str, other: str) -> int:
        """Bytes on disk of all that a push would send."""
        without = [f"^{other}"] if other else []
        return int(self._git("rev-list", "--objects", "--disk-usage", one, *without).out)

    def contents(self, objects: Sequence[Object]) -> Iterator[tuple[Object, bytes]]:
        """Each version with its content, a bounded amount in memory at a time. One that the
        repository has not is left out."""
        batch: list[Object] = []
        for each in [*objects, None]:
            if each is None or sum(one.size for one in batch) + each.size > _BATCH:
                yield from self._batch(batch)
                batch = []
            if each is not None:
                batch.append(each)

    def files(self, commit: str) -> list[Object]:
        """The files of a commit, without submodules and symlinks."""
        found = []
        for row in self._bytes("ls-tree", "-r", "-l", "-z", "--full-tree", commit).split(b"\0"):
            about, _, path = row.partition(b"\t")
            mode, kind, oid, length = [*about.split(), b"", b"", b"", b""][:4]
            if kind == b"blob" and mode != b"120000":
                found.append(Object(oid.decode(), int(length), path.decode(errors="replace")))
        return found

    def content(self, commit: str, path: str) -> bytes | None:
        """Of a file at that path, from the top; None when there is none, or a folder."""
        named = self._git("rev-parse", "--verify", "--quiet", f"{commit}:{path}", check=False)
        found = list(self.contents([Object(named.out.strip(), 0, path)])) if named.out else []
        return found[0][1] if found else None

    def resolve(self, revision: str) -> str:
        """The commit's id; empty when there is none of that name."""
        words = ("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
        return self._git(*words, check=False).out.strip()

    def prefix(self, folder: Path) -> str:
        """`folder` below the top: '' or 'a/b/'."""
        inside = Path(os.path.realpath(folder)).relative_to(self.root).as_posix()
        return "" if inside == "." else f"{inside}/"

    def apply(self, patch: bytes, folder: str) -> Completed:
        """Apply a patch to the work tree and the index. folder: what its paths are relative to."""
        where = [f"--directory={folder}"] if folder not in ("", ".") else []
        return self._git("apply", "--3way", "--whitespace=nowarn", *where, input=patch, check=False)

    def _batch(self, wanted: Sequence[Object]) -> Iterator[tuple[Object, bytes]]:
        if not wanted:
            return
        names = "".join(f"{each.oid}\n" for each in wanted).encode()
        said, at = self._bytes("cat-file", "--batch", input=names), 0
        for each in wanted:
            end = said.index(b"\n", at)
            parts = said[at:end].split()
            at = end + 1
            if len(parts) == 3 and parts[1] == b"blob":
                length = int(parts[2])
                yield each, said[at : at + length]
                at += length + 1

    def _git(self, *words: str, check: bool = True, input: bytes | None = None) -> Completed:
        return process.run(
            ["git", "-C", str(self.root), *words], check=check, input=input, env=_quiet()
        )

    def _bytes(self, *words: str, input: bytes | None = None) -> bytes:
        return process.output(
            ["git", "-C", str(self.root), *words], input=input, timeout=300, env=_quiet()
        )

    def _far(self, url: str, token: str, *words: str) -> Completed:
        """Something that talks to the Space. The token goes to that server alone."""
        argv = ["git", "-C", str(self.root), *words]
        env = {**_quiet(), **_credentials(url, token)}
        done = process.run(argv, check=False, timeout=_NETWORK, env=env)
        if done.code:
            raise _refused(words[0], url, done.err)
        return done


def _commit(line: str) -> Commit:
    oid, _, title = line.strip().partition(" ")
    return Commit(oid, clean(title, 100))


def _quiet() -> dict[str, str]:
    """git that never asks, speaks English, and runs no program of the user's for a password."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("GIT_DIR")}
    return {**kept, "GIT_TERMINAL_PROMPT": "0", "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}


def _credentials(url: str, token: str) -> Mapping[str, str]:
    """A helper that gives the token, in the environment: it is in no argument, no URL, no file.
    The empty one before it makes git forget other helpers, which could hold an old token."""
    if not token or not url.startswith(("https://", "http://")):
        return {}
    scheme, _, rest = url.partition("://")
    server = f"{scheme}://{rest.partition('/')[0]}"
    helper = f'!f() {{ echo username=hf; echo "password=${_TOKEN}"; }}; f'
    begun = int(os.environ.get("GIT_CONFIG_COUNT") or 0)
    return {
        _TOKEN: token,
        "GIT_CONFIG_COUNT": str(begun + 2),
        f"GIT_CONFIG_KEY_{begun}": f"credential.{server}.helper",
        f"GIT_CONFIG_VALUE_{begun}": "",
        f"GIT_CONFIG_KEY_{begun + 1}": f"credential.{server}.helper",
        f"GIT_CONFIG_VALUE_{begun + 1}": helper,
    }


def _refused(verb: str, url: str, err: str) -> DevboxError:
    said = clean(" ".join(err.split())[-400:], 400)
    what = f"git {verb} with {clean(url, 120)} failed: {said}"
    low = err.lower()
    if "authentication failed" in low or "could not read username" in low or " 403" in low:
        return AuthError(what, fix="log in with write access: hf auth login")
    if "stale info" in low or "fetch first" in low:
        return Conflict(
            f"the Space got another commit just now: {said}",
            means="nothing was pushed",
            fix="look again: devbox deploy --check",
        )
    if "lfs" in low or "binary files" in low or "larger than" in low:
        return ProviderError(
            what,
            means="nothing was pushed",
            fix="let the API handle large files: devbox deploy --via api",
        )
    if "not found" in low or "does not exist" in low or "does not appear to be a git" in low:
        return Gone(what, means="nothing was pushed", fix="check the name; is there such a Space?")
    if "rejected" in low or "declined" in low:
        return ProviderError(what, means="nothing was pushed")
    return Unavailable(what, means="nothing was pushed", fix="check the network, then try again")
