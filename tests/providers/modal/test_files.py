"""What becomes of a Modal box's files: pause, resume, successor, expiry, ends by themselves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from modal_proto import api_pb2

from devbox import lifecycle
from devbox.errors import (
    Gone,
    Unavailable,
)
from devbox.model import BoxState
from devbox.providers.modal.provider import Modal
from devbox.spec import ModalSettings, Seconds
from devbox.workspace import Workspace
from tests.boxes import put
from tests.contract.harness_modal import ModalHarness
from tests.emulators.common import Fault
from tests.emulators.modal import ModalEmulator


def only(emulator: ModalEmulator) -> Any:
    (sandbox,) = emulator.sandboxes.values()
    return sandbox


def test_a_second_computer_finds_a_paused_box_and_brings_it_back(
    harness: ModalHarness, provider: Modal, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = harness.request()
    handle = provider.create(first)
    with harness.login(first, harness.running(provider, handle)) as connection:
        put(connection, b"precious", "kept.txt")
    handle = provider.pause(handle)
    harness.reaches(provider, handle, BoxState.PAUSED)
    monkeypatch.setenv("DEVBOX_HOME", str(harness.home / "other"))
    second, elsewhere = harness.request(), Modal(ModalSettings())
    assert elsewhere.create(second) == handle
    new = elsewhere.resume(second, handle)
    seen = harness.running(elsewhere, new)
    assert seen.token == first.token
    with harness.login(second, seen) as connection:
        assert connection.run(["cat", "kept.txt"]).out == "precious"
    # The first computer's handle leads to the same box.
    again = provider.observe(handle)
    assert again is not None
    assert (again.handle, again.state) == (new, BoxState.RUNNING)
    assert provider.resume(first, handle) == new


def test_a_successor_has_the_files_and_fresh_time(
    harness: ModalHarness, provider: Modal, emulator: ModalEmulator
) -> None:
    request = harness.request()
    old = provider.create(request)
    with harness.login(request, harness.running(provider, old)) as connection:
        put(connection, b"precious", "kept.txt")
    while True:
        try:
            new = provider.renew(request, old)
            break
        except Unavailable:
            harness.advance()
    assert provider.renew(request, old) == new != old
    seen = harness.running(provider, new)
    assert emulator.meter.billing() == [new]
    intervals = emulator.meter.intervals()
    assert intervals[0].end is not None
    assert intervals[0].end <= intervals[1].start
    with harness.login(request, seen) as connection:
        assert connection.run(["cat", "kept.txt"]).out == "precious"


def test_a_snapshot_that_has_expired_is_told(
    harness: ModalHarness, provider: Modal, emulator: ModalEmulator
) -> None:
    request = harness.request()
    handle = provider.create(request)
    harness.running(provider, handle)
    paused = provider.pause(handle)
    harness.reaches(provider, paused, BoxState.PAUSED)
    emulator.advance(30 * 24 * 3600 + 60)
    seen = provider.observe(paused)
    assert seen is not None
    assert seen.state is BoxState.TERMINATED
    with pytest.raises(Gone, match="30 days"):
        provider.resume(request, paused)
    assert provider.find() == []


def test_the_handle_of_a_paused_box_outlives_modals_memory_of_its_sandbox(
    harness: ModalHarness, provider: Modal, emulator: ModalEmulator
) -> None:
    request = harness.request()
    handle = provider.create(request)
    with harness.login(request, harness.running(provider, handle)) as connection:
        put(connection, b"precious", "kept.txt")
    paused = provider.pause(handle)
    harness.reaches(provider, paused, BoxState.PAUSED)
    emulator.world.sandboxes.clear()
    fresh: Any = harness.make()
    assert fresh.observe(paused).state is BoxState.PAUSED
    assert fresh.pause(paused) == paused
    seen = harness.running(fresh, fresh.resume(request, paused))
    with harness.login(request, seen) as connection:
        assert connection.run(["cat", "kept.txt"]).out == "precious"


def test_a_pause_cut_off_before_the_end_saves_again(
    harness: ModalHarness, provider: Modal, emulator: ModalEmulator
) -> None:
    request = harness.request()
    handle = provider.create(request)
    seen = harness.running(provider, handle)
    emulator.knobs.set("SandboxTerminate", Fault.server_error(), times=4)
    with pytest.raises(Unavailable):
        provider.pause(handle)
    with harness.login(request, seen) as connection:
        put(connection, b"later", "kept.txt")
    paused = provider.pause(handle)
    harness.reaches(provider, paused, BoxState.PAUSED)
    seen = harness.running(provider, provider.resume(request, paused))
    with harness.login(request, seen) as connection:
        assert connection.run(["cat", "kept.txt"]).out == "later"


def test_what_a_sandbox_could_not_save_is_gone_and_said(
    harness: ModalHarness, provider: Modal, emulator: ModalEmulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit snapshots are an experiment of Modal's: one that makes none must not cost a box."""
    monkeypatch.setattr("tests.emulators.modal.sandbox.Sandbox.keeps_files", False)
    request = harness.request(max_uptime=Seconds(1))
    handle = provider.create(request)
    harness.gone(provider, handle)
    seen = provider.observe(handle)
    assert seen is not None
    assert seen.state is BoxState.TERMINATED
    assert "its time was over" in seen.message
    assert "gone" in seen.message
    assert seen.ended_at == only(emulator).finished_at
    with pytest.raises(Gone, match="no files"):
        provider.resume(request, handle)
    assert provider.find() == []


