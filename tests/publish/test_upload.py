"""Uploads through the real client to an emulated Hub: existing, unchanged, interrupted, refused."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from devbox import spec
from devbox.errors import AuthError, Conflict, DevboxError, ProviderError, UsageError
from devbox.publish.package import Report, Uploaded
from devbox.publish.upload import Where, upload
from devbox.workspace import Workspace
from tests.command_line import Devbox, devbox, project
from tests.emulators.common import Fault
from tests.emulators.hf import HfEmulator
from tests.providers.hf.conftest import hub
from tests.publish.files import CARD, Tiny, save, training, write_project

__all__ = ["devbox", "hub", "project"]

BIG = os.urandom(3_000_000)


@pytest.fixture
def folder(home: Path) -> Path:
    """A package: one large file and two small ones."""
    made = home / "package"
    made.mkdir()
    (made / "model.safetensors").write_bytes(BIG)
    (made / "README.md").write_text(CARD)
    (made / "VERSION").write_text("1.0\n")
    (made / ".devbox-publish.json").write_text("{}")
    return made


@pytest.fixture
def ws(home: Path, hub: HfEmulator) -> Workspace:
    return Workspace(spec.load(None), sleep=lambda _: None)


def put(ws: Workspace, folder: Path, version: str = "1.0", **more: Any) -> Uploaded:
    report: Report = {}
    upload(ws, folder, version, Where("me/m", **more), report)
    return report["upload"]


def test_a_model_is_made_committed_once_and_tagged(
    ws: Workspace, hub: HfEmulator, folder: Path
) -> None:
    told = put(ws, folder, private=True)
    repo = hub.hub.repos["model", "me/m"]
    assert repo.private
    assert set(repo.files) == {"README.md", "VERSION", "model.safetensors", ".gitattributes"} & set(
        repo.files
    )
    assert repo.files["model.safetensors"].content == BIG
    assert repo.tags == {"1.0": told["commit"]} == {"1.0": repo.head.oid}
    assert sorted(told["changed"]) == ["README.md", "VERSION", "model.safetensors"]


def test_what_is_there_already_makes_no_second_commit(
    ws: Workspace, hub: HfEmulator, folder: Path
) -> None:
    put(ws, folder)
    before = list(hub.hub.repos["model", "me/m"].commits)
    assert put(ws, folder)["changed"] == []
    assert hub.hub.repos["model", "me/m"].commits == before
    (folder / "README.md").write_text(CARD + "more\n")
    told = put(ws, folder, "1.1")
    assert told["changed"] == ["README.md"]
    assert len(hub.hub.repos["model", "me/m"].commits) == len(before) + 1


def test_a_version_keeps_its_content(ws: Workspace, hub: HfEmulator, folder: Path) -> None:
    put(ws, folder)
    (folder / "README.md").write_text(CARD + "more\n")
    commits = len(hub.hub.repos["model", "me/m"].commits)
    with pytest.raises(Conflict, match=r"has the version 1\.0 already"):
        put(ws, folder)
    assert len(hub.hub.repos["model", "me/m"].commits) == commits


@pytest.mark.parametrize(
    ("route", "fault"),
    [
        # Those that the client itself tries again for a minute after a cut are refused instead.
        ("preupload", Fault.forbidden()),
        ("lfs_batch", Fault.forbidden()),
        ("lfs_upload", Fault.forbidden()),
        ("commit", Fault.reset()),
        ("create_tag", Fault.reset()),
    ],
)
def test_an_interrupted_upload_is_finished_by_the_same_command(
    ws: Workspace, hub: HfEmulator, folder: Path, route: str, fault: Fault
) -> None:
    hub.knobs.set(route, fault, times=50)
    with pytest.raises(DevboxError):
        put(ws, folder)
    hub.knobs.clear()
    sent = len(hub.hub.large_files)
    told = put(ws, folder)
    repo = hub.hub.repos["model", "me/m"]
    assert repo.files["model.safetensors"].content == BIG
    assert repo.tags == {"1.0": repo.head.oid}
    assert told["tag"] == "1.0"
    titles = [made.title for made in repo.commits]
    assert titles.count("Upload package 1.0") == 1
    assert len(hub.hub.large_files) == 1 >= sent


def test_a_commit_whose_answer_is_lost_is_not_made_twice(
    ws: Workspace, hub: HfEmulator, folder: Path
) -> None:
    hub.knobs.set("commit", Fault.reply_lost())
    put(ws, folder)
    titles = [made.title for made in hub.hub.repos["model", "me/m"].commits]
    assert titles.count("Upload package 1.0") == 1


def test_a_passing_fault_is_waited_out(ws: Workspace, hub: HfEmulator, folder: Path) -> None:
    waits: list[float] = []
    ws.sleep = waits.append
    hub.knobs.set("create_repo", Fault.error(503), times=20)
    with pytest.raises(DevboxError):
        put(ws, folder)
    assert waits == [5.0, 10.0]


def test_a_public_repository_is_not_taken_for_a_private_one(
    ws: Workspace, hub: HfEmulator, folder: Path
) -> None:
    put(ws, folder)
    with pytest.raises(Conflict, match="everybody can read it"):
        put(ws, folder, private=True)


def test_a_failed_dataset_is_an_error_and_the_model_stays(
    ws: Workspace, hub: HfEmulator, folder: Path, home: Path
) -> None:
    data = home / "data.bin"
    data.write_bytes(b"x" * 100)
    report: Report = {}
    where = Where("me/m", dataset=data, dataset_repo="other/d")
    with pytest.raises(ProviderError) as caught:
        upload(ws, folder, "1.0", where, report)
    assert "its dataset is not" in caught.value.means
    assert report["upload"]["dataset"]["error"]
    assert hub.hub.repos["model", "me/m"].tags
    upload(ws, folder, "1.0", where._replace(dataset_repo="me/d"), report)
    assert hub.hub.repos["dataset", "me/d"].files["data.bin"].content == b"x" * 100
    with pytest.raises(DevboxError, match="there is no dataset"):
        put(ws, folder, dataset=home / "none")


def test_the_token_is_read_by_reference(
    ws: Workspace, hub: HfEmulator, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MINE", os.environ["HF_TOKEN"])
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(AuthError):
        put(ws, folder)
    put(ws, folder, token="env:MINE")
    with pytest.raises(AuthError):
        put(ws, folder, token="env:NOT_SET")


@pytest.mark.parametrize("name", ["", "a/b/c", "../x", "a b", "me/--x", "me/x\n"])
def test_names_that_are_no_repository_are_refused(ws: Workspace, folder: Path, name: str) -> None:
    with pytest.raises(UsageError):
        upload(ws, folder, "", Where(name), {})


def test_the_verb_from_checkpoint_to_hub(
    devbox: Devbox, hub: HfEmulator, home: Path, project: Path
) -> None:
    root = write_project(project)
    save(home / "best.pth", training(Tiny()))
    argv = ["publish", str(home / "best.pth"), "--variant", "tiny", "--version", "1.0", "--json"]
    done = devbox(*argv)
    assert done.code == 0, done.err
    report = json.loads(done.out)
    assert (report["kind"], report["ok"], report["upload"]["repo"]) == (
        "publish",
        True,
        "me/m-tiny",
    )
    assert "src/physics/gravity.py" in hub.hub.repos["model", "me/m-tiny"].files
    assert json.loads(devbox(*argv).out)["upload"]["changed"] == []
    assert os.environ["HF_TOKEN"] not in done.out + done.err
    (root / "cards/tiny.md").write_text("TBD")
    done = devbox(*argv, "--no-upload")
    report = json.loads(done.out)
    assert (done.code, report["ok"]) == (18, False)
    assert "lacks: ## Model Details" in report["error"]
    assert [c["state"] for c in report["checks"] if c["name"] == "card TBD"] == ["failed"]
    done = devbox("publish", str(home / "best.pth"), "--variant", "tiny", "--version", "../x")
    assert done.code == 2
    done = devbox("publish", str(home / "best.pth"), "--token-from", "hf_secret_value")
    assert done.code == 2
    assert "hf_secret_value" not in done.out + done.err
