"""Builds on a real engine: no-op, caches, failures, secrets; push and prune."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from pathlib import Path

import docker
import pytest

from devbox import paths
from devbox.errors import BuildFailed, NotFound, ProviderError, UsageError
from devbox.images import build, buildkit, plan, prune, push
from tests.images import standins
from tests.images.conftest import PYTHON, MakePlan
from tests.images.engine import Engine
from tests.images.registry import registry

__all__ = ["registry"]
pytestmark = pytest.mark.xdist_group("docker")
BUILDERS = pytest.mark.parametrize("builder", ["buildkit", "classic"])


@pytest.fixture
def builder(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    name = str(getattr(request, "param", "buildkit"))
    if name == "classic":
        monkeypatch.setattr(buildkit, "available", lambda _: False)
    return name


@pytest.mark.parametrize("builder", ["buildkit", "classic"], indirect=True)
def test_an_unchanged_build_is_a_no_op(
    client: docker.DockerClient, dockerfile_plan: MakePlan, root: Path, builder: str
) -> None:
    wanted = dockerfile_plan(f"RUN echo {builder}-{os.getpid()}", "COPY . /app")
    lines: list[str] = []
    first = build.build(client.api, wanted, say=lines.append)
    assert first.fresh
    assert any(f"{builder}-{os.getpid()}" in line for line in lines)
    again = build.build(
        client.api, dockerfile_plan(f"RUN echo {builder}-{os.getpid()}", "COPY . /app")
    )
    assert (again.id, again.fresh) == (first.id, False)
    (root / "main.py").write_text("print('other')\n")
    edited = dockerfile_plan(f"RUN echo {builder}-{os.getpid()}", "COPY . /app")
    assert edited.reference != wanted.reference
    said: list[str] = []
    assert build.build(client.api, edited, say=said.append).id != first.id
    text = "\n".join(said).lower()
    assert "cache" in text
    shown = client.containers.run(edited.reference, ["cat", "/app/main.py"], remove=True)
    assert shown == b"print('other')\n"


@pytest.mark.parametrize("builder", ["buildkit", "classic"], indirect=True)
def test_the_image_holds_what_was_sent(
    client: docker.DockerClient, dockerfile_plan: MakePlan, root: Path, builder: str
) -> None:
    """Enough to fill every window of the connection: names, modes, links, sizes, contents."""
    (root / "big.bin").write_bytes(os.urandom(6_000_000))
    (root / "empty").touch()
    for number in range(1500):
        file = root / f"d{number % 7}" / f"sub {number % 3}" / f"ü{number}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{number}\n" * (number % 50))
    (root / "run.sh").write_text(f"#!/bin/sh\necho {builder}\n")
    (root / "run.sh").chmod(0o755)
    (root / "link").symlink_to("d1/sub 1")
    (root / "d1.py").write_text("")  # sorts between a folder and what it holds, if done wrong
    wanted = dockerfile_plan("COPY . /app")
    made = build.build(client.api, wanted)
    (root / "d0" / "sub 0" / "ü0.txt").write_text("edited")
    (root / "d1.py").unlink()
    again = build.build(client.api, dockerfile_plan("COPY . /app"))
    assert again.id != made.id
    here = subprocess.run(["sh", "-c", _SUMS], cwd=root, capture_output=True, check=True).stdout
    there = client.containers.run(again.id, ["sh", "-c", f"cd /app && {_SUMS}"], remove=True)
    assert there == here
    assert len(here.splitlines()) > 1500


_SUMS = (
    "find . -type f -exec sha256sum {} + | LC_ALL=C sort; readlink link; find . -type f -perm -100"
)


def test_a_large_secret_arrives_whole(
    client: docker.DockerClient, dockerfile_plan: MakePlan
) -> None:
    secret = "s" * 300_000
    wanted = dockerfile_plan(
        "RUN --mount=type=secret,id=big test $(wc -c </run/secrets/big) = 300000"
    )
    assert build.build(client.api, wanted, secrets={"big": secret}, again=True).fresh
    with pytest.raises(UsageError, match="over 500 kB"):
        build.build(client.api, wanted, secrets={"big": "s" * 600_000}, again=True)


def test_an_edit_rebuilds_only_the_last_layer_of_a_template(
    engine: Engine, client: docker.DockerClient, root: Path
) -> None:
    args = standins.args(engine, PYTHON)
    build.build(client.api, plan.plan("cpu", root, args=args))
    (root / "main.py").write_text(f"print({os.getpid()})\n")
    said: list[str] = []
    build.build(client.api, plan.plan("cpu", root, args=args), say=said.append)
    steps = [line for line in said if line.startswith("[")]
    fresh = [line for line in steps if not line.endswith("(cached)") and "FROM" not in line]
    assert len(fresh) == 1, said
    assert "COPY --chown=1000:1000 . /app" in fresh[0]


@pytest.mark.parametrize("builder", ["buildkit", "classic"], indirect=True)
def test_a_failure_quotes_its_step_and_keeps_the_log(
    client: docker.DockerClient, dockerfile_plan: MakePlan, builder: str
) -> None:
    step = f"echo the reason {builder}-{os.getpid()} >&2; exit 7"
    wanted = dockerfile_plan("RUN echo fine", f"RUN {step}")
    with pytest.raises(BuildFailed) as raised:
        build.build(client.api, wanted)
    text = raised.value.render()
    assert f"RUN {step}" in text
    assert "\n  " in text
    assert "the reason" in text.partition("log ends with")[2]
    (log,) = (paths.home() / "builds").glob("*.log")
    assert str(log) in text
    assert "the reason" in log.read_text()
    assert log.stat().st_mode & 0o077 == 0
    left = [row["Id"] for row in client.api.containers(all=True) if step in row["Command"]]
    assert left == []


def test_a_base_that_is_gone_says_what_to_do(
    client: docker.DockerClient, root: Path, registry: str
) -> None:
    with pytest.raises(BuildFailed) as raised:
        build.build(
            client.api, plan.plan("cpu", root, args={"BASE": f"{registry}/cuda:12.1.0-old"})
        )
    assert "gone from its registry" in raised.value.fix
    assert "--arg BASE=" in raised.value.fix


def test_a_secret_is_in_no_layer_and_no_log(
    client: docker.DockerClient, dockerfile_plan: MakePlan
) -> None:
    secret = f"very-secret-{os.urandom(8).hex()}"
    wanted = dockerfile_plan(
        'RUN --mount=type=secret,id=token test "$(wc -c </run/secrets/token)" -gt 20'
        " && cat /run/secrets/token"
    )
    said: list[str] = []
    made = build.build(client.api, wanted, secrets={"token": secret}, say=said.append, again=True)
    assert secret not in "\n".join(said)
    assert "[secret]" in "\n".join(said)
    assert secret.encode() not in _everything(client, made.id)
    assert secret not in str(client.api.history(made.id)) + str(client.api.inspect_image(made.id))


def test_a_missing_secret_fails_the_step(
    client: docker.DockerClient, dockerfile_plan: MakePlan
) -> None:
    wanted = dockerfile_plan("RUN --mount=type=secret,id=token,required=true true")
    with pytest.raises(BuildFailed, match="token"):
        build.build(client.api, wanted, secrets={"other": "x" * 20})


@pytest.mark.parametrize("builder", ["classic"], indirect=True)
def test_without_buildkit_secrets_are_refused(
    client: docker.DockerClient, dockerfile_plan: MakePlan, builder: str
) -> None:
    assert builder == "classic"
    with pytest.raises(UsageError, match="would stay in a layer"):
        build.build(client.api, dockerfile_plan("RUN true"), secrets={"token": "x"})


def test_push_and_pull_again(
    client: docker.DockerClient, dockerfile_plan: MakePlan, registry: str
) -> None:
    made = build.build(client.api, dockerfile_plan(f"RUN echo {os.getpid()} >/mark"))
    said: list[str] = []
    pinned = push.push(client.api, made.reference, f"{registry}/team/work:1", say=said.append)
    assert pinned.startswith(f"{registry}/team/work@sha256:")
    assert said
    client.images.remove(f"{registry}/team/work:1")
    assert client.images.pull(pinned).id == made.id
    with pytest.raises(NotFound, match="no image"):
        push.push(client.api, "devbox/nothing:here", f"{registry}/x:1")
    with pytest.raises(ProviderError, match="not pushed"):
        push.push(client.api, made.reference, "127.0.0.1:9/x:1")
    for left in (pinned, "127.0.0.1:9/x:1"):
        client.images.remove(left)


@pytest.mark.parametrize("bad", ["", "-v/x", "a b", "http://x/y", "x//y"])
def test_a_push_target_is_a_reference(bad: str) -> None:
    with pytest.raises(UsageError):
        push.split(bad)
    assert push.split("localhost:5000/a/b") == ("localhost:5000/a/b", "")
    assert push.split("registry.example/a/b:1") == ("registry.example/a/b", "1")


def test_prune_keeps_the_newest_and_what_is_in_use(
    client: docker.DockerClient, dockerfile_plan: MakePlan
) -> None:
    project = f"prune-{os.getpid()}"
    plans = [
        dockerfile_plan(f"RUN echo {number} {project}")._replace(
            labels={plan.LABEL: "image", plan.PROJECT: project},
            reference=f"devbox/{project}/image:{number}",
        )
        for number in range(4)
    ]
    made = [build.build(client.api, each) for each in plans]
    holder = client.containers.create(made[0].reference, ["true"])
    try:
        removed = prune.prune(client.api, project=project, keep=1)
        assert {each.id for each in removed} == {made[1].id, made[2].id}
        left = {each.id for each in prune.made(client.api, project)}
        assert left == {made[0].id, made[3].id}
    finally:
        holder.remove()
    assert {each.id for each in prune.prune(client.api, project=project, keep=0)} == left


def test_prune_removes_what_a_newer_build_took_the_tag_of(
    client: docker.DockerClient, dockerfile_plan: MakePlan
) -> None:
    project = f"again-{os.getpid()}"
    wanted = dockerfile_plan("RUN head -c 20 /dev/urandom >/mark")._replace(
        labels={plan.LABEL: "image", plan.PROJECT: project}, reference=f"devbox/{project}/image:1"
    )
    old, new = (build.build(client.api, wanted, again=True).id for _ in range(2))
    assert old != new
    (removed,) = prune.prune(client.api, project=project, keep=1)
    assert (removed.id, removed.references) == (old, ())
    assert [each.id for each in prune.made(client.api, project)] == [new]


def _everything(client: docker.DockerClient, image: str) -> bytes:
    """All layers' bytes, unpacked, and the image's settings."""
    out = b""
    with tarfile.open(fileobj=io.BytesIO(b"".join(client.api.get_image(image)))) as outer:
        for member in outer.getmembers():
            file = outer.extractfile(member)
            out += file.read() if file else b""
    return out
