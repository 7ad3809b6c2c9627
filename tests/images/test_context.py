"""The build context: what is sent, what stops it, what is warned about."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest
from docker.utils.build import PatternMatcher
from hypothesis import given, settings
from hypothesis import strategies as st

from devbox.errors import NotFound, UsageError
from devbox.ignore.rules import Rules, image
from devbox.images import context, ignored_imports, plan


def write(root: Path, *paths: str, text: str = "x") -> None:
    for path in paths:
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


def of(patterns: list[str]) -> Rules:
    return image("\n".join(patterns).encode())


def left_out(patterns: list[str], path: str) -> bool:
    rule = of(patterns).decide(path.encode(), folder=False)
    return rule is not None and not rule.keep


def sent(root: Path) -> set[str]:
    return {file.path for file in context.collect(root).files}


def test_dockerignore_is_honoured(root: Path) -> None:
    write(root, "a.log", "keep.log", "data/x", "sub/data/y", "sub/z.tmp", "n/in", "n/out", ".git/c")
    (root / ".dockerignore").write_text("# c\n*.log\n!keep.log\n/data/\n**/*.tmp\nn\n!n/in\n")
    assert sent(root) == {"main.py", "keep.log", "sub/data/y", "n/in"}


def test_no_dockerignore_leaves_out_what_no_image_needs(root: Path) -> None:
    write(root, ".git/config", ".venv/x", "a/__pycache__/b.pyc", "a/node_modules/m.js", "a/b.py")
    assert sent(root) == {"main.py", "a/b.py"}


_NAMES = st.sampled_from(["a", "b", "c.py", "d.tmp"])
_PATHS = st.lists(_NAMES, min_size=1, max_size=3).map("/".join)
_PATTERNS = st.lists(
    st.builds(
        "{}{}".format,
        st.sampled_from(["", "!"]),
        st.lists(
            st.sampled_from(["a", "b", "*", "*.py", "?", "[ab]", "c.*"]),
            min_size=1,
            max_size=3,
        ).map("/".join),
    ),
    max_size=4,
)


@settings(max_examples=500)
@given(path=_PATHS, patterns=_PATTERNS)
def test_rules_are_read_as_the_docker_package_reads_them(path: str, patterns: list[str]) -> None:
    assert left_out(patterns, path) == PatternMatcher(patterns).matches(path)


@pytest.mark.parametrize(
    ("pattern", "out", "kept"),
    [
        ("**/a", ["a", "x/a", "x/y/a", "x/a/b"], ["ab", "x/ab"]),
        ("x/**/a", ["x/a", "x/y/a", "x/y/z/a/b"], ["a", "y/x/a"]),
        ("x/**", ["x/a", "x/a/b"], ["y", "xa"]),
        ("**/*.log", ["a.log", "x/a.log"], ["a.logs"]),
        ("a\\*b", ["a*b"], ["axb"]),
        ("a+(b)", ["a+(b)"], ["aab"]),
        ("a**b", ["ab", "ax/b", "a/x/b", "ab/c"], ["axb", "b"]),
        ("x**", ["x", "xa", "x/a"], ["a/x"]),
        ("[!a]", ["!", "a"], ["b"]),
        ("[^a]", ["b"], ["a"]),
        ("***.log", ["a.log", "x/a.log"], ["a.logs"]),
    ],
)
def test_two_stars_and_odd_characters(pattern: str, out: list[str], kept: list[str]) -> None:
    """The docker package does not read `**` as the engine does; these are the engine's answers."""
    assert [path for path in out + kept if left_out([pattern], path)] == out


def test_too_much_stops_with_the_largest(root: Path) -> None:
    with (root / "weights.bin").open("wb") as stream:
        stream.truncate(context.MOST + 1)
    write(root, "small.txt")
    with pytest.raises(UsageError) as raised:
        context.collect(root)
    assert "weights.bin" in raised.value.what.splitlines()[1]
    assert "over 200" in raised.value.what
    assert ".dockerignore" in raised.value.fix
    (root / ".dockerignore").write_text("weights.bin\n")
    assert sent(root) == {"main.py", "small.txt"}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (".env", "A=1"),
        ("conf/.env.local", "A=1"),
        ("deploy.pem", "x"),
        (".ssh/config", "x"),
        ("service-account-1.json", "{}"),
        ("settings.py", "T = 'hf_" + "a" * 34 + "'"),
        ("key.txt", "-----BEGIN OPENSSH PRIVATE KEY-----\n"),
    ],
)
def test_likely_secrets_stop_with_the_list(root: Path, name: str, text: str) -> None:
    write(root, name, text=text)
    with pytest.raises(UsageError) as raised:
        context.collect(root)
    assert name in raised.value.what
    assert "aaaa" not in raised.value.render()
    (root / ".dockerignore").write_text(f"{name}\n")
    assert sent(root) == {"main.py"}


