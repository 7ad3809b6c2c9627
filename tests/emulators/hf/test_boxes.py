"""A running Space or Job is a machine: the real ssh reaches real processes."""

from __future__ import annotations

import os
import time

import psutil
from huggingface_hub import HfApi, Volume

from tests.emulators.hf import HfEmulator
from tests.emulators.hf.conftest import TIMES, Push, Ssh


def test_ssh_reaches_the_space_by_its_subdomain(api: HfApi, running: str, ssh: Ssh) -> None:
    user = str(api.space_info(running).subdomain)
    code, out, _ = ssh.run(user, 'echo "$SPACE_ID"; ls; ls app')
    assert (code, out.split()) == (0, ["me/box", "app", "Dockerfile", "README.md"])


def test_settings_reach_the_environment(
    api: HfApi, emulator: HfEmulator, running: str, ssh: Ssh
) -> None:
    api.add_space_secret(running, "PAUSE_TOKEN", "hf_scoped")
    api.add_space_variable(running, "MODE", "dev")
    emulator.advance(TIMES.start)
    _, out, _ = ssh.run("me-box", 'echo "$PAUSE_TOKEN $MODE $HF_ENDPOINT"')
    assert out == f"hf_scoped dev {emulator.endpoint}\n"


def test_only_registered_keys_get_in(emulator: HfEmulator, running: str, ssh: Ssh) -> None:
    emulator.account.ssh_keys = []
    code, _, err = ssh.run("me-box", "true")
    assert (code, "Permission denied (publickey)" in err) == (255, True)
    emulator.account.ssh_keys = None
    assert ssh.run("me-box", "true")[0] == 0


def test_without_dev_mode_or_while_not_running_the_gateway_refuses(
    api: HfApi, emulator: HfEmulator, push: Push, ssh: Ssh
) -> None:
    api.create_repo("me/box", repo_type="space", space_sdk="docker")
    push("me/box")
    code, _, err = ssh.run("me-box", "true")
    assert (code, "not running (stage BUILDING)" in err) == (255, True)
    emulator.advance(TIMES.build + TIMES.start)
    code, _, err = ssh.run("me-box", "true")
    assert (code, "Dev Mode is not enabled" in err) == (255, True)
    code, _, err = ssh.run("me-nothing", "true")
    assert (code, "Nothing is called me-nothing" in err) == (255, True)


def test_a_pause_closes_sessions_kills_every_process_and_loses_the_disk(
    api: HfApi, emulator: HfEmulator, running: str, ssh: Ssh
) -> None:
    ssh.run("me-box", "echo work > notes; setsid nohup sleep 300 >/dev/null 2>&1 </dev/null &")
    session = ssh.start("me-box", "echo $$; cat")
    assert session.stdout is not None
    shell = psutil.Process(int(session.stdout.readline()))
    container = emulator.spaces[running].container
    assert container is not None
    assert {p.name() for p in container.box.processes()} >= {"sleep"}
    api.pause_space(running)
    assert session.wait(15) == 255
    assert container.box.processes() == []
    assert not shell.is_running() or shell.status() == psutil.STATUS_ZOMBIE
    api.restart_space(running)
    emulator.advance(TIMES.start)
    code, out, _ = ssh.run("me-box", "ls")
    assert (code, out) == (0, "app\n")


def test_a_bucket_outlives_a_restart(
    api: HfApi, emulator: HfEmulator, running: str, ssh: Ssh
) -> None:
    volume = Volume(type="bucket", source="me/data", mount_path="/data")
    api.set_space_volumes(running, [volume])
    emulator.advance(TIMES.start)
    ssh.run("me-box", "echo kept > data/file")
    api.restart_space(running)
    emulator.advance(TIMES.start)
    assert ssh.run("me-box", "cat data/file")[1] == "kept\n"


def test_the_gateway_keeps_its_host_key_across_a_restart_of_the_emulator(
    emulator: HfEmulator,
) -> None:
    line = emulator.gateway.host_key_line
    with HfEmulator(state_dir=emulator.state_dir) as second:
        assert second.gateway.host_key_line == line


def test_a_job_is_reached_at_its_ssh_url_until_it_is_cancelled(
    api: HfApi, emulator: HfEmulator, ssh: Ssh
) -> None:
    job = api.run_job(
        image="python:3.12",
        command=["bash", "-c", "echo ready > mark; sleep infinity"],
        ssh=True,
        secrets={"KEY": "value"},
        namespace="me",
    )
    assert job.status.ssh_url == f"ssh://{job.id}@{emulator.gateway_host_port}"
    assert "not running (stage SCHEDULING)" in ssh.run(job.id, "true")[2]
    emulator.advance(TIMES.schedule)
    deadline = time.monotonic() + 120
    while ssh.run(job.id, "cat mark")[1] != "ready\n":
        assert time.monotonic() < deadline
    code, out, _ = ssh.run(job.id, 'echo "$JOB_ID $KEY"; pgrep -u $(id -u) -x sleep >/dev/null')
    assert (code, out) == (0, f"{job.id} value\n")
    box = emulator.jobs[job.id].box
    assert box is not None
    api.cancel_job(job_id=job.id, namespace="me")
    assert box.processes() == []
    assert not os.path.exists(box.root)
    assert "not running (stage CANCELED)" in ssh.run(job.id, "true")[2]


def test_a_job_without_ssh_has_no_way_in(api: HfApi, emulator: HfEmulator, ssh: Ssh) -> None:
    job = api.run_job(image="python:3.12", command=["sleep", "60"], namespace="me")
    assert job.status.ssh_url is None
    emulator.advance(TIMES.schedule)
    assert "SSH is not enabled" in ssh.run(job.id, "true")[2]
