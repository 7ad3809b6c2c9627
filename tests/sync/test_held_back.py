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


ACTED_ON = """\
mise.toml mise.local.toml .mise.local.toml mise.production.local.toml .config/mise.toml
.config/mise/config.toml .config/mise/conf.d/a.toml mise/config.toml mise/config.local.toml
.tool-versions .envrc.local sub/.envrc.private .direnv/flake-profile.rc
lefthook.yaml .lefthook.yml lefthook-local.yml .lefthook-local.json .config/lefthook.toml
.lefthook/pre-commit/a.sh .pre-commit-config.yml .lintstagedrc.js lint-staged.config.mjs
.forgejo/workflows/x.yml .gitea/workflows/x.yml .github/actions/a/action.yml
.gitlab/ci/test.yml azure-pipelines.yml azure-pipelines-gpu.yaml .azure-pipelines/a.yml
.travis.yml appveyor.yml .drone.yml .cirrus.star .woodpecker/a.yml .buildkite/pipeline.yml
Jenkinsfile bitbucket-pipelines.yml .pdbrc .Rprofile jupyter_server_config.py
jupyter_notebook_config.json ipython_config.py .helix/languages.toml .vim/coc-settings.json
.codex/config.toml .gemini/settings.json LEFTHO~1.YAM .FORGEJO/Workflows/x.yml
.forgejo//workflows/x.yml"""


@pytest.mark.parametrize("name", ACTED_ON.split())
def test_every_kind_of_file_that_a_program_acts_on(name: str) -> None:
    assert held.acts(name.encode())


def test_a_folder_of_many_files_is_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[bytes] = []
    real = held._folded

    def folded(part: bytes) -> str:
        looked.append(part)
        return real(part)

    held._read.cache_clear()
    monkeypatch.setattr(held, "_folded", folded)
    assert not any(held.acts(b"runs/\xc3\xa9/%d" % number) for number in range(100))
    assert len(looked) == 102


@pytest.mark.parametrize(
    "name",
    ["train.py", "Makefile", "conftest.py", "devbox.toml.md", "github/x", ".github/FUNDING.yml",
     "vscode/a", "digit~1.txt", "\udcff.bin", "mise/train.py", "mise/a/config.toml", "promise.toml",
     "misery.toml", ".config/app.toml", ".gitlab/issue_templates/a.md", "workflows/x.yml",
     ".forgejo/x.md", "lefthook.md", "azure-pipelines.md", "justfile", "jupyter.py", ".env",
     "my_jupyter_config.py", ".gitignore", ".gitattributes", "premise/config.toml"],
)  # fmt: skip
def test_other_names_are_not_held_back(name: str) -> None:
    assert not held.acts(name.encode("utf-8", "surrogateescape"))
