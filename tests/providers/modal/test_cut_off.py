"""A pause that was cut off before the end, and a sandbox that worked on: its newest files count."""

from __future__ import annotations

import time

import pytest
from modal_proto import api_pb2

from devbox.errors import Unavailable
from devbox.model import BoxState
from devbox.providers.modal.provider import Modal
from devbox.spec import ModalSettings
from tests.boxes import put
from tests.contract.harness_modal import ModalHarness
from tests.emulators.common import Fault
from tests.emulators.modal import ModalEmulator
from tests.emulators.modal.sandbox import Sandbox

RESULT, ERRORS = api_pb2.GenericResult, api_pb2.SandboxGetExitSnapshotResponse
ENDS = [
    RESULT.GENERIC_STATUS_SUCCESS,
    RESULT.GENERIC_STATUS_TERMINATED,  # as on Modal's own page
    RESULT.GENERIC_STATUS_TIMEOUT,
    RESULT.GENERIC_STATUS_IDLE_TIMEOUT,
    RESULT.GENERIC_STATUS_MEMORY_MANAGER_EVICTION,
]


def only(emulator: ModalEmulator) -> Sandbox:
    (sandbox,) = emulator.sandboxes.values()
    return sandbox


@pytest.fixture
def cut_off(harness: ModalHarness, provider: Modal, emulator: ModalEmulator) -> str:
    """The handle of a box whose pause was cut off after the tag, and that wrote a file after it."""
    request = harness.request()
    handle = provider.create(request)
    seen = harness.running(provider, handle)
    with harness.login(request, seen) as connection:
        put(connection, b"old", "kept.txt")
    emulator.knobs.set("SandboxTerminate", Fault.server_error(), times=None)
    with pytest.raises(Unavailable):
        provider.pause(handle)
    emulator.knobs.clear()
    with harness.login(request, seen) as connection:
        put(connection, b"new", "kept.txt")
    return handle


def kept(harness: ModalHarness, handle: str) -> str:
    """What the file says on the box that a fresh devbox resumes."""
    provider, request = harness.make(), harness.request()
    seen = harness.running(provider, provider.resume(request, handle))  # type: ignore[attr-defined]
    with harness.login(request, seen) as connection:
        return connection.run(["cat", "kept.txt"]).out


@pytest.mark.parametrize("status", ENDS)
def test_what_it_wrote_after_the_snapshot_is_there(
    harness: ModalHarness, provider: Modal, emulator: ModalEmulator, cut_off: str, status: int
) -> None:
    emulator.end(only(emulator), status)
    seen = harness.reaches(provider, cut_off, BoxState.PAUSED)
    assert seen.handle.endswith(only(emulator).exit_image)
    assert kept(harness, cut_off) == "new"


def test_an_accepted_end_that_had_no_effect_does_not_count_as_one(
    harness: ModalHarness, provider: Modal, emulator: ModalEmulator
) -> None:
    request = harness.request()
    handle = provider.create(request)
    seen = harness.running(provider, handle)
    emulator.knobs.set("SandboxTerminate", Fault.stop_ignored(), times=1)
    handle = provider.pause(handle)
    with harness.login(request, seen) as connection:
        put(connection, b"new", "kept.txt")
    emulator.end(only(emulator), RESULT.GENERIC_STATUS_TIMEOUT)
    harness.reaches(provider, handle, BoxState.PAUSED)
    assert kept(harness, handle) == "new"


def test_the_snapshot_of_the_pause_counts_where_modal_kept_nothing_and_that_is_said(
    harness: ModalHarness, provider: Modal, emulator: ModalEmulator, cut_off: str
) -> None:
    only(emulator).exit_error = ERRORS.ERROR_CODE_TIMEOUT
    emulator.end(only(emulator), RESULT.GENERIC_STATUS_TIMEOUT)
    seen = harness.reaches(provider, cut_off, BoxState.PAUSED)
    assert "its time was over; its files are those of a pause before that" in seen.message
    assert kept(harness, cut_off) == "old"


def test_the_snapshot_of_the_pause_counts_where_modal_deleted_what_it_kept(
    harness: ModalHarness, provider: Modal, emulator: ModalEmulator, cut_off: str
) -> None:
    emulator.end(only(emulator), RESULT.GENERIC_STATUS_TIMEOUT)
    harness.reaches(provider, cut_off, BoxState.PAUSED)
    del emulator.world.images[only(emulator).exit_image]
    seen = harness.reaches(provider, cut_off, BoxState.PAUSED)
    assert seen.handle.endswith(only(emulator).tags["devbox-image"])
    assert kept(harness, cut_off) == "old"


