"""Every call of create, pause, resume and terminate goes wrong, one at a time; the verb is tried
again the way lifecycle does. One box at the end, none twice, no file lost."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from devbox.errors import AuthError, ProviderError, Unavailable
from devbox.lifecycle.operation import with_retries
from devbox.model import BoxState
from devbox.providers.base import Request
from devbox.providers.modal import account
from devbox.providers.modal.provider import Modal
from devbox.spec import ModalSettings, Spec
from devbox.workspace import Workspace
from tests.boxes import put
from tests.contract.harness_modal import ModalHarness
from tests.emulators.common import Fault

VERBS = ("create", "pause", "resume", "terminate")
LOST, GONE = Fault.reply_lost(), Fault.server_error()
FOR_GOOD = 4  # times: the first attempt and the client's own three retries
SETTING_UP = ("AppGetOrCreate", "SecretGetOrCreate", "ImageGetOrCreate")
LOOKING = ("SandboxTagsGet", "SandboxList")
SAVING = ("SandboxGetTaskId", "TaskGetCommandRouterAccess", "TaskSnapshotFilesystem")
ROUTES = {
    "create": (*SETTING_UP, "SandboxList", "SandboxGetFromName", "SandboxCreate"),
    "pause": (*LOOKING, *SAVING, "SandboxTagsSet", "SandboxTerminate"),
    "resume": (*LOOKING, "SecretGetOrCreate", "SandboxCreate"),
    "terminate": (*LOOKING, "SandboxTagsSet", "SandboxTerminate"),
}


def patient() -> Workspace:
    return Workspace(Spec(), sleep=lambda seconds: time.sleep(min(seconds, 0.2)))


@pytest.fixture(params=[True])
def harness(request: pytest.FixtureRequest, home: Path) -> Iterator[ModalHarness]:
    # A retry with the same idempotency key may or may not join the first call at Modal.
    made = ModalHarness(home, dedupe_retries=request.param)
    yield made
    made.emulator.knobs.clear()
    made.close()


def act(verb: str, provider: Modal, request: Request, handle: str) -> str:
    if verb == "create":
        return provider.create(request)
    if verb == "resume":
        return provider.resume(request, handle)
    if verb == "pause":
        return provider.pause(handle)
    provider.terminate(handle)
    return handle


def prepare(verb: str, harness: ModalHarness, provider: Modal, request: Request) -> str:
    """A box in the state the verb begins with."""
    if verb == "create":
        return ""
    handle = provider.create(request)
    seen = harness.running(provider, handle)
    if verb in ("pause", "resume"):
        with harness.login(request, seen) as connection:
            put(connection, b"precious", "kept.txt")
    if verb == "resume":
        handle = provider.pause(handle)
        harness.reaches(provider, handle, BoxState.PAUSED)
    return handle


def judge(verb: str, harness: ModalHarness, request: Request, handle: str) -> None:
    """What must hold once the verb has come to its end."""
    provider: Any = harness.make()
    if verb == "terminate":
        harness.gone(provider, handle)
        assert harness.live() == 0
        assert provider.find() == []
        return
    if verb == "pause":
        harness.reaches(provider, handle, BoxState.PAUSED)
        assert harness.live() == 0
        handle = with_retries(patient(), lambda: provider.resume(request, handle))
    seen = harness.running(provider, handle)
    assert harness.live() == 1
    assert [each.handle for each in provider.find()] == [handle]
    if verb != "create":
        with harness.login(request, seen) as connection:
            assert connection.run(["cat", "kept.txt"]).out == "precious"


@pytest.mark.parametrize(
    ("harness", "fault"),
    [(True, LOST), (False, LOST), (True, GONE)],
    indirect=["harness"],
    ids=["lost", "lost, retries not joined", "503"],
)
@pytest.mark.parametrize("verb", VERBS)
def test_a_call_that_fails_for_a_while_is_got_over(
    harness: ModalHarness, verb: str, fault: Fault
) -> None:
    """All calls of the verb fail in turn, each as often as the client tries by itself."""
    provider: Any = harness.make()
    for number, route in enumerate(ROUTES[verb]):
        request = harness.request(f"b{number}")
        handle = prepare(verb, harness, provider, request)
        harness.emulator.knobs.set(route, fault, times=FOR_GOOD)
        before = len(harness.emulator.calls.routes)
        fresh: Any = harness.make()
        handle = with_retries(patient(), lambda: act(verb, fresh, request, handle))  # noqa: B023
        assert route in harness.emulator.calls.routes[before:]
        harness.emulator.knobs.clear()
        judge(verb, harness, request, handle)
        for each in provider.find():
            provider.terminate(each.handle)
            harness.gone(provider, each.handle)


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault.error(429, "Too many requests"), Unavailable),
        (Fault.rate_limited(300), Unavailable),
        (Fault.error(500), Unavailable),
        (Fault.reset(), Unavailable),
        (Fault.unauthorized(), AuthError),
        (Fault.payment_required(), AuthError),
        (Fault.forbidden(), AuthError),
    ],
)
def test_a_fault_that_stays_is_told_and_leaves_nothing(
    harness: ModalHarness, provider: Modal, fault: Fault, error: type[ProviderError]
) -> None:
    harness.emulator.knobs.set("SandboxCreate", fault, times=None)
    began = time.monotonic()
    with pytest.raises(error) as caught:
        provider.create(harness.request())
    assert time.monotonic() - began < 10
    assert caught.value.fix
    if fault.retry_after:
        assert isinstance(caught.value, Unavailable)
        assert caught.value.retry_after == fault.retry_after
    assert harness.emulator.sandboxes == {}


def test_a_short_wait_that_modal_asks_for_is_kept_by_its_client(
    harness: ModalHarness, provider: Modal
) -> None:
    harness.emulator.knobs.set("SandboxCreate", Fault.rate_limited(0.2), times=2)
    provider.create(harness.request())
    assert len(harness.emulator.sandboxes) == 1


def test_a_modal_that_does_not_answer_does_not_hang(
    harness: ModalHarness, provider: Modal, monkeypatch: pytest.MonkeyPatch
) -> None:
    handle = provider.create(harness.request())
    monkeypatch.setattr(account, "CALL", 0.3)
    monkeypatch.setattr(account.Account.rpc, "__defaults__", (0.3,))
    harness.emulator.knobs.set("SandboxList", Fault.latency(3), times=None)
    with pytest.raises(Unavailable, match="did not answer"):
        provider.observe(handle)


def test_credentials_that_are_missing_or_wrong_say_what_to_do(
    harness: ModalHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MODAL_TOKEN_ID")
    monkeypatch.delenv("MODAL_TOKEN_SECRET")
    provider = Modal(ModalSettings())
    with pytest.raises(AuthError, match="Token missing") as caught:
        provider.create(harness.request())
    assert "devbox login modal --again" in caught.value.fix
    ((level, what, fix),) = provider.checks()
    assert level == "fail"
    assert "Token missing" in what
    assert "devbox login modal --again" in fix
    assert provider.offers()[0].price.source.startswith("catalogue ")


@pytest.mark.parametrize(
    "words",
    [
        "The client version (1.1.0) is too old. Please update (pip install --upgrade modal).",
        "Input plane is not supported for client_version='1.1.0'. Please upgrade to 1.1.3 or later",
    ],
)
@pytest.mark.parametrize("route", ["AppGetOrCreate", "SandboxCreate"])
def test_a_client_that_modal_no_longer_serves_is_told_at_once(
    harness: ModalHarness, provider: Modal, route: str, words: str
) -> None:
    """Not retried as a passing fault: `Unavailable` would be, six times."""
    harness.emulator.knobs.set(route, Fault.error(412, words), times=None)
    with pytest.raises(ProviderError) as caught:
        provider.create(harness.request())
    assert not isinstance(caught.value, Unavailable)
    assert "no longer serves the installed client" in caught.value.what
    assert "--upgrade modal" in caught.value.fix
    assert harness.emulator.calls.routes.count(route) == 1


def test_another_failed_precondition_stays_a_passing_fault(
    harness: ModalHarness, provider: Modal
) -> None:
    fault = Fault.error(412, "Task 'ta-1' has finished")
    harness.emulator.knobs.set("SandboxCreate", fault, times=1)
    with pytest.raises(Unavailable):
        provider.create(harness.request())
