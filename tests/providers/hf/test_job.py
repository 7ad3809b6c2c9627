"""Jobs as boxes, and Jobs that run a command and end."""

from __future__ import annotations

from typing import Any

import pytest

from devbox.errors import Gone, Unavailable
from devbox.model import BoxState
from devbox.providers.base import Request
from devbox.providers.hf.job import HfJob
from devbox.providers.hf.job_command import stop_file
from devbox.providers.hf.job_observe import row
from devbox.providers.hf.times import Skew
from devbox.spec import BoxSpec, HfSettings, Seconds, Volume
from devbox.wire.codec import Json
from tests.boxes import request_for, wait_for_state
from tests.emulators.common import Fault
from tests.emulators.hf import HfEmulator


def ask(name: str = "b", *, token: str | None = None, **fields: Any) -> Request:
    spec = BoxSpec(provider="hf-job", **fields)
    return request_for(name, spec, token=token, hardware="t4-small")


def test_it_is_labelled_and_has_its_ceiling(hub: HfEmulator, job: HfJob) -> None:
    request = ask(
        image="python:3.12-bookworm",
        max_uptime=Seconds(90.5),
        env={"A": "1"},
        volumes={"d": Volume("me/bucket", "/data", read_only=True)},
    )
    handle = job.create(request._replace(secrets={"S": "hidden"}))
    (made,) = hub.jobs.values()
    assert handle == f"me/{made.id}"
    assert made.spec["timeoutSeconds"] == 91
    assert made.labels["devbox-token"] == request.token
    assert made.labels["devbox-name"] == "b"
    assert made.spec["dockerImage"] == "python:3.12-bookworm"
    assert made.spec["secrets"] == {"S": "hidden"}
    seen = wait_for_state(job, handle, BoxState.RUNNING)
    assert seen.billed_since is not None
    assert seen.deadline == seen.billed_since + 91
    assert any("devbox: ready" in line for line in job.run_logs(handle, follow=False))


def test_a_public_port_has_its_url_and_its_price(hub: HfEmulator, job: HfJob) -> None:
    request = ask(expose=(8000, 8001))
    handle = job.create(request)
    seen = wait_for_state(job, handle, BoxState.RUNNING)
    (made,) = hub.jobs.values()
    assert made.spec["expose"] == {"ports": [8000, 8001], "portsPublic": [8000, 8001]}
    assert job.public_url(handle, 8001) == f"https://{made.id}--8001.hf.jobs"
    assert job.public_url(handle, 9000) is None
    plain = {offer.hardware.name: offer.price.micro_per_hour for offer in job.offers()}
    dearer = {o.hardware.name: o.price.micro_per_hour for o in job.offers_for(request.spec)}
    assert dearer == {name: price and price + 10_000 for name, price in plain.items()}
    assert seen.price
    assert seen.price.micro_per_hour == dearer["t4-small"]
    hostile: Json = {
        "id": "x",
        "status": {"exposeUrls": ["http://a--1.b", "https://a--1.b/../c", 7]},
    }
    assert row(hostile, Skew()) == row({"id": "x"}, Skew())


def test_jobs_of_one_group_are_reached_by_their_names(hub: HfEmulator, job: HfJob) -> None:
    job.create(ask(network_group="train"))
    job.create(ask("alone"))
    group, alone = hub.jobs.values()
    assert group.spec["network"] == {"group": "train", "aliases": [ask().name]}
    assert "network" not in alone.spec


def test_its_own_times_are_told(hub: HfEmulator, job: HfJob) -> None:
    handle = job.create(ask())
    wait_for_state(job, handle, BoxState.RUNNING)
    hub.advance(100)
    job.terminate(handle)
    seen = wait_for_state(job, handle, BoxState.TERMINATED)
    (theirs,) = hub.meter.intervals()
    assert seen.billed_since == pytest.approx(theirs.start, abs=0.002)
    assert seen.ended_at == pytest.approx(theirs.end, abs=0.002)