def test_for_an_hour_nothing_is_begun_before_modal_has_told(
    harness: ModalHarness, provider: Modal, emulator: ModalEmulator, cut_off: str
) -> None:
    """Then it is begun from the snapshot of the pause, unless Modal tells after all."""
    only(emulator).exit_error = ERRORS.ERROR_CODE_INTERNAL
    emulator.end(only(emulator), RESULT.GENERIC_STATUS_TIMEOUT)
    harness.until(provider, cut_off, lambda s: s is None or s.stage == "saving its files")
    request = harness.request()
    with pytest.raises(Unavailable, match="still saving"):
        provider.resume(request, cut_off)
    with pytest.raises(Unavailable, match="still saving"):
        provider.create(request)
    assert len(emulator.sandboxes) == 1
    later = Modal(ModalSettings(), clock=lambda: time.time() + 3601)
    seen = harness.reaches(later, cut_off, BoxState.PAUSED)
    assert seen.handle.endswith(only(emulator).tags["devbox-image"])
    only(emulator).exit_error = 0
    seen = harness.reaches(later, cut_off, BoxState.PAUSED)
    assert seen.handle.endswith(only(emulator).exit_image)
    assert kept(harness, cut_off) == "new"


def test_of_an_older_devbox_an_end_that_was_asked_for_counts_as_the_pauses(
    harness: ModalHarness, provider: Modal, emulator: ModalEmulator
) -> None:
    request = harness.request()
    handle = provider.create(request)
    with harness.login(request, harness.running(provider, handle)) as connection:
        put(connection, b"old", "kept.txt")
    paused = provider.pause(handle)
    del only(emulator).tags["devbox-whole"]
    only(emulator).exit_error = ERRORS.ERROR_CODE_INTERNAL
    seen = harness.reaches(harness.make(), paused, BoxState.PAUSED)
    assert seen.handle == paused
    assert kept(harness, paused) == "old"


def test_of_an_older_devbox_an_end_by_itself_does_not(
    harness: ModalHarness, provider: Modal, emulator: ModalEmulator, cut_off: str
) -> None:
    del only(emulator).tags["devbox-whole"]
    emulator.end(only(emulator), RESULT.GENERIC_STATUS_TIMEOUT)
    harness.reaches(provider, cut_off, BoxState.PAUSED)
    assert kept(harness, cut_off) == "new"


def test_down_deletes_both(
    harness: ModalHarness, provider: Modal, emulator: ModalEmulator, cut_off: str
) -> None:
    emulator.end(only(emulator), RESULT.GENERIC_STATUS_TIMEOUT)
    seen = harness.reaches(provider, cut_off, BoxState.PAUSED)
    both = {only(emulator).exit_image, only(emulator).tags["devbox-image"]}
    assert both < set(emulator.images)
    provider.terminate(seen.handle)
    assert not both & set(emulator.images)


def test_a_pause_that_ended_its_sandbox_asks_for_nothing_else(
    harness: ModalHarness, provider: Modal, emulator: ModalEmulator
) -> None:
    handle = provider.create(harness.request())
    harness.running(provider, handle)
    paused = provider.pause(handle)
    assert harness.reaches(harness.make(), handle, BoxState.PAUSED).handle == paused
    assert emulator.calls.routes.count("SandboxGetExitSnapshot") == 0


def test_a_pause_does_not_fail_for_want_of_its_last_tag(
    harness: ModalHarness, provider: Modal, emulator: ModalEmulator
) -> None:
    request = harness.request()
    handle = provider.create(request)
    with harness.login(request, harness.running(provider, handle)) as connection:
        put(connection, b"new", "kept.txt")

    def refuse_tags(route: str, phase: str) -> bool:
        if (route, phase) == ("SandboxTerminate", "after"):
            emulator.knobs.set("SandboxTagsSet", Fault.server_error(), times=None)
        return True

    emulator.on_call = refuse_tags
    paused = provider.pause(handle)
    emulator.on_call = None
    emulator.knobs.clear()
    harness.reaches(provider, paused, BoxState.PAUSED)
    assert kept(harness, paused) == "new"
