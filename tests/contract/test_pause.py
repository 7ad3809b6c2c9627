"""pause and resume: no cost in between, the files are there again."""

from __future__ import annotations

import time
from typing import cast

import pytest

from devbox.errors import Gone
from devbox.model import BoxState
from devbox.providers.abilities import CanPause
from devbox.providers.base import Provider
from tests.boxes import put
from tests.contract.harness import Harness, needs


def pausing(provider: Provider) -> CanPause:
    assert isinstance(provider, CanPause)
    return cast(CanPause, provider)


@needs("pause")
def test_a_paused_box_bills_nothing_and_runs_again(harness: Harness, provider: Provider) -> None:
    request = harness.request()
    handle = provider.create(request)
    running = harness.running(provider, handle)
    handle = pausing(provider).pause(handle)
    seen = harness.reaches(provider, handle, BoxState.PAUSED)
    assert not seen.billed
    assert running.billed_since is not None
    assert seen.ended_at is not None
    assert running.billed_since <= seen.ended_at <= time.time() + 1
    assert seen.billed_since == running.billed_since
    assert seen.token == request.token
    assert harness.live() == 0
    handle = pausing(provider).resume(request, handle)
    again = harness.running(provider, handle)
    assert again.billed
    assert again.token == request.token
    assert again.billed_since is not None
    assert again.billed_since >= seen.ended_at
    assert harness.live() == 1


@needs("pause")
def test_pause_and_resume_are_idempotent(harness: Harness, provider: Provider) -> None:
    request = harness.request()
    handle = provider.create(request)
    running = harness.running(provider, handle)
    assert pausing(provider).resume(request, handle) == handle
    assert harness.running(provider, handle).billed_since == running.billed_since
    handle = pausing(provider).pause(handle)
    harness.reaches(provider, handle, BoxState.PAUSED)
    assert pausing(harness.make()).pause(handle) == handle
    paused = harness.reaches(provider, handle, BoxState.PAUSED)
    assert provider.create(request) == handle
    assert harness.reaches(provider, handle, BoxState.PAUSED).ended_at == paused.ended_at


@needs("pause", "login")
def test_files_outlive_a_pause_unless_the_provider_says_not(
    harness: Harness, provider: Provider
) -> None:
    request = harness.request()
    handle = provider.create(request)
    with harness.login(request, harness.running(provider, handle)) as connection:
        put(connection, b"kept", "note.txt")
    handle = pausing(provider).pause(handle)
    harness.reaches(provider, handle, BoxState.PAUSED)
    handle = pausing(provider).resume(request, handle)
    with harness.login(request, harness.running(provider, handle)) as connection:
        there = connection.run(["cat", "note.txt"], check=False).out == "kept"
    assert there == provider.pause_keeps(request.spec).disk


@needs("pause")
def test_pause_of_a_box_on_its_way(harness: Harness, provider: Provider) -> None:
    handle = provider.create(harness.request())
    handle = pausing(provider).pause(handle)
    assert not harness.reaches(provider, handle, BoxState.PAUSED).billed
    assert harness.live() == 0


@needs("pause")
def test_terminate_of_a_paused_box(harness: Harness, provider: Provider) -> None:
    request = harness.request()
    handle = provider.create(request)
    harness.running(provider, handle)
    handle = pausing(provider).pause(handle)
    harness.reaches(provider, handle, BoxState.PAUSED)
    provider.terminate(handle)
    harness.gone(provider, handle)
    with pytest.raises(Gone):
        pausing(provider).pause(handle)
    with pytest.raises(Gone):
        pausing(provider).resume(request, handle)
