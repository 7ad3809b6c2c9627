"""What a user finds in a container: who they are, what is there, what outlives what."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

import pytest

from devbox.errors import ProviderError, UsageError
from devbox.images import build, plan
from devbox.model import BoxState
from devbox.providers.docker.provider import Docker
from devbox.remote import agent_bootstrap
from devbox.spec import Bytes, Seconds, Volume
from tests.boxes import put
from tests.contract.harness_docker import DockerHarness
from tests.images import standins
from tests.images.conftest import PYTHON
from tests.images.engine import BASE
from tests.images.engine import Engine as ImageEngine
from tests.providers.docker import world


def test_private_files_are_in_no_setting_and_leave_the_disk(
    harness: DockerHarness, provider: Docker, space: world.Space
) -> None:
    request = harness.request()._replace(secrets={"TOKEN_OF_TEST": "sesame-very-secret"})
    handle = provider.create(request)
    key = "".join(request.host_key.splitlines()[1:-1])[:60]
    with harness.login(request, harness.running(provider, handle)) as connection:
        assert connection.run(["printenv", "TOKEN_OF_TEST"]).out == "sesame-very-secret\n"
        assert connection.run(["ls", "/.devbox/given"], check=False).code != 0
        main = connection.run(["cat", "/proc/1/environ", "/proc/1/cmdline"]).out
    inspected = json.dumps(space.inspect(handle))
    changed = space.client.diff(handle)
    assert all(secret not in inspected + main for secret in ("sesame", key))
    assert all(each["Path"] != "/.devbox/given" for each in changed)
    provider.pause(handle)
    with pytest.raises(Exception, match="Could not find"):
        space.client.get_archive(handle, "/run/devbox/env.sh")
    handle = provider.resume(request, handle)
    with harness.login(request, harness.running(provider, handle)) as connection:
        assert connection.run(["printenv", "TOKEN_OF_TEST"]).out == "sesame-very-secret\n"


def test_a_session_has_the_images_environment_and_user(
    harness: DockerHarness, provider: Docker
) -> None:
    request = harness.request(image=world.PLAIN, workdir="deep/er")
    seen = harness.running(provider, provider.create(request))
    assert seen.endpoint is not None
    assert seen.endpoint.user == "person"
    with harness.login(request, seen) as connection:
        assert connection.run(["id", "-un"]).out == "person\n"
        assert connection.run(["pwd"]).out == "/home/person\n"
        assert connection.run(["printenv", "FROM_IMAGE"]).out == "yes\n"
        assert connection.run(["stat", "-c", "%U", "deep/er"]).out == "person\n"
        for argv in (["printenv", "PATH"], ["bash", "-lc", "printenv PATH"]):
            assert connection.run(argv).out.startswith("/opt/ours/bin:"), argv
        assert connection.run(["touch", "/.devbox/x"], check=False).code != 0
        assert connection.run(["kill", "1"], check=False).code != 0
        secret = connection.run(["stat", "-c", "%U %a", "/run/devbox/env.sh"]).out
        assert secret == "person 600\n"


def test_a_helper_born_after_the_signal_saves_before_a_pause(
    harness: DockerHarness, provider: Docker
) -> None:
    """Neither a second signal nor the SIGHUP for interactive shells ends what saves, and those
    do not hold up the pause."""
    request = harness.request()
    handle = provider.create(request)
    program = (
        "trap 'python3 -c \"import time; time.sleep(2)\"; echo x >ckpt; exit 0' TERM\n"
        "touch armed\nsleep 5000 & wait\n"
    )
    with harness.login(request, harness.running(provider, handle)) as connection:
        connection.run(["tee", "save.sh"], input=program.encode())
        start = (
            "setsid sh save.sh >log 2>&1 </dev/null & "
            "setsid script -qc 'bash -i' /dev/null >log2 2>&1 </dev/zero & "
            "until [ -f armed ]; do sleep 0.02; done"
        )
        connection.run(["sh", "-c", start])
    provider.pause(handle)
    harness.reaches(provider, handle, BoxState.PAUSED)
    provider.resume(request, handle)
    with harness.login(request, harness.running(provider, handle)) as connection:
        assert connection.run(["cat", "ckpt"]).out == "x\n"


def test_the_ceiling_holds_after_a_resume(harness: DockerHarness, provider: Docker) -> None:
    request = harness.request(max_uptime=Seconds(3))
    handle = provider.create(request)
    first = harness.running(provider, handle)
    assert first.billed_since is not None
    assert first.deadline == pytest.approx(first.billed_since + 3, abs=0.01)
    provider.pause(handle)
    harness.reaches(provider, handle, BoxState.PAUSED)
    provider.resume(request, handle)
    again = harness.running(provider, handle)
    assert again.deadline is not None
    assert first.deadline is not None
    assert again.deadline > first.deadline
    over = harness.reaches(provider, handle, BoxState.PAUSED)
    assert "max_uptime" in over.message
    assert over.ended_at is not None
    assert again.deadline - 1.1 <= over.ended_at <= again.deadline + 3


def test_root_inside_cannot_keep_it_past_its_ceiling(
    harness: DockerHarness, provider: Docker
) -> None:
    request = harness.request(max_uptime=Seconds(4))
    handle = provider.create(request)
    with harness.login(request, harness.running(provider, handle)) as connection:
        deaf = "trap '' TERM HUP; (sleep 999 &) >/dev/null 2>&1"
        gone = "kill -KILL 1; kill -STOP 1; rm -rf /.devbox /run/devbox/*"
        connection.run(["sh", "-c", f"{deaf}; {gone}"])
    harness.reaches(provider, handle, BoxState.PAUSED)
    assert harness.live() == 0


def test_programs_may_save_before_a_pause(harness: DockerHarness, provider: Docker) -> None:
    request = harness.request()
    handle = provider.create(request)
    script = "trap 'echo saved >saved; exit' TERM; echo >ready; while :; do sleep 0.1; done"
    with harness.login(request, harness.running(provider, handle)) as connection:
        connection.run(["sh", "-c", f'nohup sh -c "{script}" >/dev/null 2>&1 &'])
        connection.run(["sh", "-c", "until [ -e ready ]; do sleep 0.05; done"], timeout=60)
    provider.pause(handle)
    provider.resume(request, handle)
    with harness.login(request, harness.running(provider, handle)) as connection:
        assert connection.run(["cat", "saved"]).out == "saved\n"


def test_volumes_outlive_the_box_and_belong_to_its_user(
    harness: DockerHarness, provider: Docker, space: world.Space, home: Path
) -> None:
    named, folder = f"devbox-test-{uuid.uuid4().hex[:8]}", home / "shared"
    folder.mkdir()
    (folder / "here").write_text("from the engine's machine")
    volumes = {
        "cache": Volume(source=named, mount=".cache/models"),
        "data": Volume(source=str(folder), mount="/data", read_only=True),
    }
    try:
        for write in (True, False):
            request = harness.request(image=world.PLAIN, volumes=volumes)
            handle = provider.create(request)
            with harness.login(request, harness.running(provider, handle)) as connection:
                if write:
                    put(connection, b"weights", ".cache/models/w")
                    put(connection, b"x", ".cache/other")
                assert connection.run(["cat", ".cache/models/w"]).out == "weights"
                assert connection.run(["cat", "/data/here"]).out == "from the engine's machine"
                assert connection.run(["touch", "/data/x"], check=False).code != 0
            provider.terminate(handle)
            harness.gone(provider, handle)
    finally:
        for each in space.containers():
            space.client.remove_container(each["Id"], force=True)
        space.client.remove_volume(named)


@pytest.mark.parametrize("source", ["", "-v", "a b", "../x", "x" * 300, "a:b"])
def test_a_bad_volume_makes_nothing(
    harness: DockerHarness, provider: Docker, space: world.Space, source: str
) -> None:
    with pytest.raises(UsageError):
        provider.create(harness.request(volumes={"v": Volume(source=source, mount="x")}))
    assert space.containers() == []


def test_limits_are_the_engines_to_hold(
    harness: DockerHarness, provider: Docker, space: world.Space
) -> None:
    request = harness.request(cpu=1.5, memory=Bytes(300 * 1024**2))
    handle = provider.create(request)
    host = space.inspect(handle)["HostConfig"]
    assert (host["NanoCpus"], host["Memory"]) == (1_500_000_000, 300 * 1024**2)
    assert host["PortBindings"] == {"22/tcp": [{"HostIp": "127.0.0.1", "HostPort": ""}]}
    (offer,) = provider.offers_for(request.spec)
    assert (offer.hardware.cpus, offer.hardware.memory) == (1.5, 300 * 1024**2)
    with pytest.raises(ProviderError, match="CPUs"):
        provider.create(harness.request("c", cpu=4000.0))
    assert len(space.containers()) == 1


def test_an_image_that_cannot_be_a_box_says_why(
    harness: DockerHarness, provider: Docker, space: world.Space
) -> None:
    handle = provider.create(harness.request(image=BASE))
    seen = harness.reaches(provider, handle, BoxState.FAILED)
    assert "no sshd" in seen.message
    assert not seen.billed
    assert any("no sshd" in line for line in provider.run_logs(handle, follow=False))


def test_no_gpu_without_the_runtime(
    harness: DockerHarness, provider: Docker, space: world.Space
) -> None:
    with pytest.raises(ProviderError, match="NVIDIA") as caught:
        provider.create(harness.request()._replace(hardware="gpu"))
    assert "toolkit" in caught.value.fix
    assert space.containers() == []


def test_an_image_that_is_not_there(harness: DockerHarness, provider: Docker) -> None:
    with pytest.raises(UsageError, match="neither a template"):
        provider.create(harness.request(image="Not An Image"))


def test_a_template_of_devbox_is_a_box(
    harness: DockerHarness, provider: Docker, space: world.Space
) -> None:
    """The base is swapped for one made here; all else is the template as it is."""
    args = standins.args(ImageEngine(world.engine(), BASE), PYTHON)
    built = build.build(space.client, plan.plan("cpu", None, args=args, without=["code"]))
    request = harness.request(image=built.reference)
    seen = harness.running(provider, provider.create(request))
    assert seen.endpoint is not None
    assert seen.endpoint.user == "user"
    with harness.login(request, seen) as connection:
        assert connection.run(["sh", "-c", "id -u; pwd; command -v python3"]).out.split() == [
            "1000",
            "/home/user",
            "/opt/venv/bin/python3",
        ]
        baked = connection.run(["readlink", agent_bootstrap.LINK]).out.strip()
        assert agent_bootstrap.install(connection).endswith(baked)
    provider.terminate(seen.handle)
    harness.gone(provider, seen.handle)
    space.client.remove_image(built.reference)


def test_a_dockerfile_of_the_project_is_built_once(
    harness: DockerHarness, provider: Docker, said: list[str], space: world.Space, home: Path
) -> None:
    root = home / "project"
    root.mkdir()
    mark = uuid.uuid4().hex
    text = f"FROM {world.IMAGE}\nARG MARK=none\nRUN echo built-$MARK && touch /made\n"
    (root / "Dockerfile").write_text(text)
    ours: dict[str, Any] = {"image": "./Dockerfile", "build_args": {"MARK": mark}}
    request = harness.request(**ours)._replace(root=str(root))
    handle = provider.create(request)
    try:
        with harness.login(request, harness.running(provider, handle)) as connection:
            connection.run(["ls", "/made"])
        assert any(f"built-{mark}" in line for line in said)
        assert any(f"built-{mark}" in line for line in provider.build_logs(handle, follow=True))
        said.clear()
        provider.create(harness.request("c", **ours)._replace(root=str(root)))
        assert said == []
    finally:
        made = space.inspect(handle)["Image"]
        for each in space.containers():
            space.client.remove_container(each["Id"], force=True)
        space.client.remove_image(made, force=True)
