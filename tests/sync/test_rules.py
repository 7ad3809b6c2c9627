"""Includes, excludes, .dockerignore, rules from above: we, rsync and the box decide alike."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devbox import spec
from devbox.errors import SyncError
from devbox.ignore import tree
from devbox.sync import remote
from devbox.wire.files import ListFiles
from tests.sync.conftest import by_the_box, write

PYTHON39 = ["env", "PYENV_VERSION=3.9.18", "python3.9"]


def _tree(root: Path, *names: str) -> None:
    for name in names:
        write(root / name, "x")


def _chosen(root: Path, **fields: object) -> set[str]:
    sync = spec.Sync(**fields)  # type: ignore[arg-type]
    return {os.fsdecode(path) for path in tree.read(root, sync, files=True).files}


def _by_rsync(root: Path, filters: bytes) -> set[str]:
    with tempfile.TemporaryDirectory() as scratch:
        (Path(scratch) / "rules").write_bytes(filters)
        (Path(scratch) / "to").mkdir()
        subprocess.run(
            ["rsync", "-rl", "-0", f"--exclude-from={scratch}/rules", f"{root}/", f"{scratch}/to/"],
            check=True,
        )
        top = Path(scratch) / "to"
        return {str(p.relative_to(top)) for p in top.rglob("*") if not p.is_dir()}


def _by_the_box(root: Path, found: tree.Tree, python: Sequence[str]) -> set[str]:
    request = ListFiles(str(root), *found.rules.regexes(), 10_000)
    return {os.fsdecode(p) for p in remote.parse(by_the_box("list", request, python)).files}


def test_include_wins_over_exclude_ignore_files_and_defaults(tmp_path: Path) -> None:
    _tree(tmp_path, "data/big.bin", "data/sample.csv", "x.log", ".venv/lib.py", "other.log")
    write(tmp_path / ".gitignore", "data/\n*.log\n")
    fields = {"include": ("data/sample.csv", "x.log", ".venv/"), "exclude": ("x.log",)}
    assert _chosen(tmp_path, **fields) == {".gitignore", "data/sample.csv", "x.log", ".venv/lib.py"}


def test_an_included_folder_brings_no_secrets_and_no_caches(tmp_path: Path) -> None:
    _tree(tmp_path, "out/a.txt", "out/.env", "out/__pycache__/a.pyc", "out/deep/id_rsa")
    write(tmp_path / ".gitignore", "out/\n")
    assert _chosen(tmp_path, include=("out/",)) == {".gitignore", "out/a.txt"}


def test_dockerignore_is_read_as_docker_reads_it(tmp_path: Path) -> None:
    _tree(tmp_path, "a.log", "sub/a.log", "src/main.py", "src/deep/x.py", "docs/a.md", "b.md")
    write(tmp_path / ".dockerignore", "*.log\ndocs\n**/deep\n")
    assert _chosen(tmp_path) == {"sub/a.log", "src/main.py", "b.md", ".dockerignore"}
    write(tmp_path / ".dockerignore", "*\n!src\nsrc/deep\n!docs/a.md\n")
    assert _chosen(tmp_path) == {"src/main.py", "docs/a.md"}
    assert "b.md" in _chosen(tmp_path, ignore_files=False)


def test_rules_of_the_repository_above_count(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    write(
        tmp_path / ".gitignore",
        "*.log\n/sub/proj/only-there\n/only-top\n**/proj/**/tmp\n!/sub/proj/k.log\n",
    )
    root = tmp_path / "sub/proj"
    _tree(root, "a.log", "k.log", "only-there", "only-top", "x/tmp/a", "x/a")
    assert _chosen(root) == {"k.log", "only-top", "x/a"}


def test_an_ignore_file_that_cannot_be_read_stops_the_sync(tmp_path: Path) -> None:
    (tmp_path / ".gitignore").mkdir()
    with pytest.raises(SyncError, match="cannot be read"):
        tree.read(tmp_path, spec.Sync())


def test_a_pattern_too_tangled_for_rsync_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SyncError, match=r"\*\*"):
        tree.read(tmp_path, spec.Sync(exclude=("/".join(["a", "**"] * 8),)))


_NAME = st.sampled_from(["a", "b", "ab", "x y", "__pycache__", ".env"])
_PATHS = st.lists(st.lists(_NAME, min_size=1, max_size=3), min_size=1, max_size=8)
_PATTERN = st.builds(
    "{}{}{}".format,
    st.sampled_from(["", "/", "!"]),
    st.lists(st.sampled_from(["a", "b", "*", "**", "a*", "x y"]), min_size=1, max_size=3).map(
        "/".join
    ),
    st.sampled_from(["", "/"]),
)
_PATTERNS = st.lists(_PATTERN, max_size=3).map(tuple)


@pytest.mark.parametrize("python", [["python3"], PYTHON39], ids=["python3", "python3.9"])
@settings(max_examples=40)
@given(paths=_PATHS, include=_PATTERNS, exclude=_PATTERNS, docker=_PATTERNS)
def test_we_rsync_and_the_box_choose_the_same_files(
    python: list[str],
    paths: list[list[str]],
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    docker: tuple[str, ...],
) -> None:
    with tempfile.TemporaryDirectory(prefix="dbx") as folder:
        root = Path(folder).resolve()
        for path in paths:
            file = root.joinpath(*path)
            if not file.exists() and not any(p.is_file() for p in file.parents):
                write(file, "x")
        write(root / ".dockerignore", "\n".join(docker))
        found = tree.read(root, spec.Sync(include=include, exclude=exclude), files=True)
        ours = {os.fsdecode(path) for path in found.files}
        assert ours == _by_rsync(root, found.rules.filters())
        assert ours == _by_the_box(root, found, python)
        assert all(found.rules.keeps(os.fsencode(path), folder=False) for path in ours)
