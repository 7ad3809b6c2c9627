"""`devbox checkpoints` as a user types it: here, on a box, against an emulated Hub and bucket."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import pytest
from google.cloud import storage
from huggingface_hub import HfApi

from devbox import spec
from devbox.box.checkpoints.source import Source, parse
from devbox.checkpoints import access
from devbox.errors import NotTrusted
from devbox.model import Box
from devbox.remote.exec import Exec
from tests.command_line import Devbox, devbox
from tests.emulators.hf import HfEmulator
from tests.jobs.conftest import BoxHalf, oldest_python
from tests.jobs.test_checkpoints import Web, begin, bucket, site
from tests.providers.hf.conftest import hub

__all__ = ["bucket", "devbox", "hub", "site"]
DATA = os.urandom(300_000)
SHA256 = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def project(local_workspace: Any, local_box: Box, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with one box up, and the current folder."""
    root: Path = local_workspace.spec.root
    monkeypatch.chdir(root)
    return root


def toml(project: Path, **tables: dict[str, Any]) -> None:
    lines = []
    for name, keys in tables.items():
        lines.append(f"[checkpoints.{name}]")
        lines += [f"{k} = {str(v).lower() if v is True else repr(v)}" for k, v in keys.items()]
    (project / "devbox.toml").write_text("\n".join(lines) + "\n")
    spec.trust_file(project / "devbox.toml")


def states(outcome: Any) -> dict[str, str]:
    return {row["name"]: row["state"] for row in outcome.data["checkpoints"]}


def on_box(box: Box, *words: str) -> str:
    return Exec(box).run(list(words)).out


def test_pulled_here_once_and_verified(devbox: Devbox, project: Path, site: Web) -> None:
    site.data = DATA
    toml(project, w={"source": site.url, "path": "models/w.pt", "sha256": SHA256, "bytes": 300_000})
    assert states(devbox("checkpoints", "ls", "--json")) == {"w": "missing"}
    verify = devbox("checkpoints", "verify")
    assert (verify.code, "checkpoint w is missing" in verify.err) == (18, True)
    done = devbox("checkpoints", "pull", "--json")
    assert done.code == 0, done.err
    (row,) = done.data["checkpoints"]
    assert (row["state"], row["bytes"]) == ("verified", 300_000)
    assert "signature" not in done.out + done.err
    place = Path(row["path"])
    assert place.read_bytes() == DATA
    assert devbox("checkpoints", "pull").code == 0
    assert len(site.asked) == 1
    place.write_bytes(DATA[:-1] + b"x")
    done = devbox("checkpoints", "verify", "w", "--json")
    assert (done.code, states(done)) == (18, {"w": "wrong"})
    assert place.exists()


def test_a_wrong_file_is_kept_aside_and_refused(devbox: Devbox, project: Path, site: Web) -> None:
    toml(project, w={"source": site.url, "path": "w.pt", "sha256": "0" * 64})
    done = devbox("checkpoints", "pull", "--dir", "weights")
    assert done.code == 18
    assert "it is not used, and kept aside as" in done.err
    assert (project / "weights/w/w.pt.wrong").exists()
    assert not (project / "weights/w/w.pt").exists()


def test_one_without_a_hash_is_told_its_hash(devbox: Devbox, project: Path, site: Web) -> None:
    site.data = DATA
    toml(project, w={"source": site.url.replace("http://", "https://"), "path": "w.pt"})
    (project / "d/w").mkdir(parents=True)
    (project / "d/w/w.pt").write_bytes(DATA)
    done = devbox("checkpoints", "verify", "--dir", "d")
    assert done.code == 0
    assert f'its sha256, for devbox.toml: "{SHA256}"' in done.out


def test_on_a_box_it_is_a_run_that_goes_where_path_says(
    devbox: Devbox, project: Path, site: Web, local_box: Box
) -> None:
    site.data = DATA
    toml(project, w={"source": site.url, "path": "models/w.pt", "sha256": SHA256})
    done = devbox("checkpoints", "pull", "--box", "b", "--json")
    assert done.code == 0, done.err
    assert done.data["run"]["state"] == "succeeded"
    assert on_box(local_box, "wc", "-c", "models/w.pt").split()[0] == "300000"
    assert states(devbox("checkpoints", "ls", "--box", "b", "--json")) == {"w": "verified"}
    assert states(devbox("checkpoints", "verify", "--box", "b", "--json")) == {"w": "verified"}
    on_box(local_box, "sh", "-c", "echo x >> models/w.pt")
    assert states(devbox("checkpoints", "ls", "--box", "b", "--json")) == {"w": "there"}
    done = devbox("checkpoints", "verify", "--box", "b", "--json")
    assert (done.code, states(done)) == (18, {"w": "wrong"})


def test_a_file_of_this_computer_is_sent_and_checked(
    devbox: Devbox, project: Path, local_box: Box
) -> None:
    (project / "my weights.pt").write_bytes(DATA)
    toml(project, w={"source": "./my weights.pt", "path": "models/w.pt", "sha256": SHA256})
    assert devbox("checkpoints", "pull", "--box", "b").code == 0
    assert on_box(local_box, "sha256sum", "models/w.pt").split()[0] == SHA256
    toml(project, w={"source": "./none.pt", "path": "models/v.pt"})
    done = devbox("checkpoints", "pull", "--box", "b")
    assert done.code == 4
    assert "checkpoint w is not there" in done.err


