"""Every knob, as the real client sees it; the hooks; what is not implemented."""

from __future__ import annotations

import threading
import time
import urllib.error
import urllib.request

import httpx2
import pytest
from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError

from tests.emulators.common import Fault
from tests.emulators.hf import HfEmulator
from tests.emulators.hf.conftest import TIMES, Push
from tests.remote.sshd import wait_until


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        (Fault.rate_limited(7), 429),
        (Fault.server_error(), 503),
        (Fault.server_error(500), 500),
        (Fault.unauthorized(), 401),
        (Fault.payment_required(), 402),
        (Fault.forbidden(), 403),
    ],
)
def test_an_error_status_has_no_effect(
    api: HfApi, emulator: HfEmulator, running: str, fault: Fault, status: int
) -> None:
    emulator.knobs.set("pause", fault, times=2)
    for _ in range(2):
        with pytest.raises(HfHubHTTPError) as caught:
            api.pause_space(running)
        assert caught.value.response.status_code == status
        assert caught.value.response.headers.get("Retry-After") == ("7" if status == 429 else None)
    assert emulator.spaces[running].stage == "RUNNING"
    assert api.pause_space(running).stage == "PAUSED"


def test_a_reset_has_no_effect_and_a_lost_reply_has_one(
    api: HfApi, emulator: HfEmulator, running: str
) -> None:
    emulator.knobs.set("pause", Fault.reset())
    with pytest.raises(httpx2.TransportError):
        api.pause_space(running)
    assert emulator.spaces[running].stage == "RUNNING"
    emulator.knobs.set("pause", Fault.reply_lost())
    with pytest.raises(httpx2.TransportError):
        api.pause_space(running)
    assert emulator.spaces[running].stage == "PAUSED"
    assert [c.outcome for c in emulator.calls.records if c.route == "pause"] == ["reset", "lost"]


def test_a_lost_reply_of_create_leaves_the_space_behind(api: HfApi, emulator: HfEmulator) -> None:
    emulator.knobs.set("create_repo", Fault.reply_lost())
    with pytest.raises(httpx2.TransportError):
        api.create_repo("me/box", repo_type="space", space_sdk="docker")
    assert list(emulator.spaces) == ["me/box"]


def test_latency_delays_and_then_answers(api: HfApi, emulator: HfEmulator, running: str) -> None:
    emulator.knobs.set("space_runtime", Fault.latency(0.3))
    began = time.monotonic()
    assert api.get_space_runtime(running).stage == "RUNNING"
    assert time.monotonic() - began >= 0.3


def test_the_real_client_retries_listing_after_429(api: HfApi, emulator: HfEmulator) -> None:
    emulator.knobs.set("list_spaces", Fault.rate_limited(0))
    assert list(api.list_spaces(author="me")) == []
    assert emulator.calls.routes.count("list_spaces") == 2


def test_past_the_request_limit_everything_is_429_until_the_window_ends(
    api: HfApi, emulator: HfEmulator, running: str
) -> None:
    emulator.limit_rate(2, 300)
    for _ in range(2):
        api.get_space_runtime(running)
    with pytest.raises(HfHubHTTPError, match="Retry after 300 seconds"):
        api.pause_space(running)
    assert emulator.spaces[running].stage == "RUNNING"
    emulator.advance(300)
    assert api.pause_space(running).stage == "PAUSED"


def test_a_refused_delete_leaves_the_space_billing(
    api: HfApi, emulator: HfEmulator, running: str
) -> None:
    emulator.knobs.set("delete_repo", Fault.stop_ignored())
    api.delete_repo(running, repo_type="space")
    assert emulator.meter.billing() == [running]


def test_a_broken_log_stream_is_resumed_without_loss_or_repeat(
    api: HfApi, emulator: HfEmulator, push: Push
) -> None:
    api.create_repo("me/box", repo_type="space", space_sdk="docker")
    push("me/box")
    emulator.advance(TIMES.build / 2)
    emulator.knobs.set("space_logs", Fault.reply_lost())
    seen: list[str] = []
    follower = threading.Thread(
        target=lambda: seen.extend(api.fetch_space_logs("me/box", build=True, follow=True))
    )
    follower.start()
    deadline = time.monotonic() + 120
    while "space_logs" not in emulator.calls.routes:
        assert time.monotonic() < deadline
    emulator.advance(TIMES.build)
    follower.join(30)
    assert seen == [event["data"] for event in emulator.spaces["me/box"].build_log.events]


def test_the_hook_sees_each_call_before_and_after_its_effect(
    api: HfApi, emulator: HfEmulator, running: str
) -> None:
    seen: list[tuple[str, str, str]] = []

    def hook(route: str, phase: str) -> None:
        seen.append((route, phase, emulator.spaces[running].stage))

    emulator.on_call = hook
    api.pause_space(running)
    assert seen == [("pause", "before", "RUNNING"), ("pause", "after", "PAUSED")]


def test_a_hook_can_keep_a_call_from_happening(
    api: HfApi, emulator: HfEmulator, running: str
) -> None:
    emulator.on_call = lambda route, phase: False
    with pytest.raises(httpx2.TransportError):
        api.pause_space(running)
    assert emulator.spaces[running].stage == "RUNNING"
    wait_until(lambda: emulator.calls.records[-1].outcome == "dropped", "the call is on record")


def test_what_is_not_implemented_fails_loudly() -> None:
    with HfEmulator() as emulator:
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(f"{emulator.endpoint}/api/collections?x=1")
        assert caught.value.code == 501
        assert b"does not implement" in caught.value.read()
        assert emulator.unexpected == ["GET /api/collections?x=1"]
