"""What a Modal box is made of, who may use it, and what it says."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import modal
import pytest
from modal_proto import api_pb2

from devbox.errors import (
    BuildFailed,
    Conflict,
    Gone,
    ProviderError,
    ToolMissing,
    Unavailable,
    UsageError,
)
from devbox.model import BoxState
from devbox.providers.modal.account import Account
from devbox.providers.modal.errors import translated
from devbox.providers.modal.provider import Modal
from devbox.spec import Bytes, ModalSettings, Seconds, Volume
from tests.boxes import put
from tests.contract.harness_modal import ModalHarness
from tests.emulators.common import Fault
from tests.emulators.modal import ModalEmulator, Stages

MANY_LINES = '{"key": "-----BEGIN\n it\'s \\"quoted\\" $HOME `x`\n-----END"}'


def only(emulator: ModalEmulator) -> Any:
    (sandbox,) = emulator.sandboxes.values()
    return sandbox


def test_a_sandbox_is_made_as_the_spec_says(
    harness: ModalHarness, provider: Modal, emulator: ModalEmulator
) -> None:
    request = harness.request(
        "work",
        cpu=3.0,
        memory=Bytes(8 * 1024**3),
        max_uptime=Seconds(7200),
        region="us-east",
        volumes={"data": Volume(source="datasets", mount="data"), "w": Volume("weights", "/w")},
    )._replace(hardware="H100:2")
    handle = provider.create(request)
    seen = harness.running(provider, handle)
    sandbox = only(emulator)
    definition = sandbox.definition
    assert handle == sandbox.id
    assert sandbox.name == "work"
    assert (definition.timeout_secs, definition.idle_timeout_secs) == (7200, 10800)
    assert (definition.resources.gpu_config.gpu_type, definition.resources.gpu_config.count) == (
        "H100",
        2,
    )
    assert (definition.resources.milli_cpu, definition.resources.memory_mb) == (3000, 8192)
    assert list(definition.scheduler_placement.regions) == ["us-east"]
    assert [each.mount_path for each in definition.volume_mounts] == ["/root/data", "/w"]
    assert seen.deadline == pytest.approx(sandbox.started_at + 7200)
    assert seen.billed_since == sandbox.started_at
    assert seen.hardware == "H100:2"
    with harness.login(request, seen) as connection:
        connection.run(["sh", "-c", "echo kept >data/file; test -d work"])
    assert (emulator.volumes["datasets"] / "file").read_text() == "kept\n"


def test_the_price_is_what_modal_charges(
    harness: ModalHarness, provider: Modal, emulator: ModalEmulator
) -> None:
    request = harness.request(cpu=1.5, memory=Bytes(3 * 1024**3))
    (offer,) = [o for o in provider.offers_for(request.spec) if o.hardware.name == "T4"]
    seen = harness.running(provider, provider.create(request))
    (interval,) = emulator.meter.intervals()
    assert seen.price is not None
    assert seen.price == offer.price
    assert offer.price.micro_per_hour == pytest.approx(interval.rate * 3600, rel=1e-6)
    assert (offer.hardware.cpus, offer.hardware.memory) == (1.5, 3 * 1024**3)


def test_environment_and_secrets_reach_every_kind_of_shell_and_no_snapshot(
    harness: ModalHarness, provider: Modal, emulator: ModalEmulator
) -> None:
    request = harness.request(env={"PLAIN": "it's", "PATH": "/opt/own:/usr/bin:/bin"})
    request = request._replace(secrets={"MANY_LINES": MANY_LINES})
    handle = provider.create(request)
    seen = harness.running(provider, handle)
    with harness.login(request, seen) as connection:
        ask = 'printf %s "$MANY_LINES"'
        assert connection.run(["sh", "-c", ask]).out == MANY_LINES
        assert connection.run(["bash", "-lc", ask]).out == MANY_LINES
        assert connection.run(["env", "-i", "bash", "-lc", "echo $PATH"]).out.startswith("/opt/own")
        changed = "export PLAIN=changed; bash -c 'echo $PLAIN'"
        assert connection.run(["bash", "-c", changed]).out == "changed\n"
        assert "DEVBOX_HOST_KEY" not in connection.run(["env"]).out
    provider.pause(handle)
    secrets = (b"BEGIN\n it's", b"OPENSSH PRIVATE KEY")
    layers = emulator.world.store.directory / "layers"
    for file in layers.rglob("*"):
        if file.is_file() and not file.is_symlink():
            content = file.read_bytes()
            assert not any(secret in content for secret in secrets), file


def test_a_second_computer_joins_and_may_log_in(
    harness: ModalHarness, provider: Modal, emulator: ModalEmulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = harness.request()
    handle = provider.create(first)
    one = harness.running(provider, handle)
    monkeypatch.setenv("DEVBOX_HOME", str(harness.home / "other"))
    second = harness.request()
    assert second.public_key != first.public_key
    elsewhere: Any = harness.make()
    assert elsewhere.create(second) == handle
    seen = elsewhere.observe(handle)
    assert (seen.token, seen.endpoint) == (first.token, one.endpoint)
    with harness.login(second, seen) as connection:
        assert connection.run(["whoami"]).out == "root\n"
    assert len(emulator.sandboxes) == 1


def test_somebody_elses_sandbox_is_left_alone(
    harness: ModalHarness, provider: Modal, emulator: ModalEmulator
) -> None:
    code = (
        "import modal\n"
        "app = modal.App.lookup('devbox', create_if_missing=True)\n"
        "modal.Sandbox.create('sleep', '3600', app=app, gpu='T4', name='b')\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
    theirs = only(emulator).id
    with pytest.raises(Conflict, match="not devbox's"):
        provider.create(harness.request("b"))
    assert provider.find() == []
    assert provider.observe(theirs) is None
    provider.terminate(theirs)
    with pytest.raises(Gone):
        provider.pause(theirs)
    assert harness.live() == 1


def test_waiting_for_capacity_costs_nothing_and_holds_up_nobody(home: Path) -> None:
    harness = ModalHarness(home, stages=Stages(0.0, 600.0, 0.0, 0.0))
    try:
        provider: Any = harness.make()
        request = harness.request()
        handle = provider.create(request)
        seen = provider.observe(handle)
        assert (seen.state, seen.stage, seen.billed) == (
            BoxState.PROVISIONING,
            "waiting for capacity",
            False,
        )
        paused = provider.pause(handle)
        harness.reaches(provider, paused, BoxState.PAUSED)
        assert only(harness.emulator).started_at is None  # nobody waited for the capacity
        assert harness.emulator.meter.intervals() == []
        image = only(harness.emulator).image.id
        provider.terminate(paused)
        harness.gone(provider, paused)
        assert image in harness.emulator.images, "it was not this box's alone"
    finally:
        harness.close()


def test_a_day_is_the_most_and_is_said(
    harness: ModalHarness, provider: Modal, emulator: ModalEmulator, said: list[str]
) -> None:
    handle = provider.create(harness.request(max_uptime=Seconds(48 * 3600)))
    assert any("max_uptime is 2d" in line and "24 h" in line for line in said)
    assert any("devbox renew b" in line for line in said)
    seen = harness.running(provider, handle)
    assert "24 h" in seen.message
    assert seen.deadline == pytest.approx(only(emulator).started_at + 24 * 3600)


def test_a_box_that_is_ending_is_not_joined(home: Path) -> None:
    harness = ModalHarness(home, stages=Stages(0.0, 0.0, 600.0, 0.0))
    try:
        provider: Any = harness.make()
        handle = provider.create(harness.request("b"))
        provider.terminate(handle)
        seen = provider.observe(handle)
        assert (seen.state, seen.billed) == (BoxState.STOPPING, True)
        with pytest.raises(Unavailable, match="still ending"):
            provider.create(harness.request("b"))
        harness.emulator.advance(601)
        harness.gone(provider, handle)
        assert provider.create(harness.request("b")) != handle
    finally:
        harness.close()


def test_a_stop_that_modal_ignores_goes_on_showing_as_costing(
    harness: ModalHarness, provider: Modal, emulator: ModalEmulator
) -> None:
    handle = provider.create(harness.request())
    harness.running(provider, handle)
    emulator.knobs.set("SandboxTerminate", Fault.stop_ignored())
    provider.terminate(handle)
    seen = provider.observe(handle)
    assert seen is not None
    assert (seen.state, seen.billed) == (BoxState.STOPPING, True)
    provider.terminate(handle)
    harness.gone(provider, handle)


def test_a_listing_that_lags_hides_no_box(
    harness: ModalHarness, provider: Modal, emulator: ModalEmulator
) -> None:
    emulator.knobs.set("SandboxListV2", Fault.list_lag(60), times=None)
    request = harness.request()
    handle = provider.create(request)
    seen = harness.running(provider, handle)
    assert (seen.billed, seen.billed_since, seen.token) == (True, None, request.token)
    assert Modal(ModalSettings()).create(request) == handle
    paused = provider.pause(handle)
    harness.reaches(provider, paused, BoxState.PAUSED)
    new = provider.resume(request, paused)
    assert harness.running(provider, new).handle == new
    assert harness.live() == 1
    emulator.knobs.clear()


def test_a_box_without_a_gpu(
    harness: ModalHarness, provider: Modal, emulator: ModalEmulator
) -> None:
    request = harness.request()._replace(hardware="cpu")
    handle = provider.create(request)
    with harness.login(request, harness.running(provider, handle)) as connection:
        put(connection, b"precious", "kept.txt")
    handle = provider.pause(handle)
    harness.reaches(provider, handle, BoxState.PAUSED)
    seen = harness.running(provider, provider.resume(request, handle))
    assert seen.hardware == "cpu"
    assert {each.what for each in emulator.meter.intervals()} == {"cpu"}
    with harness.login(request, seen) as connection:
        assert connection.run(["cat", "kept.txt"]).out == "precious"


@pytest.mark.parametrize("refused", ["exit snapshot", "idle_timeout"])
def test_a_box_does_without_what_modal_may_refuse(
    harness: ModalHarness, provider: Modal, monkeypatch: pytest.MonkeyPatch, refused: str
) -> None:
    asked: list[tuple[bool, bool]] = []
    really = Account.rpc

    def rpc(self: Account, doing: str, name: str, request: Any, limit: float = 60.0) -> Any:
        if name == "SandboxCreate":
            definition = request(api_pb2).definition
            keeps = "enable_exit_snapshot" in definition.experimental_options_v2
            slack = definition.idle_timeout_secs > definition.timeout_secs
            asked.append((keeps, slack))
            if keeps if "snapshot" in refused else slack:
                with translated(doing):
                    raise modal.exception.InvalidError(f"{refused} is not supported")
        return really(self, doing, name, request, limit)

    monkeypatch.setattr(Account, "rpc", rpc)
    harness.running(provider, provider.create(harness.request()))
    assert asked == [(True, True), (False, True) if "snapshot" in refused else (True, False)]


def test_another_refusal_of_a_box_with_such_a_name_is_told(
    harness: ModalHarness, provider: Modal, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    really = Account.rpc

    def rpc(self: Account, doing: str, name: str, request: Any, limit: float = 60.0) -> Any:
        asked.append(name)
        if name != "SandboxCreate":
            return really(self, doing, name, request, limit)
        with translated(doing):
            raise modal.exception.InvalidError("no such region")

    monkeypatch.setattr(Account, "rpc", rpc)
    request = harness.request()._replace(name="idle-snapshot")
    with pytest.raises(ProviderError, match="no such region"):
        provider.create(request)
    assert asked.count("SandboxCreate") == 1


def test_build_and_run_logs_stream(harness: ModalHarness, provider: Modal, said: list[str]) -> None:
    handle = provider.create(harness.request())
    harness.running(provider, handle)
    assert any("apt-get install -y --no-install-recommends" in line for line in said)
    assert any("mkdir -p /run/sshd" in line for line in provider.build_logs(handle, follow=False))
    following = provider.run_logs(handle, follow=True)
    assert "Server listening on" in next(following)
    assert any("Server listening" in line for line in provider.run_logs(handle, follow=False))
    provider.terminate(handle)
    list(following)  # it ends with the sandbox


def test_a_build_that_fails_ends_with_its_last_lines(
    harness: ModalHarness, provider: Modal, emulator: ModalEmulator
) -> None:
    emulator.knobs.set("ImageGetOrCreate", Fault.build_error("E: Unable to locate package x"))
    with pytest.raises(BuildFailed) as caught:
        provider.create(harness.request())
    assert "E: Unable to locate package x" in caught.value.render()
    assert "no sandbox was started" in caught.value.means
    assert emulator.sandboxes == {}


def test_an_image_of_a_registry(
    harness: ModalHarness, provider: Modal, emulator: ModalEmulator
) -> None:
    handle = provider.create(harness.request(image="nvidia/cuda:12.4.0-runtime-ubuntu22.04"))
    harness.running(provider, handle)
    assert any("FROM nvidia/cuda" in c for i in emulator.images.values() for c in i.commands)


def test_the_configured_server_is_used_in_place_of_modals(
    harness: ModalHarness, emulator: ModalEmulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        monkeypatch.setenv("MODAL_SERVER_URL", f"http://127.0.0.1:{nobody.getsockname()[1]}")
        provider = Modal(ModalSettings(server_url=emulator.url, namespace="mine"))
        handle = provider.create(harness.request())
    assert only(emulator).app.name == "mine"
    harness.running(provider, handle)
    assert [level for level, _, _ in provider.checks()] == ["ok", "ok", "ok", "unknown"]


def test_without_the_client_it_says_what_to_install(
    harness: ModalHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "modal", None)
    provider = Modal(ModalSettings())
    with pytest.raises(ToolMissing) as caught:
        provider.create(harness.request())
    assert "[modal]" in caught.value.fix
    assert provider.checks()[0][0] == "fail"
    assert provider.offers()


def test_modal_is_imported_only_when_it_is_needed() -> None:
    code = (
        "import sys\n"
        "from devbox.providers import registry\n"
        "from devbox.spec import ModalSettings\n"
        "registry.load('modal', ModalSettings()).offers_for\n"
        "assert 'modal' not in sys.modules and 'grpclib' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ, timeout=60)


def test_hardware_that_modal_lacks_is_refused_before_anything_is_made(
    harness: ModalHarness, provider: Modal, emulator: ModalEmulator
) -> None:
    for name in ("V100", "H100:9", "T4:0", "T4:x", "cpu:2", ""):
        with pytest.raises(UsageError, match="Modal has no hardware"):
            provider.create(harness.request()._replace(hardware=name))
    assert emulator.sandboxes == {}
