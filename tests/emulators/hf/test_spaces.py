"""Spaces through the real client: stages, money, settings, logs."""

from __future__ import annotations

import math
import threading

import pytest
from huggingface_hub import HfApi, SpaceHardware, Volume
from huggingface_hub.errors import BadRequestError, HfHubHTTPError, RepositoryNotFoundError

from tests.emulators.common import Fault
from tests.emulators.hf import HfEmulator
from tests.emulators.hf.conftest import DOCKERFILE, README, TIMES, Push

T4 = 6667 / 60  # micro-USD per second


def stage(api: HfApi, space: str = "me/box") -> str:
    return str(api.get_space_runtime(space).stage)


def create(api: HfApi, space: str = "me/box") -> None:
    api.create_repo(space, repo_type="space", space_sdk="docker", private=True)


def test_prices_come_with_the_hardware_list(api: HfApi) -> None:
    rows = {row.name: row for row in api.list_spaces_hardware()}
    assert rows["cpu-basic"].unit_cost_micro_usd == 0
    assert (rows["t4-small"].unit_cost_micro_usd, rows["t4-small"].unit_label) == (6667, "minute")
    a100 = rows["a100-large"].accelerator
    assert a100 is not None
    assert (a100.model, a100.quantity, a100.vram) == ("A100", "1", "80 GB")


def test_a_new_space_waits_for_its_files_and_then_builds_starts_and_runs(
    api: HfApi, emulator: HfEmulator, push: Push
) -> None:
    create(api)
    assert stage(api) == "NO_APP_FILE"
    push("me/box")
    assert stage(api) == "BUILDING"
    emulator.advance(TIMES.build)
    assert stage(api) == "APP_STARTING"
    emulator.advance(TIMES.start)
    runtime = api.wait_for_space("me/box")
    assert (runtime.stage, runtime.hardware, runtime.sleep_time) == ("RUNNING", "cpu-basic", 172800)
    info = api.space_info("me/box")
    assert (info.subdomain, info.sdk, info.private) == ("me-box", "docker", True)
    assert [name for _, name in emulator.spaces["me/box"].history] == [
        *("NO_APP_FILE", "BUILDING", "APP_STARTING", "RUNNING")
    ]


def by_the_minute(seconds: float) -> int:
    return math.ceil(seconds / 60) * 60


def test_only_starting_and_running_are_billed(
    api: HfApi, emulator: HfEmulator, running: str
) -> None:
    emulator.advance(100)
    first = by_the_minute(TIMES.start + 100)
    assert emulator.meter.total(running) == round(first * T4)
    assert emulator.meter.billing() == [running]
    assert api.pause_space(running).stage == "PAUSED"
    emulator.advance(5000)
    assert emulator.meter.total(running) == round(first * T4)
    assert emulator.meter.billing() == []
    assert api.restart_space(running).stage == "APP_STARTING"
    emulator.advance(TIMES.start + 50)
    second = by_the_minute(TIMES.start + 50)
    assert emulator.meter.total(running) == round((first + second) * T4)
    assert [each.what for each in emulator.meter.intervals(running)] == ["t4-small"] * 2


def test_hardware_change_moves_to_a_new_machine_at_its_price(
    api: HfApi, emulator: HfEmulator, running: str
) -> None:
    runtime = api.request_space_hardware(running, SpaceHardware.A10G_SMALL, sleep_time=3600)
    assert (runtime.stage, runtime.requested_hardware) == ("APP_STARTING", "a10g-small")
    emulator.advance(TIMES.start)
    runtime = api.get_space_runtime(running)
    assert (runtime.stage, runtime.hardware, runtime.sleep_time) == ("RUNNING", "a10g-small", 3600)
    assert [each.what for each in emulator.meter.intervals(running)] == ["t4-small", "a10g-small"]
    with pytest.raises(BadRequestError):
        api.request_space_hardware(running, "abacus")  # type: ignore[arg-type]


def test_sleep_counts_visitors_and_a_visit_wakes(
    api: HfApi, emulator: HfEmulator, running: str
) -> None:
    assert api.get_space_runtime(running).sleep_time is None
    emulator.advance(10 * 86400)
    assert stage(api) == "RUNNING"
    assert emulator.visit(running)
    api.set_space_sleep_time(running, 3600)
    emulator.advance(3000)
    emulator.visit(running)
    emulator.advance(3000)
    assert stage(api) == "RUNNING"
    emulator.advance(600)
    assert stage(api) == "STOPPED"
    assert emulator.meter.billing() == []
    assert not emulator.visit(running)
    emulator.advance(TIMES.start)
    assert stage(api) == "RUNNING"
    api.set_space_sleep_time(running, -1)
    emulator.advance(10 * 86400)
    assert stage(api) == "RUNNING"


