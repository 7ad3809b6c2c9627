"""Repositories and uploads through the real client."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
from huggingface_hub.errors import (
    HfHubHTTPError,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from tests.emulators.hf import HfEmulator
from tests.emulators.hf.conftest import README, Push

BIG = b"\0" + os.urandom(3_000_000)


def test_whoami_tells_what_the_account_may(api: HfApi, emulator: HfEmulator) -> None:
    me = api.whoami()
    assert (me["name"], me["isPro"], me["canPay"]) == ("me", True, True)
    emulator.account.pro = emulator.account.can_pay = False
    me = api.whoami()
    assert (me["isPro"], me["canPay"]) == (False, False)
    assert me["auth"]["accessToken"]["role"] == "write"


def test_a_bad_token_is_401_everywhere(api: HfApi, emulator: HfEmulator) -> None:
    emulator.account.revoke_token(emulator.token)
    for call in (api.whoami, lambda: list(api.list_spaces()), lambda: api.space_info("me/x")):
        with pytest.raises(HfHubHTTPError) as caught:
            call()
        assert caught.value.response.status_code == 401


@pytest.mark.parametrize("kind", ["model", "dataset", "space"])
def test_create_describe_move_delete(api: HfApi, kind: str) -> None:
    sdk = "docker" if kind == "space" else None
    url = api.create_repo("thing", repo_type=kind, space_sdk=sdk, private=True)
    assert (url.repo_id, url.repo_type) == ("me/thing", kind)
    with pytest.raises(HfHubHTTPError, match="already created"):
        api.create_repo("me/thing", repo_type=kind, space_sdk=sdk)
    again = api.create_repo("me/thing", repo_type=kind, space_sdk=sdk, exist_ok=True)
    assert again.repo_id == "me/thing"
    info = api.repo_info("me/thing", repo_type=kind)
    assert info.private
    assert info.sha
    api.update_repo_settings("me/thing", private=False, repo_type=kind)
    assert not api.repo_info("me/thing", repo_type=kind).private
    api.move_repo("me/thing", "me/other", repo_type=kind)
    assert api.repo_info("me/other", repo_type=kind).id == "me/other"
    api.delete_repo("me/other", repo_type=kind)
    with pytest.raises(RepositoryNotFoundError):
        api.repo_info("me/other", repo_type=kind)
    with pytest.raises(RepositoryNotFoundError):
        api.delete_repo("me/other", repo_type=kind)
    api.delete_repo("me/other", repo_type=kind, missing_ok=True)


def test_somebody_elses_namespace_is_403(api: HfApi) -> None:
    with pytest.raises(HfHubHTTPError) as caught:
        api.create_repo("them/thing")
    assert caught.value.response.status_code == 403


def test_upload_list_and_download_small_and_large_files(
    api: HfApi, emulator: HfEmulator, tmp_path: Path
) -> None:
    api.create_repo("me/model")
    folder = tmp_path / "up"
    (folder / "sub").mkdir(parents=True)
    (folder / "README.md").write_bytes(b"# hello\n")
    (folder / "sub" / "weights.bin").write_bytes(BIG)
    (folder / "junk.log").write_text("ignored")
    (folder / ".gitignore").write_text("*.log\n")
    with pytest.warns(UserWarning, match="empty or missing yaml"):
        api.upload_folder(repo_id="me/model", folder_path=folder, commit_message="first")
    assert emulator.calls.routes.count("lfs_upload") == 1
    assert set(api.list_repo_files("me/model")) == {
        *(".gitattributes", ".gitignore", "README.md", "sub/weights.bin")
    }
    tree = {entry.path: entry for entry in api.list_repo_tree("me/model", expand=False)}
    assert set(tree) == {".gitattributes", ".gitignore", "README.md", "sub"}
    (entry,) = api.get_paths_info("me/model", ["sub/weights.bin"])
    assert (entry.size, entry.lfs is not None) == (len(BIG), True)  # type: ignore[union-attr]
    for name, content in (("README.md", b"# hello\n"), ("sub/weights.bin", BIG)):
        path = api.hf_hub_download("me/model", name, local_dir=tmp_path / "down")
        assert Path(path).read_bytes() == content
    copy = api.snapshot_download("me/model", cache_dir=tmp_path / "cache")
    assert (Path(copy) / "sub" / "weights.bin").read_bytes() == BIG


def test_unchanged_files_make_no_commit_and_no_second_upload(
    api: HfApi, emulator: HfEmulator
) -> None:
    api.create_repo("me/model")

    def upload() -> str:
        files = [CommitOperationAdd("a.txt", b"a"), CommitOperationAdd("b.bin", BIG)]
        return api.create_commit("me/model", files, commit_message="again").oid

    assert upload() == upload()
    routes = emulator.calls.routes
    assert (routes.count("commit"), routes.count("lfs_upload")) == (1, 1)
    assert len(api.list_repo_commits("me/model")) == 2


def test_deleting_and_a_stale_parent(api: HfApi, push: Push) -> None:
    api.create_repo("me/model")
    first = api.create_commit(
        "me/model", [CommitOperationAdd("d/a.txt", b"a")], commit_message="one"
    )
    api.create_commit("me/model", [CommitOperationDelete("d/")], commit_message="two")
    assert api.list_repo_files("me/model") == [".gitattributes"]
    assert "d/a.txt" in api.list_repo_files("me/model", revision=first.oid)
    with pytest.raises(RemoteEntryNotFoundError):
        api.create_commit("me/model", [CommitOperationDelete("gone")], commit_message="x")
    with pytest.raises(HfHubHTTPError) as caught:
        api.create_commit(
            "me/model",
            [CommitOperationAdd("c", b"c")],
            commit_message="late",
            parent_commit=first.oid,
        )
    assert caught.value.response.status_code == 412
    with pytest.raises(RevisionNotFoundError):
        api.list_repo_files("me/model", revision="dev")


def test_tags_name_a_commit(api: HfApi) -> None:
    api.create_repo("me/model")
    made = api.create_commit("me/model", [CommitOperationAdd("a", b"1")], commit_message="one")
    api.create_tag("me/model", tag="v1")
    api.create_commit("me/model", [CommitOperationAdd("a", b"2")], commit_message="two")
    (tag,) = api.list_repo_refs("me/model").tags
    assert (tag.name, tag.target_commit) == ("v1", made.oid)
    assert api.model_info("me/model", revision="v1").sha == made.oid
    api.create_tag("me/model", tag="v1", exist_ok=True)
    api.delete_tag("me/model", tag="v1")
    with pytest.raises(RevisionNotFoundError):
        api.model_info("me/model", revision="v1")


def test_bad_space_metadata_is_refused_before_anything_is_uploaded(
    api: HfApi, emulator: HfEmulator, push: Push
) -> None:
    api.create_repo("me/box", repo_type="space", space_sdk="docker")
    for readme in (b"---\nsdk: cobol\n---\n", b"---\nsdk: docker\ncolorFrom: beige\n---\n"):
        with pytest.raises(ValueError, match="Invalid metadata"):
            push("me/box", {"README.md": readme})
    assert "commit" not in emulator.calls.routes
    push("me/box", {"README.md": README})
    assert "devbox" in (api.space_info("me/box").tags or [])


def test_a_token_for_one_space_reaches_that_space_only(api: HfApi, emulator: HfEmulator) -> None:
    for name in ("one", "two"):
        api.create_repo(f"me/{name}", repo_type="space", space_sdk="docker")
    emulator.account.add_token("hf_scoped", repos=["me/one"])
    scoped = HfApi(endpoint=emulator.endpoint, token="hf_scoped")
    assert scoped.pause_space("me/one").stage == "PAUSED"
    with pytest.raises(RepositoryNotFoundError):
        scoped.pause_space("me/two")
    assert [space.id for space in scoped.list_spaces(author="me")] == ["me/one"]
    with pytest.raises(HfHubHTTPError):
        scoped.create_repo("me/three", repo_type="space", space_sdk="docker")
