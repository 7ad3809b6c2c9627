"""Every call of create, cut in each way: what comes after completes it, once."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from devbox.errors import DevboxError
from devbox.model import BoxState
from devbox.providers.hf.job import HfJob
from devbox.providers.hf.space import HfSpace
from devbox.spec import BoxSpec, HfSettings
from tests.boxes import request_for, wait_for_state
from tests.emulators.common import Fault
from tests.emulators.hf import HfEmulator

FAULTS = {
    "before": Fault.reset(),
    "lost": Fault.reply_lost(),
    "503": Fault.server_error(),
    "429": Fault.rate_limited(),
}
SPACE_CALLS = [
    *("whoami", "repo_info", "create_repo", "space_runtime", "dev_mode", "list_tree"),
    *("validate_yaml", "preupload", "commit", "request_hardware"),
]


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("route", SPACE_CALLS)
def test_a_space_is_made_once(hub: HfEmulator, config: HfSettings, route: str, fault: str) -> None:
    request = request_for(
        "b", BoxSpec(provider="hf-space"), token="b-0123abcd", hardware="t4-small"
    )
    hub.knobs.set(route, FAULTS[fault])
    space = HfSpace(config)
    try:
        space.create(request)
    except DevboxError as error:
        assert len(error.render()) < 2000
    assert hub.knobs.armed() == {}, f"{route} was not called"
    again = HfSpace(config)
    handle = again.create(request)
    seen = wait_for_state(again, handle, BoxState.RUNNING)
    assert (seen.hardware, seen.token) == ("t4-small", request.token)
    assert list(hub.spaces) == [handle]
    made = hub.spaces[handle]
    assert made.dev_mode
    assert made.sleep_seconds == 8 * 3600
    assert [commit.title for commit in made.repo.commits].count("Update from devbox") == 1


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("verb", ["pause", "resume", "terminate"])
def test_a_space_obeys_once_asked_again(
    hub: HfEmulator, config: HfSettings, verb: str, fault: str
) -> None:
    request = request_for("b", BoxSpec(provider="hf-space"), hardware="t4-small")
    space = HfSpace(config)
    handle = space.create(request)
    wait_for_state(space, handle, BoxState.RUNNING)
    if verb == "resume":
        space.pause(handle)
    calls: dict[str, Callable[[], object]] = {
        "pause": lambda: space.pause(handle),
        "resume": lambda: space.resume(request, handle),
        "terminate": lambda: space.terminate(handle),
    }
    route = {"pause": "pause", "resume": "restart", "terminate": "delete_repo"}[verb]
    hub.knobs.set(route, FAULTS[fault])
    with pytest.raises(DevboxError):
        calls[verb]()
    calls[verb]()
    if verb == "resume":
        assert wait_for_state(space, handle, BoxState.RUNNING).billed
        assert hub.meter.billing() == [handle]
    else:
        assert hub.meter.billing() == []


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("route", ["whoami", "list_jobs", "run_job"])
def test_a_job_is_run_once(hub: HfEmulator, config: HfSettings, route: str, fault: str) -> None:
    now = [hub.clock.now()]
    request = request_for("b", BoxSpec(provider="hf-job"), hardware="t4-small")
    hub.knobs.set(route, FAULTS[fault])
    with pytest.raises(DevboxError):
        HfJob(config, clock=lambda: now[0]).create(request)
    now[0] += HfJob.create_lag + HfJob.find_lag
    job = HfJob(config, clock=lambda: now[0])
    handle = job.create(request)
    wait_for_state(job, handle, BoxState.RUNNING)
    assert len([each for each in hub.jobs.values() if not each.over]) == 1
    hub.knobs.set("cancel_job", FAULTS[fault])
    with pytest.raises(DevboxError):
        job.terminate(handle)
    job.terminate(handle)
    assert wait_for_state(job, handle, BoxState.TERMINATED).ended_at is not None
