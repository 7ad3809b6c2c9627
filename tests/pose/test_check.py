"""devbox pose-check: coverage of a video by a running service, and of a run's results."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from devbox.errors import JobFailed, UsageError
from devbox.services import pose_check
from tests.command_line import Devbox
from tests.pose.serving import serving
from tests.pose.test_job import Plan, fake, run
from tests.track.clips import write

__all__ = ["fake"]


def test_a_video_is_checked_by_the_service_and_as_its_clients_use_it(
    project: Path, devbox: Devbox, fake: Plan
) -> None:
    fake(dropped=[0, 1, *range(10, 30)], refuse=[35])
    write(project / "v.mp4", 40)
    with serving() as client:
        url = f"http://127.0.0.1:{client.port}"
        answer = devbox("pose-check", "v.mp4", "--url", url, "--json")
        assert answer.code == 0
        found = answer.data
        told = devbox("pose-check", "v.mp4", "--url", url, "--min-covered", "0.99")
    assert (found["kind"], found["frames"], found["sequential"]) == ("pose-check", 40, True)
    assert found["sources"] == {"detected": 17, "predicted": 10, "held": 10, "none": 3}
    assert (found["errors"], found["longest_gap"]) == (1, 20)
    assert found["gaps"] == [[0, 1], [10, 29], [35, 35]]
    assert found["covered"] == 0.925
    assert told.code == 1
    assert "40 frames: 92.5% covered, 42.5% detected" in told.out
    assert "longest without a detection: 20 frames; at 0-1, 10-29, 35-35" in told.out


def test_results_of_a_run_are_read_and_anything_else_is_refused(
    project: Path, devbox: Devbox, fake: Plan
) -> None:
    fake(dropped=[3, 4])
    job = run(project / "run", write(project / "v.mp4", 10))
    answer = devbox("pose-check", str(job.out / "results.jsonl"), "--json")
    assert answer.data["sources"]["predicted"] == 2
    (project / "bad.jsonl").write_text('{"frame_number": 0, "source": "detected"}\n{"a": 1}\n')
    with pytest.raises(UsageError, match="line 2 is no result"):
        pose_check.of_results(project / "bad.jsonl")
    (project / "bad.mp4").write_bytes(b"\0" * 100)
    with pytest.raises(UsageError, match="is not a video"):
        pose_check.of_video("http://127.0.0.1:9", project / "bad.mp4", print)


def test_a_service_that_is_not_there_or_is_another_one_is_told(
    project: Path, devbox: Devbox
) -> None:
    video = write(project / "v.mp4", 3)
    with pytest.raises(JobFailed, match="does not answer"):
        pose_check.of_video("http://127.0.0.1:9", video, print)
    assert devbox("pose-check", "v.mp4").code != 0


def test_a_busy_service_is_asked_again(
    project: Path, fake: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float] = []
    monkeypatch.setattr(time, "sleep", waited.append)
    video = write(project / "v.mp4", 6)
    with serving(in_flight=1, queue=0) as client:
        found = pose_check.of_video(f"http://127.0.0.1:{client.port}", video, lambda *_: None)
    assert found["sources"]["detected"] == 6
    assert set(waited) <= {1.0}