ERRORS = api_pb2.SandboxGetExitSnapshotResponse


@pytest.mark.parametrize("outcome", ["ERROR_CODE_INTERNAL", "ERROR_CODE_UNSPECIFIED"])
def test_an_answer_that_is_not_final_does_not_end_a_box(
    harness: ModalHarness, provider: Modal, emulator: ModalEmulator, outcome: str
) -> None:
    """Modal could not tell what became of the files; later it can."""
    request = harness.request()
    handle = provider.create(request)
    with harness.login(request, harness.running(provider, handle)) as connection:
        put(connection, b"precious", "kept.txt")
    sandbox = only(emulator)
    internal = outcome == "ERROR_CODE_INTERNAL"
    sandbox.exit_error = getattr(ERRORS, outcome) if internal else 99
    emulator.end(sandbox, 7)
    seen = harness.until(provider, handle, lambda s: s is None or s.stage == "saving its files")
    assert seen is not None
    assert not seen.billed
    assert "has not told yet" in seen.message
    with pytest.raises(Unavailable):
        provider.resume(request, handle)
    sandbox.exit_error = 0
    harness.reaches(provider, handle, BoxState.PAUSED)
    new = provider.resume(request, handle)
    with harness.login(request, harness.running(provider, new)) as connection:
        assert connection.run(["cat", "kept.txt"]).out == "precious"


@pytest.mark.parametrize("outcome", ["ERROR_CODE_TIMEOUT", "ERROR_CODE_FILESYSTEM_INCONSISTENT"])
def test_a_final_answer_says_that_the_files_are_gone(
    harness: ModalHarness, provider: Modal, emulator: ModalEmulator, outcome: str
) -> None:
    handle = provider.create(harness.request())
    harness.running(provider, handle)
    sandbox = only(emulator)
    sandbox.exit_error = getattr(ERRORS, outcome)
    emulator.end(sandbox, 7)
    seen = harness.reaches(provider, handle, BoxState.TERMINATED)
    assert "files outside volumes are gone" in seen.message