def test_a_local_source_outside_the_project_needs_trust(home: Path) -> None:
    file = home / "p" / "devbox.toml"
    file.parent.mkdir()
    for source in ("~/.ssh/id_rsa", "/etc/passwd", "../other.pt"):
        file.write_text(f'[checkpoints.w]\nsource = "{source}"\npath = "w"\n')
        with pytest.raises(NotTrusted):
            spec.load(file).checkpoint("w")
    file.write_text('[checkpoints.w]\nsource = "./w.pt"\npath = "w"\n')
    found = spec.load(file).checkpoint("w")
    assert found is not None
    assert found.local(file.parent) == file.parent / "w.pt"


def test_gated_ones_are_named_with_their_page_before_a_box_is_made(
    devbox: Devbox, project: Path, hub: HfEmulator
) -> None:
    api = HfApi(endpoint=hub.endpoint, token=hub.token)
    api.create_repo("me/gated")
    api.upload_file(path_or_fileobj=DATA, path_in_repo="w.pt", repo_id="me/gated")
    repo = hub.hub.repos["model", "me/gated"]
    repo.gated = True
    toml(
        project,
        w={
            **{"source": "hf://me/gated/w.pt", "path": "w.pt", "gated": True, "sha256": SHA256},
            **{"secret": "hf:token", "licence": "sam", "page": "https://example.org/terms"},
        },
    )
    with (project / "devbox.toml").open("a") as stream:
        stream.write('[boxes.new]\nprovider = "local"\n')
    said = "this token may not read it: accept its terms at https://example.org/terms"
    listed = devbox("checkpoints", "ls")
    assert said in listed.out
    done = devbox("up", "new", "--no-sync")
    assert said in done.err
    devbox("down", "new", "--yes", "--no-save")
    pulled = devbox("checkpoints", "pull", "--dir", "d")
    assert pulled.code == 18
    assert "is gated" in pulled.err
    assert not list((project / "d").rglob("w.pt"))
    repo.accepted.add("me")
    (row,) = devbox("checkpoints", "ls", "--json").data["checkpoints"]
    assert (row["allowed"], row["licence"]) == (True, "sam")
    assert devbox("checkpoints", "pull", "--dir", "d").code == 0
    assert access.sentences(spec.load(project / "devbox.toml")) == []


def test_pushed_to_the_hub_and_not_over_another(
    devbox: Devbox, project: Path, hub: HfEmulator
) -> None:
    HfApi(endpoint=hub.endpoint, token=hub.token).create_repo("me/w")
    entry = {"source": "hf://me/w/sub/w.pt", "path": "w.pt", "secret": "hf:token"}
    _push_cases(devbox, project, entry)
    assert hub.hub.repos["model", "me/w"].files["sub/w.pt"].content == b"other"


def test_pushed_to_a_bucket_and_not_over_another(
    devbox: Devbox, project: Path, bucket: storage.Bucket
) -> None:
    _push_cases(devbox, project, {"source": "gs://weights/v1/w.pt", "path": "w.pt"})
    assert bucket.blob("v1/w.pt").download_as_bytes() == b"other"
    (project / "d/w/w.pt").unlink()
    assert devbox("checkpoints", "pull", "--dir", "d").code == 0
    assert (project / "d/w/w.pt").read_bytes() == b"other"


def _push_cases(devbox: Devbox, project: Path, entry: dict[str, Any]) -> None:
    toml(project, w=entry)
    push = ("checkpoints", "push", "w", "--dir", "d", "--json")
    missing = devbox(*push)
    assert (missing.code, "is not there" in missing.err) == (18, True)
    place = project / "d/w/w.pt"
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(DATA)
    assert states(devbox(*push)) == {"w": "sent"}
    assert states(devbox(*push)) == {"w": "unchanged"}
    place.write_bytes(b"other")
    done = devbox(*push)
    assert (done.code, "--replace puts this there" in done.err) == (18, True)
    toml(project, w={**entry, "sha256": SHA256})
    assert "sha256" in devbox(*push, "--replace").err
    toml(project, w=entry)
    assert states(devbox(*push, "--replace")) == {"w": "sent"}


def test_without_the_library_a_file_of_the_hub_comes_over_the_web(
    home: Path, hub: HfEmulator
) -> None:
    """The oldest Python of this machine has no huggingface_hub; nothing is installed for it."""
    python = oldest_python()
    api = HfApi(endpoint=hub.endpoint, token=hub.token)
    api.create_repo("me/w", private=True)
    half = BoxHalf(home, python)
    status = begin(half, "hf://me/w/none.pt", secret=hub.token)
    assert "answers 404" in status["message"]
    api.upload_file(path_or_fileobj=DATA, path_in_repo="a/w.pt", repo_id="me/w")
    status = begin(half, "hf://me/w/a/w.pt", "r2", sha256=SHA256, secret=hub.token)
    assert (status["state"], status["message"]) == ("succeeded", "")
    assert not (half.root / "packages").exists() or not list((half.root / "packages").iterdir())
    half.clear()


def test_local_sources_are_parsed() -> None:
    assert parse("./a.pt") == Source("file", "./a.pt")
    assert parse("~/d/").is_folder
    assert not parse("/a").is_folder