def test_of_two_computers_the_first_stays(hub: HfEmulator, config: HfSettings) -> None:
    """The second one lists before the first one's Job is listed, and finds it afterwards."""
    first, second = HfJob(config), HfJob(config)
    one = first.create(ask(token="one-1"))
    hub.knobs.set("list_jobs", Fault.list_lag(60))
    two = second.create(ask(token="two-2"))
    assert two == one
    assert sorted(each.stage for each in hub.jobs.values())[0] == "CANCELED"
    assert second.create(ask(token="two-2")) == one
    seen = second.observe(two)
    assert seen is not None
    assert seen.token == "one-1"


def test_a_lost_reply_is_not_run_twice(hub: HfEmulator, config: HfSettings) -> None:
    now = [hub.clock.now()]
    job = HfJob(config, clock=lambda: now[0])
    request = ask()
    hub.knobs.set("run_job", Fault.reply_lost())
    with pytest.raises(Unavailable):
        job.create(request)
    hub.knobs.set("list_jobs", Fault.list_lag(60))
    with pytest.raises(Unavailable) as caught:
        job.create(request)
    assert caught.value.retry_after is not None
    assert 0 < caught.value.retry_after <= job.create_lag + job.find_lag
    (made,) = hub.jobs
    assert job.create(request) == f"me/{made}"
    assert len(hub.jobs) == 1


def test_a_cut_before_the_effect_is_run_again_after_the_lag(
    hub: HfEmulator, config: HfSettings
) -> None:
    now = [hub.clock.now()]
    job = HfJob(config, clock=lambda: now[0])
    hub.knobs.set("run_job", Fault.reset())
    request = ask()
    for _ in range(2):
        with pytest.raises(Unavailable):
            job.create(request)
    now[0] += job.create_lag + job.find_lag
    assert job.create(request)
    assert len(hub.jobs) == 1


def test_a_job_that_fails_tells_why_and_can_be_ended(hub: HfEmulator, job: HfJob) -> None:
    hub.knobs.set("run_job", Fault.build_error("no such image \x1b[31mred"))
    handle = job.create(ask())
    seen = wait_for_state(job, handle, BoxState.FAILED)
    assert "no such image red" in seen.message
    assert not seen.billed
    job.terminate(handle)
    assert wait_for_state(job, handle, BoxState.TERMINATED)
    assert job.find() == []


def test_its_ceiling_ends_it_as_agreed(hub: HfEmulator, job: HfJob) -> None:
    handle = job.create(ask(max_uptime=Seconds(600)))
    wait_for_state(job, handle, BoxState.RUNNING)
    hub.advance(601)
    seen = wait_for_state(job, handle, BoxState.TERMINATED)
    assert not seen.billed
    assert "timeout" in seen.message.lower()


def test_jobs_that_are_not_ours_are_left_alone(hub: HfEmulator, job: HfJob) -> None:
    from huggingface_hub import HfApi

    api = HfApi(endpoint=hub.endpoint, token=hub.token)
    made = api.run_job(
        image="python:3.12", command=["sleep", "60"], namespace="me", flavor="t4-small"
    )
    handle = f"me/{made.id}"
    assert job.observe(handle) is None
    assert job.find() == []
    job.terminate(handle)
    assert not hub.jobs[made.id].over
    with pytest.raises(Gone):
        job.watchdog(handle)


def test_the_stop_file_is_this_boxes_alone() -> None:
    assert stop_file("a") != stop_file("b")
    assert "/.devbox-stop-" in stop_file("$(touch x)")
    assert "$" not in stop_file("$(touch x)")


@pytest.mark.parametrize(
    "odd", [None, [], {}, {"id": "../x"}, {"id": 3.5}, {"id": "a" * 100}, {"id": "-x"}]
)
def test_odd_rows_are_no_jobs(odd: Any) -> None:
    assert row(odd, Skew()) is None


def test_odd_fields_are_dropped() -> None:
    found = row(
        {"id": "abc", "labels": {"x": 1, "y": "z"}, "status": 3, "createdAt": "never"}, Skew()
    )
    assert found is not None
    assert (found.labels, found.stage, found.created) == ({"y": "z"}, "", 0.0)
