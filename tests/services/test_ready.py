"""Waiting until a service is ready is never silent and never endless. Pure: time comes in."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from devbox.errors import JobFailed
from devbox.jobs.follow import Alive, Ended, Health, Line, Message, Note, Progress, Waiting
from devbox.model import Run, RunState
from devbox.services.ready import until_ready
from devbox.wire.jobs import JobStatus, ServiceStatus

RUN = Run(
    id="pose-1", box_id="i", box_name="b", job="pose", state=RunState.RUNNING, created=0.0,
    request=b"{}", status=b"{}",
)  # fmt: skip
WARM = Health(ServiceStatus(8000, said="warming_up"))
READY = ServiceStatus(8000, ready=True, since=9.0)


class Time:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def told(*script: Message | float, patience: float = 600.0) -> list[str | ServiceStatus]:
    """Notes of the wait, and what it came to. A number in the script is when what follows comes."""
    clock = Time()

    def messages() -> Iterator[Message]:
        for step in script:
            if isinstance(step, float):
                clock.now = step
            else:
                yield step

    waiting = until_ready(messages(), RUN, since=0.0, patience=patience, clock=clock)
    found: list[str | ServiceStatus] = []
    while True:
        try:
            message = next(waiting)
        except StopIteration as end:
            return [*found, end.value]
        found += [message.text] if isinstance(message, Note) else []


def test_a_long_warm_up_is_told_with_the_last_line_of_the_log() -> None:
    found = told(
        WARM, 15.0, Alive(), 20.0, Line("loading \x1b[2Jhmr2\n", "\n", 0), 30.0, Alive(),
        31.0, Alive(), 45.0, Line("  ", "\n", 0), 50.0, Health(READY),
    )  # fmt: skip
    assert found == [
        "pose: warming up for 15s (warming_up); it has printed nothing yet",
        "pose: warming up for 30s (warming_up); its log ends: loading hmr2",
        "pose: warming up for 45s (warming_up); its log ends: loading hmr2",
        READY,
    ]


def test_one_that_is_never_ready_is_left_with_what_it_said() -> None:
    with pytest.raises(JobFailed, match=r"was not ready within 10m: warming_up") as raised:
        told(WARM, 601.0, Alive())
    text = raised.value.render()
    assert "no longer keeps from pausing" in text
    assert "devbox services stop pose" in text


def test_the_time_in_the_queue_is_no_warming_up() -> None:
    waits, begins = Waiting("waits for 1 GPU"), Progress(0, None, "items", "", None)
    found = told(
        waits, WARM, 5000.0, Alive(), begins, WARM, 5014.0, Alive(), 5015.0, WARM,
        5599.0, Health(READY),
    )  # fmt: skip
    assert found == ["pose: warming up for 15s (warming_up); it has printed nothing yet", READY]
    with pytest.raises(JobFailed, match="was not ready within 10m"):
        told(waits, 5000.0, begins, 5601.0, Alive())


def test_one_that_ends_is_an_error() -> None:
    with pytest.raises(JobFailed, match="ended before it was ready: killed by SIGSEGV") as raised:
        told(Line("boom", "\n", 0), Ended(RUN, JobStatus(message="killed by SIGSEGV")))
    assert "its last words: boom" in raised.value.render()