def test_what_is_no_secret_passes(root: Path) -> None:
    write(root, ".env.example", "task-with-a-very-long-name-that-goes-on-and-on.txt")
    write(root, "note.md", text="a task-with-a-very-long-name-that-goes-on-and-on-and-on, hf_short")
    write(root, "weights.bin", text="\0hf_" + "a" * 34)
    assert len(sent(root)) == 5 - 1 + 1


def test_the_digest_is_of_names_modes_and_contents(root: Path) -> None:
    first = context.collect(root).digest
    os.utime(root / "main.py", (1, 1))
    assert context.collect(root).digest == first
    (root / "main.py").chmod(0o755)
    executable = context.collect(root).digest
    (root / "main.py").write_text("print('hellO')\n")
    edited = context.collect(root).digest
    (root / "main.py").rename(root / "other.py")
    renamed = context.collect(root).digest
    (root / "link").symlink_to("other.py")
    linked = context.collect(root).digest
    extra = context.collect(root, {"x": b"1"}).digest
    assert len({first, executable, edited, renamed, linked, extra}) == 6


def test_the_archive_holds_what_was_hashed(root: Path) -> None:
    write(root, "sub/ü.txt", text="héllo")
    (root / "run.sh").write_text("#!/bin/sh\n")
    (root / "run.sh").chmod(0o700)
    (root / "link").symlink_to("main.py")
    made = context.collect(root, {".devbox-image/boot": b"b"})
    out = io.BytesIO()
    context.archive(made, "FROM x\n", out, name=".devbox-image/Dockerfile")
    out.seek(0)
    with tarfile.open(fileobj=out) as tar:
        entries = {each.name: each for each in tar.getmembers()}
    assert set(entries) == {
        *("main.py", "sub/ü.txt", "run.sh", "link"),
        *(".devbox-image/boot", ".devbox-image/Dockerfile", ".dockerignore"),
    }
    assert entries["run.sh"].mode == 0o755
    assert entries["main.py"].mode == 0o644
    assert entries["link"].linkname == "main.py"
    assert {each.mtime for each in entries.values()} == {0}
    assert {each.uid for each in entries.values()} == {0}


def test_an_ignore_rule_that_swallows_imported_code_is_named(root: Path) -> None:
    write(root, "model/__init__.py", "model/data/__init__.py", "data/readme.md", text="")
    write(root, "model/net.py", text="from .data import prepare\nimport os\n")
    write(root, "datasets/scan.py", "notes/old.py", text="")
    (root / ".dockerignore").write_text("**/data\ndatasets\nnotes\n")
    made = plan.plan("cpu", root)
    (warning,) = made.warnings
    assert "'**/data' leaves out model/data, which model/net.py imports as model.data" in warning
    write(root, "main.py", text="from datasets import scan\n")
    assert len(plan.plan("cpu", root).warnings) == 2
    (root / ".dockerignore").write_text("/data\n")
    assert plan.plan("cpu", root).warnings == ()


@pytest.mark.parametrize(
    ("code", "swallows"),
    [
        ("import pkg.data", True),
        ("from pkg import data", True),
        ("from pkg.data.io import read", True),
        ("import data", False),
        ("import pkg.database", False),
        ("def broken(:", False),
    ],
)
def test_which_imports_count(root: Path, code: str, swallows: bool) -> None:
    write(root, "src/pkg/__init__.py", "src/pkg/data/io.py", text="")
    write(root, "main.py", text=code + "\n")
    rules = of(["**/data"])
    (root / ".dockerignore").write_text("**/data\n")
    found = ignored_imports.swallowed(context.collect(root), rules)
    assert bool(found) is swallows


def test_a_plan_is_named_by_what_goes_in(root: Path) -> None:
    first = plan.plan("cpu", root, project="My Project!")
    assert first.reference.startswith("devbox/my-project/cpu:")
    assert plan.plan("cpu", root, project="My Project!") == first
    other = plan.plan("cpu", root, project="My Project!", args={"BASE": "x:1"})
    assert other.reference != first.reference
    without = plan.plan("cpu", root, without=["code"])
    assert not without.context.files


def test_a_plan_of_a_dockerfile_by_path(root: Path) -> None:
    (root / "Dockerfile.train").write_text("FROM x:1\n")
    assert plan.plan("Dockerfile.train", root).reference.startswith("devbox/train:")
    with pytest.raises(NotFound, match="no Dockerfile"):
        plan.plan("./nothing", root)
    with pytest.raises(NotFound, match="no image template"):
        plan.plan("cpuu", root)
    with pytest.raises(UsageError, match="environment variable"):
        plan.plan("cpu", root, args={"A B": "1"})