def test_free_hardware_always_sleeps_after_two_days(
    api: HfApi, emulator: HfEmulator, push: Push
) -> None:
    create(api)
    push("me/box")
    with pytest.warns(UserWarning, match="cpu-basic"):
        api.set_space_sleep_time("me/box", -1)
    emulator.advance(TIMES.build + TIMES.start + 172800)
    assert stage(api) == "STOPPED"


def test_dev_mode_restarts_a_running_space_and_needs_pro(
    api: HfApi, emulator: HfEmulator, push: Push
) -> None:
    create(api)
    push("me/box")
    emulator.advance(TIMES.build + TIMES.start)
    emulator.account.pro = False
    with pytest.raises(HfHubHTTPError, match="PRO"):
        api.enable_space_dev_mode("me/box")
    emulator.account.pro = True
    runtime = api.enable_space_dev_mode("me/box")
    assert (runtime.stage, runtime.dev_mode) == ("RUNNING_BUILDING", True)
    emulator.advance(TIMES.build)
    assert stage(api) == "RUNNING_APP_STARTING"
    emulator.advance(TIMES.start)
    assert stage(api) == "RUNNING"
    assert api.disable_space_dev_mode("me/box").stage == "RUNNING_BUILDING"


def test_a_factory_restart_builds_again_and_a_plain_one_does_not(
    api: HfApi, emulator: HfEmulator, running: str
) -> None:
    assert api.restart_space(running).stage == "APP_STARTING"
    emulator.advance(TIMES.start)
    assert api.restart_space(running, factory_reboot=True).stage == "BUILDING"
    assert emulator.meter.billing() == []


def test_broken_files_end_in_the_stage_that_says_so(
    api: HfApi, emulator: HfEmulator, push: Push
) -> None:
    create(api)
    push("me/box", {"README.md": README, "Dockerfile": DOCKERFILE + b"RUN false\n"})
    emulator.advance(TIMES.build)
    runtime = api.get_space_runtime("me/box")
    assert runtime.stage == "BUILD_ERROR"
    assert "exit code: 1" in runtime.raw["errorMessage"]
    log = "".join(api.fetch_space_logs("me/box", build=True))
    assert log.splitlines()[0] == "===== Build Queued ====="
    assert log.splitlines()[-1].endswith("exit code: 1")
    push("me/box", {"Dockerfile": b"FROM x\nCMD false\n"})
    emulator.advance(TIMES.build + TIMES.start)
    assert stage(api) == "RUNTIME_ERROR"
    push("me/box", {"README.md": b"hello\n"})
    assert stage(api) == "CONFIG_ERROR"
    push("me/box", {"README.md": README, "Dockerfile": DOCKERFILE})
    emulator.advance(TIMES.build + TIMES.start)
    assert stage(api) == "RUNNING"
    api.delete_file("Dockerfile", "me/box", repo_type="space")
    assert stage(api) == "NO_APP_FILE"


def test_an_armed_build_error_ends_the_build_with_its_lines(
    api: HfApi, emulator: HfEmulator, push: Push
) -> None:
    create(api)
    emulator.knobs.set("commit", Fault.build_error("E: Unable to locate package cuda-99"))
    push("me/box")
    emulator.advance(TIMES.build)
    assert stage(api) == "BUILD_ERROR"
    lines = list(api.fetch_space_logs("me/box", build=True))
    assert lines[-1] == "E: Unable to locate package cuda-99\n"
    api.restart_space("me/box")
    emulator.advance(TIMES.build + TIMES.start)
    assert stage(api) == "RUNNING"


def test_following_a_log_ends_with_the_build_and_with_the_container(
    api: HfApi, emulator: HfEmulator, push: Push
) -> None:
    create(api)
    push("me/box")
    seen: list[str] = []
    follower = threading.Thread(
        target=lambda: seen.extend(api.fetch_space_logs("me/box", build=True, follow=True))
    )
    follower.start()
    emulator.advance(TIMES.build + TIMES.start)
    follower.join(30)
    assert not follower.is_alive()
    assert "--> FROM python:3.11\n" in seen
    assert seen[-1] == "DONE\n"
    emulator.app_prints("me/box", "hello from the app")
    api.pause_space("me/box")
    run = list(api.fetch_space_logs("me/box", follow=True))
    assert run[0].startswith("===== Application Startup at 2027-")
    assert run[1] == "hello from the app\n"


