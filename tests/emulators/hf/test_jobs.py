"""Jobs through the real client."""

from __future__ import annotations

import time

import pytest
from huggingface_hub import HfApi, JobInfo
from huggingface_hub.errors import BadRequestError, HfHubHTTPError, JobNotFoundError

from tests.emulators.common import Fault
from tests.emulators.hf import HfEmulator
from tests.emulators.hf.conftest import TIMES

T4 = 6667 / 60


def run(api: HfApi, script: str, **options: object) -> JobInfo:
    return api.run_job(
        image="python:3.12",
        command=["bash", "-c", script],
        namespace="me",
        **options,  # type: ignore[arg-type]
    )


def ended(api: HfApi, job: JobInfo) -> JobInfo:
    """The Job once its process has ended (which takes wall time, not emulator time)."""
    return api.wait_for_job(job.id, namespace="me", timeout=30, poll_interval=0.05)


def test_job_hardware_has_the_jobs_only_machines_and_prices(api: HfApi) -> None:
    rows = {row.name: row for row in api.list_jobs_hardware()}
    assert rows["cpu-basic"].unit_cost_micro_usd == 167
    assert rows["cpu-basic"].unit_cost_usd == 0.000167
    assert rows["h200"].accelerator is not None
    assert rows["h200x8"].unit_cost_micro_usd == round(40e6 / 60)


def test_a_job_runs_its_command_and_keeps_its_log(api: HfApi, emulator: HfEmulator) -> None:
    job = run(api, "echo out; echo err >&2; echo $NAME; printf last", env={"NAME": "x"})
    assert job.status.stage == "SCHEDULING"
    assert emulator.meter.billing() == []
    emulator.advance(TIMES.schedule)
    done = ended(api, job)
    assert (done.status.stage, done.flavor, done.docker_image) == (
        *("COMPLETED", "cpu-basic", "python:3.12"),
    )
    logs = list(api.fetch_job_logs(job_id=job.id, namespace="me"))
    assert logs == ["out\n", "err\n", "x\n", "last\n"]
    tail = list(api.fetch_job_logs(job_id=job.id, namespace="me", tail=2))
    assert tail == ["x\n", "last\n"]
    assert done.durations is not None
    assert done.durations.scheduling_secs == TIMES.schedule


def test_a_failing_command_is_an_error_after_its_attempts(api: HfApi, emulator: HfEmulator) -> None:
    job = run(api, "echo try; exit 3", attempts=2)
    emulator.advance(TIMES.schedule)
    done = ended(api, job)
    assert done.status.stage == "ERROR"
    assert "exit code: 3" in str(done.status.message)
    assert list(api.fetch_job_logs(job_id=job.id, namespace="me")) == ["try\n"] * 2
    missing = api.run_job(image="x", command=["no-such-program"], namespace="me")
    emulator.advance(TIMES.schedule)
    assert "exit code: 127" in str(ended(api, missing).status.message)


def test_the_timeout_ends_job_and_bill(api: HfApi, emulator: HfEmulator) -> None:
    job = run(api, "sleep infinity", flavor="t4-small", timeout="10m")
    emulator.advance(TIMES.schedule + 599)
    assert emulator.meter.billing() == [job.id]
    emulator.advance(10_000)
    done = api.inspect_job(job_id=job.id, namespace="me")
    assert (done.status.stage, done.status.message) == ("ERROR", "Job timeout")
    assert emulator.meter.total(job.id) == round(600 * T4)


def test_without_a_timeout_half_an_hour_is_the_limit(api: HfApi, emulator: HfEmulator) -> None:
    job = run(api, "sleep infinity", flavor="t4-small")
    emulator.advance(TIMES.schedule + 100_000)
    assert emulator.meter.total(job.id) == round(1800 * T4)


