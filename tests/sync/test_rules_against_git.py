"""Our reading of ignore files agrees with git's own, and rsync's with ours."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from devbox import spec
from devbox.ignore import tree
from tests.sync.conftest import write

_NAME = st.text(alphabet="ab[]!\\*? -é#", min_size=1, max_size=3).filter(
    lambda name: name not in (".", "..") and not name.endswith("\\")
)
_PIECES = (
    "a|b|ab|*|**|?|[ab]|[!a]|[a-b]*|\\*|\\!|***|a*b|[|é|"
    "[[:alpha:]]|a**|**b|\\a| |b |b\\ |[]a]|[^b]|[!]a]|[a-|[\\a]|[[:a"
)
_PIECE = st.sampled_from(_PIECES.split("|"))
_LINE = st.tuples(
    st.sampled_from(["", "", "!"]),
    st.sampled_from(["", "/"]),
    st.lists(_PIECE, min_size=1, max_size=3).map("/".join),
    st.sampled_from(["", "", "/"]),
).map("".join)
_FILE = st.lists(_LINE, max_size=4).map("\n".join)
_PATHS = st.lists(st.lists(_NAME, min_size=1, max_size=3), min_size=1, max_size=6)


def _make(root: Path, paths: Iterable[list[str]]) -> None:
    for path in paths:
        file = root.joinpath(*path)
        if not any(p.is_file() for p in [file, *file.parents]) and not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(b"x")


def _git(root: Path, *words: str) -> bytes:
    env = {"PATH": os.environ["PATH"], "HOME": str(root), "GIT_CONFIG_NOSYSTEM": "1"}
    env |= {"HOME": os.environ["HOME"]} if "GIT_CONFIG_NOSYSTEM" in os.environ else {}
    command = ["git", "-C", str(root), *words]
    return subprocess.run(command, check=True, env=env, capture_output=True).stdout


def _git_files(root: Path) -> set[bytes]:
    _git(root, "init", "-q")
    return _chosen_by_git(root)


def _chosen_by_git(root: Path) -> set[bytes]:
    out = _git(root, "ls-files", "-co", "--exclude-standard", "-z")
    return set(out.split(b"\0")) - {b""}


def _rsync_files(root: Path, filters: bytes) -> set[bytes]:
    with tempfile.TemporaryDirectory() as scratch:
        (Path(scratch) / "rules").write_bytes(filters)
        (Path(scratch) / "to").mkdir()
        command = ["rsync", "-rl", "-0", f"--exclude-from={scratch}/rules"]
        subprocess.run([*command, f"{root}/", f"{scratch}/to/"], check=True)
        top = os.fsencode(f"{scratch}/to")
        return {
            os.path.relpath(os.path.join(folder, name), top)
            for folder, _, names in os.walk(top)
            for name in names
        }


@settings(max_examples=60)
@given(paths=_PATHS, top=_FILE, nested=_FILE)
@example(paths=[["a"], ["ab"], ["ab", "b"]], top="a**/*", nested="")
@example(paths=[["a", "b"], ["ab", "c", "b"], ["ab", "c"], ["ba"]], top="a**/b", nested="b**")
@example(paths=[["a", "ab"], ["a", "abc", "b"], ["aa", "b"]], top="*\n!a/\n!a/ab**", nested="")
def test_git_rsync_and_we_choose_the_same_files(
    paths: list[list[str]], top: str, nested: str
) -> None:
    with tempfile.TemporaryDirectory(prefix="dbx") as folder:
        root = Path(folder).resolve() / "t"
        root.mkdir()
        _make(root, paths)
        (root / ".gitignore").write_text(top)
        for child in sorted(root.iterdir()):
            if child.is_dir():
                (child / ".gitignore").write_text(nested)
                break
        found = tree.read(root, spec.Sync(), files=True)
        ours = set(found.files)
        assert ours == _rsync_files(root, found.rules.filters())
        assert all(found.rules.keeps(path, folder=False) for path in ours)
        assert ours == _git_files(root)


@pytest.mark.parametrize("own", [".config/git/ignore", "mine"])
def test_rules_of_the_repository_and_of_the_user_count(
    home: Path, own: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    top = home / "project"
    names = ("a.tmp", "keep.tmp", "a.out", "only", "sub/only", "sub/a.tmp", "sub/b.out", "sub/c")
    for name in names:
        write(top / name, name)
    _git(top, "init", "-q")
    write(home / own, "*.out\n!a.out\nc\n")
    if own == "mine":
        _git(top, "config", "core.excludesFile", "~/mine")
    write(top / ".git/info/exclude", "*.tmp\n/sub/only\n!c\n")
    write(top / ".gitignore", "!keep.tmp\n")
    linked = home / "linked"
    _git(top, "add", "keep.tmp", ".gitignore")
    _git(top, "-c", "user.name=u", "-c", "user.email=e@x", "commit", "-qm", "first")
    _git(top, "worktree", "add", "-q", str(linked))
    write(linked / "b.tmp", "b")
    write(linked / "d", "d")
    for root in (top, top / "sub", linked):
        ours = set(tree.read(root, spec.Sync(), files=True).files)
        assert ours - {b".git"} == _chosen_by_git(root)
    assert _chosen_by_git(top) == {b"keep.tmp", b".gitignore", b"a.out", b"only", b"sub/c"}


def test_a_line_with_a_nul_byte_is_read_as_git_reads_it(tmp_path: Path) -> None:
    for name in ("a", "b", "ab"):
        write(tmp_path / name, name)
    (tmp_path / ".gitignore").write_bytes(b"a\0b\n")
    found = tree.read(tmp_path, spec.Sync(), files=True)
    ours = set(found.files)
    assert ours == {b"b", b"ab", b".gitignore"} == _rsync_files(tmp_path, found.rules.filters())
    assert ours == _git_files(tmp_path)