@pytest.mark.parametrize("status", [8, 9, 10])
def test_an_end_for_want_of_memory_is_named(
    harness: ModalHarness, provider: Modal, emulator: ModalEmulator, status: int
) -> None:
    """MEMORY_MANAGER_EVICTION, MEMORY_THRASHING_EVICTION and KERNEL_OOM_KILL of GenericStatus."""
    handle = provider.create(harness.request())
    harness.running(provider, handle)
    emulator.end(only(emulator), status)
    seen = harness.reaches(provider, handle, BoxState.PAUSED)
    assert "out of memory" in seen.message
    assert "memory in devbox.toml" in seen.message


def snapshots(emulator: ModalEmulator) -> list[str]:
    """Images with an end: the snapshots that were asked for, or left by an end."""
    exits = {sandbox.exit_image for sandbox in emulator.sandboxes.values()}
    return [id_ for id_, image in emulator.images.items() if image.expires_at and id_ not in exits]


@pytest.mark.parametrize("route", ["SandboxTagsSet", "SandboxTerminate", "SandboxTagsGet"])
def test_a_retry_of_one_step_of_a_pause_makes_no_second_snapshot(
    project: Callable[..., Workspace], emulator: ModalEmulator, route: str
) -> None:
    ws = project()
    ws.sleep = lambda _: None
    box = lifecycle.up(ws, "b")
    before = emulator.calls.routes.count("TaskSnapshotFilesystem")
    times = 8  # the client's own retries twice over: the first try of the step fails, and one more
    emulator.knobs.set(route, Fault.server_error(), times=times)
    assert lifecycle.pause(ws, box, save=False).state is BoxState.PAUSED
    assert emulator.calls.routes.count("TaskSnapshotFilesystem") == before + 1
    assert len(snapshots(emulator)) == 1


def test_a_pause_that_is_begun_again_deletes_the_snapshot_it_replaces(
    project: Callable[..., Workspace], emulator: ModalEmulator
) -> None:
    ws = project()
    ws.sleep = lambda _: None
    box = lifecycle.up(ws, "b")
    emulator.knobs.set("SandboxTerminate", Fault.server_error(), times=None)
    for _ in range(3):
        with pytest.raises(Unavailable):
            lifecycle.pause(ws, box, save=False)
        assert len(snapshots(emulator)) == 1
    emulator.knobs.clear()
    emulator.knobs.set("SandboxTagsSet", Fault.server_error(), times=None)
    with pytest.raises(Unavailable):
        lifecycle.pause(ws, box, save=False)
    emulator.knobs.clear()
    box = lifecycle.pause(ws, box, save=False)
    assert box.state is BoxState.PAUSED
    assert snapshots(emulator) == [box.handle.partition(":")[2]]
    assert lifecycle.resume(ws, box).state is BoxState.RUNNING


def test_a_resume_that_waits_for_an_end_takes_no_more_snapshots(
    harness: ModalHarness, provider: Modal, emulator: ModalEmulator
) -> None:
    """The end was accepted and takes a while: what `resume` is retried for."""
    request = harness.request()
    handle = provider.create(request)
    harness.running(provider, handle)
    emulator.knobs.set("SandboxTerminate", Fault.stop_ignored(), times=1)
    paused = provider.pause(handle)
    for _ in range(4):
        with pytest.raises(Unavailable):
            provider.resume(request, paused)
    assert len(snapshots(emulator)) == 1


def test_a_box_whose_files_modal_may_still_have_is_not_made_again(
    harness: ModalHarness, provider: Modal, emulator: ModalEmulator
) -> None:
    request = harness.request()
    handle = provider.create(request)
    harness.running(provider, handle)
    only(emulator).exit_error = ERRORS.ERROR_CODE_INTERNAL
    emulator.end(only(emulator), api_pb2.GenericResult.GENERIC_STATUS_INTERNAL_FAILURE)
    harness.until(provider, handle, lambda s: s is None or s.stage == "saving its files")
    with pytest.raises(Unavailable, match="still saving"):
        provider.create(request)
    only(emulator).exit_error = 0
    assert provider.create(request) == f"{handle}:{only(emulator).exit_image}"
