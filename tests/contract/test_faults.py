"""What a provider raises when its service fails, and that trying again is safe."""

from __future__ import annotations

import pytest

from devbox.errors import AuthError, Unavailable
from devbox.providers.base import Provider
from tests.contract.harness import Harness, needs


@needs("fault:unavailable")
def test_a_passing_fault_is_unavailable_and_create_may_be_repeated(
    harness: Harness, provider: Provider
) -> None:
    request = harness.request()
    with harness.fault("unavailable"), pytest.raises(Unavailable):
        provider.create(request)
    handle = provider.create(request)
    harness.running(provider, handle)
    assert harness.live() == 1


@needs("fault:unavailable")
def test_a_terminate_that_failed_leaves_the_box_costing(
    harness: Harness, provider: Provider
) -> None:
    handle = provider.create(harness.request())
    harness.running(provider, handle)
    with harness.fault("unavailable"), pytest.raises(Unavailable):
        provider.terminate(handle)
    seen = provider.observe(handle)
    assert seen is not None
    assert seen.billed
    provider.terminate(handle)
    harness.gone(provider, handle)
    assert harness.live() == 0


@needs("fault:auth")
def test_refused_credentials_are_an_auth_error(harness: Harness, provider: Provider) -> None:
    with harness.fault("auth"), pytest.raises(AuthError) as caught:
        provider.create(harness.request())
    assert caught.value.fix
    assert harness.live() == 0
