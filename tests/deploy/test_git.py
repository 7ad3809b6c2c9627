"""Deploying by git: real repositories, the remote hf beside origin."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from huggingface_hub import HfApi

from devbox import spec
from devbox.deploy import plan as plans
from devbox.deploy import push as pushes
from devbox.deploy import target
from devbox.deploy.plan import Via
from devbox.deploy.push import Allowed
from devbox.deploy.target import Target
from devbox.errors import Conflict, Gone, NotFound, ProviderError, UsageError
from devbox.workspace import Workspace
from tests.core.hostile import ALL
from tests.deploy.conftest import README, Git, MakeClone


def deploy(ws: Workspace, space: Target, **allowed: bool) -> bool:
    return pushes.push(ws, space, plans.plan(ws, space, "git"), Allowed(**allowed))


def test_a_first_deploy_adds_the_remote_and_pushes_all(
    ws: Workspace, space: Target, project: Git, bare: Git, said: list[str]
) -> None:
    project("remote", "add", "origin", "https://example.org/me/p.git")
    before = plans.plan(ws, space, "git")
    assert (before.ahead, before.base, before.theirs) == (1, "", ())
    assert {path for path, _ in before.files} == {
        *("devbox.toml", "main.py", "Dockerfile", "README.md")
    }
    assert 0 < before.size < 5000
    assert project("remote") == "origin"
    assert deploy(ws, space)
    assert bare("rev-parse", "main") == project("rev-parse", "HEAD")
    assert project("remote", "get-url", "hf") == space.repository.git_url
    assert project("remote", "get-url", "origin") == "https://example.org/me/p.git"
    assert project("rev-parse", "hf/main") == project("rev-parse", "HEAD")
    assert project("status", "--porcelain", "--branch") == "## main"
    assert any("added the git remote hf" in line for line in said)
    assert plans.plan(ws, space, "git").is_empty
    assert not deploy(ws, space)


def test_only_what_is_new_is_pushed(ws: Workspace, space: Target, project: Git, bare: Git) -> None:
    deploy(ws, space)
    project.commit("second", main_py="print('new')\n")
    project.commit("third", notes_md="x" * 1000)
    seen = plans.plan(ws, space, "git")
    assert seen.ahead == 2
    assert dict(seen.files) == {"main.py": 13, "notes.md": 1000}
    assert deploy(ws, space)
    assert bare("show", "main:main.py") == "print('new')"


def test_commits_that_only_the_space_has_are_shown_and_kept(
    ws: Workspace, space: Target, project: Git, bare: Git, clone: MakeClone
) -> None:
    deploy(ws, space)
    other = clone()
    theirs = other.commit("edited on the Hub's page", README_md=f"{README}hello\n")
    other("push", "-q", "origin", "HEAD:main")
    project.commit("ours", main_py="print(2)\n")
    seen = plans.plan(ws, space, "git")
    assert seen.theirs == (f"{theirs[:7]} edited on the Hub's page",)
    assert seen.ahead == 1
    with pytest.raises(Conflict, match="edited on the Hub's page") as caught:
        deploy(ws, space)
    assert "git pull --rebase hf main" in caught.value.fix
    assert bare("rev-parse", "main") == theirs
    project("pull", "-q", "--rebase", "hf", "main")
    assert deploy(ws, space)
    assert bare("log", "--format=%s", "main").split("\n")[0] == "ours"
    assert "hello" in bare("show", "main:README.md")


def test_force_drops_them_but_not_one_that_nobody_has_seen(
    ws: Workspace, space: Target, project: Git, bare: Git, clone: MakeClone
) -> None:
    deploy(ws, space)
    other = clone()
    other.commit("theirs", a_txt="1")
    other("push", "-q", "origin", "HEAD:main")
    project.commit("ours", b_txt="2")
    seen = plans.plan(ws, space, "git")
    newest = other.commit("theirs again", a_txt="3")
    other("push", "-q", "origin", "HEAD:main")
    with pytest.raises(Conflict, match="another commit just now"):
        pushes.push(ws, space, seen, Allowed(force=True))
    assert bare("rev-parse", "main") == newest
    assert deploy(ws, space, force=True)
    assert bare("rev-parse", "main") == project("rev-parse", "HEAD")


@pytest.mark.parametrize("via", ["git", "api"])
def test_code_that_an_ignore_rule_drops_is_warned_about(
    ws: Workspace, space: Target, project: Git, bare: Git, api: HfApi, said: list[str], via: Via
) -> None:
    """A line meant for data sets that also drops the package of that name."""
    project.write(".gitignore", "data/\n")
    project.write("model/data/__init__.py", "X = 1\n")
    project.write("data/set.bin", "x")
    project.commit("model", main_py="from model.data import X\n")
    project.write("model/__init__.py", "")
    project.commit("package")
    seen = plans.plan(ws, space, via)
    (warning,) = seen.ignored_imports
    assert "leaves out model/data, which main.py imports as model.data" in warning
    assert pushes.push(ws, space, seen, Allowed())
    assert any(f"warning: {warning}" in line for line in said)
    project.write(".gitignore", "/data/\n")
    project.commit("anchored")
    assert plans.plan(ws, space, via).ignored_imports == ()


@pytest.mark.parametrize(
    ("files", "lacking"),
    [
        ({"README.md": "# only words\n"}, "a README.md whose metadata names an SDK"),
        ({"README.md": None}, "a README.md whose metadata names an SDK"),
        ({"Dockerfile": None}, "a Dockerfile"),
        ({"Dockerfile": None, "README.md": "---\nsdk: static\n---\n"}, ""),
        ({"README.md": '---\ntitle: x\nsdk: "docker"\n---\n'}, ""),
    ],
)
def test_commits_that_are_no_space_are_not_pushed(
    ws: Workspace,
    space: Target,
    project: Git,
    bare: Git,
    files: dict[str, str | None],
    lacking: str,
) -> None:
    """The Hub would have nothing to build, and the Space that ran would be gone."""
    for path, text in files.items():
        if text is None:
            project("rm", "-q", path)
        else:
            project.write(path, text)
    project("commit", "-q", "-a", "-m", "changed")
    assert plans.plan(ws, space, "git").lacks == lacking
    if not lacking:
        assert deploy(ws, space)
        return
    with pytest.raises(Conflict, match=lacking) as caught:
        deploy(ws, space, force=True)
    assert "--via api" in caught.value.fix
    assert "devbox image render" in caught.value.fix
    assert bare("for-each-ref") == ""


def test_a_dirty_tree_is_refused_unless_told(
    ws: Workspace, space: Target, project: Git, bare: Git
) -> None:
    project.write("main.py", "print('not committed')\n")
    project.write("new.py", "1\n")
    with pytest.raises(Conflict, match=r"main\.py, new\.py") as caught:
        deploy(ws, space)
    assert "--allow-dirty" in caught.value.fix
    assert project("remote") == ""
    assert deploy(ws, space, dirty=True)
    assert bare("show", "main:main.py") == "print('hello')"
    assert (project.root / "main.py").read_text() == "print('not committed')\n"


def test_a_remote_that_leads_elsewhere_stays(
    ws: Workspace, space: Target, project: Git, bare: Git
) -> None:
    project("remote", "add", "hf", "https://huggingface.co/spaces/me/other")
    with pytest.raises(Conflict, match="me/other") as caught:
        deploy(ws, space)
    assert "set-url" in caught.value.fix
    assert project("remote", "get-url", "hf").endswith("me/other")


def test_large_and_binary_files_are_candidates_for_lfs_in_the_history_too(
    ws: Workspace, space: Target, project: Git, bare: Git
) -> None:
    project.commit("large", model_bin=b"\1" * (11 * 1024**2), logo_png=b"\x89PNG\0\1")
    (project.root / "model.bin").unlink()
    project.commit("without it")
    seen = plans.plan(ws, space, "git")
    assert [(each.path, each.must) for each in seen.lfs] == [
        ("model.bin", True),
        ("logo.png", False),
    ]
    with pytest.raises(Conflict, match=r"model\.bin \(11") as caught:
        deploy(ws, space)
    assert "git lfs migrate" in caught.value.fix


@pytest.mark.parametrize(
    ("path", "content"),
    [
        (".env", "A=1\n"),
        ("keys/id_ed25519", "x\n"),
        ("src/config.py", f"token = 'hf_{'a' * 34}'\n"),
        ("notes.txt", "-----BEGIN OPENSSH PRIVATE KEY-----\n"),
    ],
)
def test_secrets_in_the_history_stop_it(
    ws: Workspace, space: Target, project: Git, bare: Git, path: str, content: str
) -> None:
    project.write(path, content)
    project.commit("oops")
    project("rm", "-q", path)
    project.commit("removed again")
    with pytest.raises(UsageError, match="look like secrets") as caught:
        deploy(ws, space)
    assert path in caught.value.what
    assert "hf_aaa" not in caught.value.render()
    assert bare("for-each-ref") == ""


def test_the_source_of_truth_is_remembered(
    ws: Workspace, space: Target, project: Git, bare: Git, home: Path, said: list[str]
) -> None:
    origin = Git(home / "origin")
    origin("init", "-q", "--bare")
    project("remote", "add", "origin", str(origin.root))
    project("push", "-q", "-u", "origin", "main")
    project.commit("not at origin", x_txt="1")
    assert plans.plan(ws, space, "git").upstream == ("origin/main", 1)
    deploy(ws, space)
    assert any("origin/main lacks 1 commit " in line for line in said)
    assert project("rev-parse", "--abbrev-ref", "@{upstream}") == "origin/main"


def test_no_such_space(ws: Workspace, space: Target, project: Git) -> None:
    with pytest.raises(Gone, match="git ls-remote"):
        deploy(ws, space)
    assert project("remote") == ""


def test_nothing_committed(home: Path, identity: None, ws: Workspace, space: Target) -> None:
    empty = Git(home / "empty")
    empty("init", "-q")
    empty.write("devbox.toml", (ws.spec.root / "devbox.toml").read_text())
    fresh = Workspace(spec.load(empty.root / "devbox.toml"))
    with pytest.raises(Conflict, match="nothing has been committed"):
        plans.plan(fresh, space, "git")


def test_git_where_the_project_is_its_top_else_the_api(ws: Workspace, project: Git) -> None:
    assert plans.choose(ws) == "git"
    assert plans.choose(ws, "api") == "api"
    project.write("sub/devbox.toml", "")
    inner = Workspace(spec.load(project.root / "sub" / "devbox.toml"))
    assert plans.choose(inner) == "api"
    with pytest.raises(UsageError, match="not the top folder"):
        plans.choose(inner, "git")


def test_which_space(ws: Workspace, project: Git) -> None:
    assert target.find(ws, None).repository.space == "me/app"
    assert target.find(ws, "app", "me/other").repository.space == "me/other"
    with pytest.raises(NotFound):
        target.find(ws, "nobody")
    for text in ALL:
        with pytest.raises((ProviderError, UsageError, NotFound)):
            target.find(ws, None, text or "-")
    bare = Workspace(spec.Spec(project="p", root=project.root))
    with pytest.raises(UsageError, match="no box is on one"):
        target.find(bare, None)


def test_hostile_file_names_do_no_harm(
    ws: Workspace, space: Target, project: Git, bare: Git
) -> None:
    names = [
        "-rf",
        "a b",
        "q'\"uote",
        "new\nline",
        "tab\tx",
        "$(touch x)",
        "é\u202e.py",
        "\x1b[31m",
    ]
    for index, name in enumerate(names):
        (project.root / name).write_text(f"{index}\n")
    project.commit("odd names")
    seen = plans.plan(ws, space, "git")
    assert len(seen.files) == len(names) + 4
    assert not any(ord(c) < 32 and c != "\t" for path, _ in seen.files for c in path)
    assert deploy(ws, space)
    assert len(os.fsencode(bare("ls-tree", "-r", "-z", "main")).split(b"\0")) - 1 == len(names) + 4
