"""A service as a Modal app: deployed by the real client, found again by name, and what a container
would run of it run here."""

from __future__ import annotations

import json
from typing import Any

import modal
import pytest
from modal_proto import api_pb2

from devbox.errors import BuildFailed, UsageError
from devbox.providers.abilities import HostRequest
from devbox.providers.modal.provider import Modal
from devbox.spec import BoxSpec, Volume
from devbox.spec.values import Bytes
from tests.emulators.common import Fault
from tests.emulators.modal import ModalEmulator

HOSTED = "devbox.box.services.hosted"


def request(**changes: Any) -> HostRequest:
    made = HostRequest(
        app="sharp-photos",
        image="cpu",
        packages=("starlette>=0.40",),
        module=HOSTED,
        env={"DEVBOX_SERVICE": json.dumps({"module": "m", "args": {}, "checkpoints": {}})},
        secrets={},
        wanted=BoxSpec(provider="modal"),
        hardware="L4",
        folder="/data/checkpoints",
        concurrent=4,
        most=2,
        idle=60,
        public=False,
    )
    return made._replace(**changes)


def test_a_service_is_deployed_and_found_by_name(
    provider: Modal, emulator: ModalEmulator, said: list[str]
) -> None:
    told = provider.host(request())
    assert told.url == "https://emulated--sharp-photos-web.modal.run"
    assert "Modal-Key" in told.credentials
    assert told.end == "modal app stop sharp-photos"
    functions = emulator.functions
    assert sorted(functions) == ["sharp-photos/predict", "sharp-photos/web"]
    web, plain = (functions[f"sharp-photos/{name}"].definition for name in ("web", "predict"))
    assert (web.module_name, web.implementation_name) == (HOSTED, "web")
    assert (plain.module_name, plain.implementation_name) == (HOSTED, "predict")
    assert web.webhook_config.type == api_pb2.WEBHOOK_TYPE_ASGI_APP
    assert web.webhook_config.requires_proxy_auth
    assert plain.webhook_config.type == api_pb2.WEBHOOK_TYPE_UNSPECIFIED
    assert (web.max_concurrent_inputs, plain.max_concurrent_inputs) == (4, 0)
    for each in (web, plain):
        assert each.resources.gpu_config.gpu_type == "L4"
        assert each.autoscaler_settings.scaledown_window == 60
        assert each.autoscaler_settings.max_containers == 2
        assert each.autoscaler_settings.min_containers == 0
        assert [mount.mount_path for mount in each.volume_mounts] == ["/data/checkpoints"]
        # The box half goes along: Modal's runtime imports the module by its name.
        sent = {name for id in each.mount_ids for name in emulator.world.mounts[id]}
        assert "/root/devbox/box/services/hosted.py" in sent
    assert list(emulator.volumes) == ["devbox-checkpoints"]
    assert any("Built image" in line for line in said)
    assert "devbox" not in {app.name for app in emulator.world.apps.values()}

    # As a user's own program finds it: the current form of what Function.lookup was.
    found = modal.Function.from_name("sharp-photos", "predict")
    found.hydrate()
    assert found.object_id == functions["sharp-photos/predict"].id


def test_a_second_deploy_replaces_the_first_under_the_same_ids(
    provider: Modal, emulator: ModalEmulator
) -> None:
    first = provider.host(request())
    before = {name: each.id for name, each in emulator.functions.items()}
    again = provider.host(request(hardware="A100-80GB", public=True, concurrent=8))
    assert again.url == first.url
    assert again.credentials == ""
    assert {name: each.id for name, each in emulator.functions.items()} == before
    web = emulator.functions["sharp-photos/web"].definition
    assert web.resources.gpu_config.gpu_type == "A100-80GB"
    assert not web.webhook_config.requires_proxy_auth
    assert web.max_concurrent_inputs == 8


def test_volumes_of_the_box_and_secrets_are_those_of_the_service(
    provider: Modal, emulator: ModalEmulator
) -> None:
    wanted = BoxSpec(
        provider="modal", memory=Bytes(8 << 30), volumes={"data": Volume("weights", "/data")}
    )
    provider.host(request(hardware="cpu", wanted=wanted, secrets={"TOKEN": "s3cret"}))
    web = emulator.functions["sharp-photos/web"].definition
    assert [mount.mount_path for mount in web.volume_mounts] == ["/data"]
    assert list(emulator.volumes) == ["weights"]
    assert web.resources.memory_mb == 8192
    assert not web.resources.gpu_config.gpu_type
    values = [emulator.world.secrets[id].values for id in web.secret_ids]
    assert {"TOKEN": "s3cret"} in values


def test_a_build_that_fails_leaves_no_app_and_says_why(
    provider: Modal, emulator: ModalEmulator
) -> None:
    emulator.knobs.set("ImageGetOrCreate", Fault.build_error("no such package: starlette"))
    with pytest.raises(BuildFailed, match="no such package"):
        provider.host(request())
    assert emulator.functions == {}
    assert all(app.stopped for app in emulator.world.apps.values())


def test_hardware_that_modal_does_not_have_is_refused_before_anything(
    provider: Modal, emulator: ModalEmulator
) -> None:
    with pytest.raises(UsageError, match="no hardware"):
        provider.host(request(hardware="GTX1080"))
    assert emulator.world.apps == {}
