"""Deploying as one commit through the API, and following the build."""

from __future__ import annotations

import json

import pytest
from huggingface_hub import HfApi

from devbox.deploy import follow, target
from devbox.deploy import plan as plans
from devbox.deploy import push as pushes
from devbox.deploy.push import Allowed
from devbox.deploy.target import Target
from devbox.errors import BuildFailed, Gone, UsageError
from devbox.providers.hf import tags
from devbox.workspace import Workspace
from tests.deploy.conftest import SPACE, Devbox, Git
from tests.emulators.common import Fault
from tests.emulators.hf import HfEmulator


@pytest.fixture
def ready(project: Git) -> Git:
    """A project that can be a Space."""
    return project


def deploy(ws: Workspace, space: Target, **allowed: bool) -> bool:
    return pushes.push(ws, space, plans.plan(ws, space, "api"), Allowed(**allowed))


def test_one_commit_of_what_differs_then_its_build(
    ws: Workspace, space: Target, ready: Git, api: HfApi, hub: HfEmulator, said: list[str]
) -> None:
    repo = hub.spaces[SPACE].repo
    before = len(repo.commits)
    seen = plans.plan(ws, space, "api")
    assert {path for path, _ in seen.files} == {
        "devbox.toml",
        "main.py",
        "Dockerfile",
        "README.md",
    }
    assert deploy(ws, space)
    assert len(repo.commits) == before + 1
    assert follow.follow(ws, space).stage == "RUNNING"
    assert any(line.startswith("build | --> FROM") for line in said)
    assert plans.plan(ws, space, "api").is_empty
    assert not deploy(ws, space)
    ready.write("main.py", "print('edited')\n")
    assert dict(plans.plan(ws, space, "api").files) == {"main.py": 16}
    assert deploy(ws, space)
    assert len(repo.commits) == before + 2


def test_files_that_only_the_space_has_stay_unless_told(
    ws: Workspace, space: Target, ready: Git, api: HfApi, hub: HfEmulator
) -> None:
    ready.write("old.py", "1\n")
    deploy(ws, space)
    (ready.root / "old.py").unlink()
    assert plans.plan(ws, space, "api").stale == ("old.py",)
    deploy(ws, space)
    assert "old.py" in hub.spaces[SPACE].repo.files
    assert plans.plan(ws, space, "api").is_empty
    deploy(ws, space, prune=True)
    assert "old.py" not in hub.spaces[SPACE].repo.files


def test_files_that_only_a_box_of_ours_has_go_and_it_is_said(
    ws: Workspace, space: Target, ready: Git, api: HfApi, hub: HfEmulator, said: list[str]
) -> None:
    deploy(ws, space)
    tag = {tags.TOKEN: "t1", tags.NAME: "app", tags.CEILING: "3600", tags.SPACE: SPACE}
    for key, value in tag.items():
        api.add_space_variable(SPACE, key, value)
    (ready.root / "main.py").unlink()
    seen = plans.plan(ws, space, "api")
    assert (seen.prunes, seen.stale, seen.is_empty) == (True, ("main.py",), False)
    deploy(ws, space)
    assert "main.py" not in hub.spaces[SPACE].repo.files
    assert any("removing 1 file that only me/app has" in line for line in said)


def test_a_large_file_goes_through_lfs_by_itself(
    ws: Workspace, space: Target, ready: Git, api: HfApi, hub: HfEmulator
) -> None:
    ready.write("model.bin", b"\1" * (11 * 1024**2))
    seen = plans.plan(ws, space, "api")
    assert [each.path for each in seen.lfs] == ["model.bin"]
    deploy(ws, space)
    assert hub.spaces[SPACE].repo.files["model.bin"].lfs
    assert plans.plan(ws, space, "api").is_empty


def test_a_build_that_fails_ends_with_its_log(
    ws: Workspace, space: Target, ready: Git, api: HfApi, hub: HfEmulator
) -> None:
    hub.knobs.set("commit", Fault.build_error("pip: no such package"))
    deploy(ws, space)
    with pytest.raises(BuildFailed, match="BUILD_ERROR") as caught:
        follow.follow(ws, space)
    assert "pip: no such package" in caught.value.what
    assert "logs=build" in caught.value.fix


def test_a_fault_while_following_does_not_end_it(
    ws: Workspace, space: Target, ready: Git, api: HfApi, hub: HfEmulator
) -> None:
    deploy(ws, space)
    hub.knobs.set("runtime", Fault.server_error(), times=2)
    assert follow.follow(ws, space).stage == "RUNNING"


def test_a_space_that_does_not_build_is_not_waited_for(
    ws: Workspace, space: Target, ready: Git, api: HfApi, hub: HfEmulator
) -> None:
    deploy(ws, space)
    follow.follow(ws, space)
    assert follow.follow(ws, space, grace=0.0).stage == "RUNNING"
    api.pause_space(SPACE)
    assert follow.follow(ws, space).stage == "PAUSED"


def test_secrets_are_refused_before_anything_is_sent(
    ws: Workspace, space: Target, ready: Git, api: HfApi, hub: HfEmulator
) -> None:
    ready.write(".env", "TOKEN=1\n")
    with pytest.raises(UsageError, match="look like secrets"):
        deploy(ws, space)
    assert "main.py" not in hub.spaces[SPACE].repo.files


def test_no_such_space(ws: Workspace, ready: Git) -> None:
    with pytest.raises(Gone):
        plans.plan(ws, target.find(ws, None, "me/none"), "api")


def test_as_typed(
    devbox: Devbox, ws: Workspace, ready: Git, api: HfApi, bare: Git, hub: HfEmulator
) -> None:
    shown = devbox(ready.root, "deploy", "--check", "--via", "api").stdout
    assert "me/app: one commit through the API" in shown
    assert "would push 4 files" in shown
    assert "main.py" not in hub.spaces[SPACE].repo.files
    done = devbox(ready.root, "deploy", "--via", "api")
    assert f"deployed to {hub.endpoint}/spaces/me/app  RUNNING" in done.stdout
    assert "build | --> FROM" in done.stderr
    again = json.loads(devbox(ready.root, "deploy", "--via", "api", "--json").stdout)
    assert (again["kind"], again["pushed"]) == ("deploy", False)
    by_git = json.loads(devbox(ready.root, "deploy", "--check", "--json").stdout)
    assert (by_git["via"], by_git["ahead"], by_git["theirs"]) == ("git", 1, [])
    assert "git remote hf" in devbox(ready.root, "deploy", "--check").stdout
    assert "deployed to" in devbox(ready.root, "deploy", "--no-follow").stdout
    assert bare("rev-parse", "main") == ready("rev-parse", "HEAD")
    ready.write("main.py", "changed\n")
    assert "--allow-dirty" in devbox(ready.root, "deploy", "--no-follow", code=5).stderr
