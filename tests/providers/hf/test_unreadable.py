"""A good status with a body that is not the Hub's: a passing fault, never parser text, and never
proof that something is not there."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from devbox.errors import Unavailable
from devbox.model import BoxState
from devbox.providers.hf import local_records
from devbox.providers.hf.job import HfJob
from devbox.providers.hf.space import HfSpace
from devbox.spec import BoxSpec, HfSettings
from tests.boxes import request_for, wait_for_state
from tests.emulators.common import Fault
from tests.emulators.hf import HfEmulator

BODIES = {"html": Fault.html(), "cut": Fault.cut_body()}
PARSERS = ("Expecting", "char 0", "JSONDecodeError", "NoneType", "'stage'")


def spec() -> BoxSpec:
    return BoxSpec(provider="hf-space")


def refused(error: Unavailable) -> None:
    assert "cannot be read" in error.what
    assert "proxy" in error.fix
    assert not any(word in error.render() for word in PARSERS)


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("route", ["repo_info", "get_variables", "list_spaces", "whoami"])
def test_what_is_asked_of_spaces(
    hub: HfEmulator, config: HfSettings, space: HfSpace, route: str, body: str
) -> None:
    handle = space.create(request_for("b", spec(), hardware="t4-small"))
    hub.knobs.set(route, BODIES[body])
    for file in local_records.folder().glob("*.json"):
        file.unlink()
    fresh = HfSpace(config)
    asks: list[Callable[[], object]] = [lambda: fresh.observe(handle), fresh.find]
    with pytest.raises(Unavailable) as caught:
        assert [ask() for ask in asks] == []
    refused(caught.value)


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("verb", ["pause", "restart", "request_hardware"])
def test_what_a_space_is_told(hub: HfEmulator, space: HfSpace, verb: str, body: str) -> None:
    handle = space.create(request_for("b", spec(), hardware="t4-small"))
    wait_for_state(space, handle, BoxState.RUNNING)
    hub.knobs.set(verb, BODIES[body])
    verbs: dict[str, Callable[[], object]] = {
        "pause": lambda: space.pause(handle),
        "restart": lambda: space.restart(handle, factory=False),
        "request_hardware": lambda: space.resize(handle, "l4x1"),
    }
    with pytest.raises(Unavailable) as caught:
        verbs[verb]()
    refused(caught.value)


def test_a_setting_that_a_sign_in_page_swallowed_is_not_taken_as_set(
    hub: HfEmulator, space: HfSpace
) -> None:
    """The client library does not read the answer to these calls."""
    handle = space.create(request_for("b", spec(), hardware="t4-small"))
    hub.knobs.set("add_variable", Fault.html())
    with pytest.raises(Unavailable) as caught:
        space._maker.remember_hardware(handle, "t4-small", "l4x1")
    refused(caught.value)


@pytest.mark.parametrize("body", BODIES)
def test_a_job_is_run_once(hub: HfEmulator, job: HfJob, body: str) -> None:
    request = request_for("b", BoxSpec(provider="hf-job"), hardware="t4-small")
    hub.knobs.set("run_job", BODIES[body])
    with pytest.raises(Unavailable) as caught:
        job.create(request)
    refused(caught.value)
    hub.advance(job.find_lag + job.create_lag + 1)
    handle = job.create(request)
    wait_for_state(job, handle, BoxState.RUNNING)
    assert len(hub.jobs) == 1


@pytest.mark.parametrize("shape", ['{"odd": 1}', '"text"', "[" * 100_000])
def test_a_listing_of_another_shape_proves_nothing(
    hub: HfEmulator, space: HfSpace, shape: str
) -> None:
    hub.knobs.set("list_spaces", Fault.body(shape))
    with pytest.raises(Unavailable) as caught:
        space.find()
    refused(caught.value)
