"""A box cannot bring files along that programs here act on by themselves, under any spelling."""

from __future__ import annotations

import pytest

from devbox.sync import held, unsaved
from devbox.sync.compare import HELD
from tests.sync.conftest import MakePair, Pair, files, write

TASKS = ".vscode/tasks.json"


def test_what_programs_act_on_stays_on_the_box_and_is_told(pair: Pair) -> None:
    write(pair.here / "devbox.toml", "mine", age=50)
    write(pair.here / "a.py", "1", age=50)
    pair.up()
    for name in (TASKS, "pkg/.vscode/tasks.json", "devbox.toml", ".github/workflows/x.yml"):
        write(pair.there / name, "from the box")
    write(pair.there / ".github/ISSUE.md", "text")
    write(pair.there / "a.py", "edited")
    for _ in range(2):  # told for as long as it is so
        report = pair.down()
        assert {kept.path for kept in report.kept if kept.why == HELD} == {
            TASKS,
            "pkg/.vscode/tasks.json",
            "devbox.toml",
            ".github/workflows/x.yml",
        }
    assert files(pair.here) == {
        "devbox.toml": "mine",
        "a.py": "edited",
        ".github/ISSUE.md": "text",
    }
    groups = {group.kind: group.count for group in unsaved.look(pair.ws, pair.box).groups}
    assert groups == {"held": 4}


def test_a_name_fetches_it_and_a_wildcard_does_not(
    make_pair: MakePair, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = make_pair(down=("*", ".devcontainer/"))
    for name in (TASKS, ".devcontainer/devcontainer.json", "out.txt"):
        write(pair.there / name, "from the box")
    assert set(pair.down().moved) == {".devcontainer/devcontainer.json", "out.txt"}
    assert pair.down(force=True, ignored=True).moved == ()
    monkeypatch.chdir(pair.here)
    assert pair.down(paths=(".vscode",)).moved == (TASKS,)


def test_the_same_file_on_both_sides_is_not_told(pair: Pair) -> None:
    write(pair.here / TASKS, "mine", age=50)
    pair.up()
    assert pair.down().kept == ()
    write(pair.here / TASKS, "edited here")
    assert HELD not in {kept.why for kept in pair.down().kept}


@pytest.mark.parametrize(
    "name",
    [
        "Devbox.TOML",
        "devbox.toml.",
        "devbox.toml ",
        "sub/.VSCode/tasks.json",
        ".vscode./tasks.json",
        ".vsc\u200bode/tasks.json",
        ".\uff56scode/tasks.json",
        ".git/hooks/post-checkout",
        ".GIT/hooks/post-checkout",
        "GIT~1/hooks/post-checkout",
        ".git::$INDEX_ALLOCATION/config",
        "sub/.git",
        ".envrc",
        ".GitHub/Workflows/x.yml",
        "my.code-workspace",
        ".husky/pre-commit",
    ],
)
def test_spellings_that_some_file_system_takes_for_one_of_them(name: str) -> None:
    assert held.acts(name.encode())


@pytest.mark.parametrize(
    "name",
    ["train.py", "Makefile", "conftest.py", "devbox.toml.md", "github/x", ".github/FUNDING.yml",
     "vscode/a", "digit~1.txt", "\udcff.bin"],
)  # fmt: skip
def test_other_names_are_not_held_back(name: str) -> None:
    assert not held.acts(name.encode("utf-8", "surrogateescape"))