def test_cancel_kills_and_a_second_cancel_is_refused(api: HfApi, emulator: HfEmulator) -> None:
    job = run(api, "sleep infinity", flavor="t4-small", expose=[8000])
    emulator.advance(TIMES.schedule + 60)
    emulator.knobs.set("cancel_job", Fault.stop_ignored())
    api.cancel_job(job_id=job.id, namespace="me")
    assert api.inspect_job(job_id=job.id, namespace="me").status.stage == "RUNNING"
    api.cancel_job(job_id=job.id, namespace="me")
    assert api.inspect_job(job_id=job.id, namespace="me").status.stage == "CANCELED"
    assert emulator.meter.total(job.id) == round(60 * (T4 + 0.01e6 / 3600))
    with pytest.raises(BadRequestError):
        api.cancel_job(job_id=job.id, namespace="me")


def test_labels_find_jobs(api: HfApi, emulator: HfEmulator) -> None:
    emulator.hub.page_size = 2
    for index in range(5):
        run(api, "sleep infinity", labels={"devbox": "tag", "n": str(index)}, name="box")
    other = run(api, "sleep infinity")
    assert len(list(api.list_jobs(namespace="me"))) == 6
    (third,) = api.list_jobs(namespace="me", labels={"devbox": "tag", "n": "3"})
    assert third.labels == {"devbox": "tag", "n": "3", "name": "box"}
    updated = api.update_job_labels(job_id=other.id, labels={"devbox": "tag"}, namespace="me")
    assert updated.labels == {"devbox": "tag"}
    api.cancel_job(job_id=third.id, namespace="me")
    found = api.list_jobs(namespace="me", labels={"devbox": "tag"}, status="SCHEDULING")
    assert len(list(found)) == 5
    with pytest.raises(BadRequestError):
        api.update_job_labels(job_id=other.id, labels={"bad label": "x"}, namespace="me")


def test_a_new_job_may_be_missing_from_the_list_but_not_from_inspect(
    api: HfApi, emulator: HfEmulator
) -> None:
    emulator.knobs.set("list_jobs", Fault.list_lag(20), times=None)
    job = run(api, "sleep infinity")
    assert list(api.list_jobs(namespace="me")) == []
    assert api.inspect_job(job_id=job.id, namespace="me").id == job.id
    emulator.advance(20)
    assert [each.id for each in api.list_jobs(namespace="me")] == [job.id]


def test_metrics_show_each_gpu_and_stop_with_the_job(api: HfApi, emulator: HfEmulator) -> None:
    job = run(api, "sleep infinity", flavor="a10g-largex2")
    emulator.advance(TIMES.schedule)
    emulator.jobs[job.id].gpu_utilization = 87
    (sample,) = api.fetch_job_metrics(job_id=job.id, namespace="me")
    assert [gpu["utilization"] for gpu in sample["gpus"].values()] == [87, 87]
    api.cancel_job(job_id=job.id, namespace="me")
    assert list(api.fetch_job_metrics(job_id=job.id, namespace="me")) == []


def test_rerun_expose_and_broken_image(api: HfApi, emulator: HfEmulator) -> None:
    job = run(api, "true", labels={"a": "b"})
    again = api.rerun_job(job_id=job.id, namespace="me")
    assert (again.id != job.id, again.labels) == (True, job.labels)
    exposed = api.update_job_expose(job_id=job.id, expose=[80], namespace="me")
    assert exposed.expose == [80]
    emulator.knobs.set("run_job", Fault.build_error("manifest unknown"))
    broken = run(api, "true")
    emulator.advance(TIMES.schedule)
    assert ended(api, broken).status.stage == "ERROR"
    assert list(api.fetch_job_logs(job_id=broken.id, namespace="me")) == ["manifest unknown\n"]


def test_refusals(api: HfApi, emulator: HfEmulator) -> None:
    with pytest.raises(JobNotFoundError):
        api.inspect_job(job_id="0" * 24, namespace="me")
    with pytest.raises(HfHubHTTPError):
        api.run_job(image="x", command=["true"], namespace="them")
    with pytest.raises(BadRequestError):
        run(api, "true", flavor="abacus")


def test_real_time_needs_no_help(tmp_path_factory: pytest.TempPathFactory) -> None:
    with HfEmulator() as emulator:
        api = HfApi(endpoint=emulator.endpoint, token=emulator.token)
        began = time.monotonic()
        assert ended(api, run(api, "true")).status.stage == "COMPLETED"
        assert time.monotonic() - began < 10
        assert emulator.unexpected == []