def test_secrets_variables_and_volumes(api: HfApi, emulator: HfEmulator, running: str) -> None:
    api.add_space_secret(running, "TOKEN", "s3cret", description="for pausing")
    api.add_space_variable(running, "MODE", "dev")
    assert stage(api) == "APP_STARTING"
    secrets = api.get_space_secrets(running)
    assert secrets["TOKEN"].description == "for pausing"
    assert "s3cret" not in str(secrets)
    assert api.get_space_variables(running)["MODE"].value == "dev"
    api.delete_space_secret(running, "TOKEN")
    api.delete_space_variable(running, "MODE")
    assert not api.get_space_secrets(running)
    assert not api.get_space_variables(running)
    volume = Volume(type="bucket", source="me/data", mount_path="/data")
    api.set_space_volumes(running, [volume])
    volumes = api.get_space_runtime(running).volumes
    assert volumes is not None
    assert volumes[0].mount_path == "/data"
    api.delete_space_volumes(running)
    with pytest.raises(BadRequestError):
        api.delete_space_volumes(running)


def test_create_takes_everything_at_once(api: HfApi, emulator: HfEmulator) -> None:
    api.create_repo(
        "me/box",
        repo_type="space",
        space_sdk="docker",
        space_hardware=SpaceHardware.L4X1,
        space_sleep_time=7200,
        space_secrets=[{"key": "A", "value": "1"}],
        space_variables=[{"key": "B", "value": "2"}],
        space_volumes=[Volume(type="bucket", source="me/data", mount_path="/data")],
    )
    runtime = api.get_space_runtime("me/box")
    assert (runtime.requested_hardware, runtime.hardware) == ("l4x1", None)
    assert runtime.sleep_time == 7200
    assert list(api.get_space_secrets("me/box")) == ["A"]
    assert api.get_space_variables("me/box")["B"].value == "2"
    assert emulator.meter.billing() == []


def test_what_cannot_be_paid_for_is_402(api: HfApi, emulator: HfEmulator) -> None:
    create(api)
    emulator.account.can_pay = False
    for call in (
        lambda: api.request_space_hardware("me/box", SpaceHardware.T4_SMALL),
        lambda: api.run_job(image="python:3.12", command=["true"], namespace="me"),
    ):
        with pytest.raises(HfHubHTTPError) as caught:
            call()
        assert caught.value.response.status_code == 402
    emulator.account.pro = False
    with pytest.raises(HfHubHTTPError, match="PRO"):
        create(api, "me/other")


def test_listing_filters_pages_and_lags(api: HfApi, emulator: HfEmulator, push: Push) -> None:
    emulator.hub.page_size = 2
    for index in range(5):
        create(api, f"me/box-{index}")
    push("me/box-3")
    assert len(list(api.list_spaces(author="me"))) == 5
    assert list(api.list_spaces(author="them")) == []
    assert [space.id for space in api.list_spaces(author="me", filter="devbox")] == ["me/box-3"]
    assert [space.id for space in api.list_spaces(search="box-4")] == ["me/box-4"]
    (only,) = api.list_spaces(author="me", filter="devbox", expand=["runtime", "subdomain"])
    assert only.runtime is not None
    assert (only.runtime.stage, only.subdomain) == ("BUILDING", "me-box-3")
    emulator.knobs.set("list_spaces", Fault.list_lag(30), times=None)
    emulator.hub.page_size = 100
    assert list(api.list_spaces(author="me")) == []
    emulator.advance(31)
    create(api, "me/late")
    assert len(list(api.list_spaces(author="me"))) == 5


def test_a_refused_stop_keeps_running_and_billing(
    api: HfApi, emulator: HfEmulator, running: str
) -> None:
    emulator.knobs.set("pause", Fault.stop_ignored())
    assert api.pause_space(running).stage == "RUNNING"
    emulator.advance(60)
    assert emulator.meter.billing() == [running]
    assert api.pause_space(running).stage == "PAUSED"


def test_deleting_ends_the_bill_and_the_name(
    api: HfApi, emulator: HfEmulator, running: str
) -> None:
    api.delete_repo(running, repo_type="space")
    assert emulator.meter.billing() == []
    assert emulator.meter.total(running) > 0
    with pytest.raises(RepositoryNotFoundError):
        api.get_space_runtime(running)


def test_moving_keeps_the_space_and_its_bill(
    api: HfApi, emulator: HfEmulator, running: str
) -> None:
    before = emulator.meter.total(running)
    api.move_repo(running, "me/renamed", repo_type="space")
    emulator.advance(60)
    assert stage(api, "me/renamed") == "RUNNING"
    assert emulator.meter.total("me/renamed") == before + round(60 * T4)


def test_a_static_space_cannot_be_paused(api: HfApi) -> None:
    api.create_repo("me/site", repo_type="space", space_sdk="static")
    with pytest.raises(BadRequestError):
        api.pause_space("me/site")
