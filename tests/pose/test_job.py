"""The pose job: one record a frame whatever the engine does, pictures; an item fails alone."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import cv2
import pytest

from devbox import paths
from devbox.box.job import PART, Job
from devbox.box.jobs import pose
from devbox.box.pose import host
from devbox.box.pose.engines import NAMES
from devbox.jobs import catalogue
from devbox.spec import Spec
from tests import in_rounds
from tests.pose.fake import FACES, FACTORY
from tests.pose.patterns import DROPPED, FRAMES, check, expected
from tests.track.clips import records_of, write

Plan = Callable[..., None]


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Plan:
    """The fake engine in place of every other; called with its plan."""
    monkeypatch.setattr(host, "FACTORY", FACTORY)
    return lambda **plan: monkeypatch.setenv("DEVBOX_TEST_PLAN", json.dumps(plan))


def job_in(folder: Path, source: Path, **changes: Any) -> Job:
    known = catalogue.find(Spec(), "pose")
    defaults = {name: argument.default for name, argument in known.args.items()}
    patterns = {"video": known.inputs["video"].patterns}
    args = {**defaults, "engine": "fake", **changes}
    return Job(folder, args=args, inputs={"video": source}, patterns=patterns)


def run(folder: Path, source: Path, **changes: Any) -> Job:
    job = job_in(folder, source, **changes)
    with closing(job):
        pose.run(job)
    return job


@pytest.mark.parametrize("name", DROPPED)
def test_140_frames_give_140_records_with_honest_sources(home: Path, fake: Plan, name: str) -> None:
    video = write(home / "v.mp4", FRAMES)
    fake(dropped=DROPPED[name], noise=True)
    job = run(home / "run", video)
    assert job.failed == []
    check(records_of(job.out), expected(DROPPED[name], backfill=20))
    summary = json.loads((job.out / "summary.json").read_text())
    assert summary["frames"] == sum(summary["sources"].values()) == FRAMES
    overlay = cv2.VideoCapture(str(job.out / "overlay.mp4"))
    assert overlay.get(cv2.CAP_PROP_FRAME_COUNT) == FRAMES
    assert (job.out / "contact_sheet.png").read_bytes().startswith(b"\x89PNG")


def test_a_broken_video_and_an_engine_that_dies_cost_only_themselves(
    home: Path, fake: Plan, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = home / "videos"
    folder.mkdir()
    for name in ("a.mp4", "a.avi", "c.mp4"):
        write(folder / name, 12)
    (folder / "b.mp4").write_bytes(b"\0" * 5000)
    fake(die=[4, 5], refuse=[7], raises=[9])
    job = run(home / "run", folder)
    assert job.failed == ["b.mp4"]
    names = sorted(path.parent.name for path in job.out.rglob("results.jsonl"))
    assert names == ["a.avi", "a.mp4", "c"]
    for each in job.out.rglob("results.jsonl"):
        records = records_of(each.parent)
        assert [r["frame_number"] for r in records] == list(range(12))
        errors = {r["frame_number"]: r["error"] for r in records if r["error"]}
        assert list(errors) == [4, 5, 7, 9]
        assert "CUDA out of memory" in errors[9]
        assert "code 9" in errors[4]
        assert errors[7] == "the network gave no number"
        assert records[5]["source"] == "predicted"
    assert not (job.out / "b").exists() or not any((job.out / "b").iterdir())


def test_an_engine_that_dies_on_every_frame_fails_the_video_and_leaves_nothing(
    home: Path, fake: Plan
) -> None:
    fake(die=list(range(12)))
    job = run(home / "run", write(home / "v.mp4", 12))
    assert job.failed == ["v.mp4"]
    assert not any(path.is_file() for path in job.out.rglob("*"))


def test_a_cancel_half_way_leaves_nothing_and_the_next_attempt_does_it_all(
    home: Path, fake: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    video = write(home / "v.mp4", 30)
    job = job_in(home / "run", video)
    progress = job.progress

    def cancel(done: float, *rest: Any) -> None:
        progress(done, *rest)
        if done == 10:
            job.cancel()

    monkeypatch.setattr(job, "progress", cancel)
    with closing(job):
        pose.run(job)
    assert not any(path.is_file() for path in job.out.rglob("*"))
    again = run(home / "run", video)
    assert len(records_of(again.out)) == 30


def test_a_kill_in_mid_video_leaves_nothing_that_is_fetched_and_a_retry_does_it(
    home: Path, fake: Plan
) -> None:
    video = write(home / "v.mp4", 40)
    fake(seconds=0.02)
    code = (
        "import sys; from pathlib import Path; from devbox.box.pose import host; "
        "from tests.pose import test_job as t; host.FACTORY = t.FACTORY; "
        "t.run(Path(sys.argv[1]), Path(sys.argv[2]))"
    )
    command = [sys.executable, "-c", code, str(home / "run"), str(video)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        reports = home / "run" / "reported.jsonl"
        while not (reports.exists() and '"progress"' in reports.read_text()):
            assert process.poll() is None
        process.kill()
    left = [path for path in (home / "run" / "out").rglob("*") if path.is_file()]
    assert all(PART in path.name for path in left)
    fake()
    job = run(home / "run", video)
    assert [r["frame_number"] for r in records_of(job.out)] == list(range(40))


def test_a_disk_that_is_full_fails_the_item_and_leaves_no_half_of_it(
    home: Path, fake: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    video = write(home / "v.mp4", 12)
    full = Path("/dev/full")

    def onto_full(job: Job, host: Any, source: Any, part: Path) -> dict[str, Any]:
        part.symlink_to(full)
        return results(job, host, source, part)

    results = pose._results
    monkeypatch.setattr(pose, "_results", onto_full)
    job = run(home / "run", video)
    assert job.failed == ["v.mp4"]
    assert not any(path.is_file() for path in job.out.rglob("*"))
    assert "No space left" in (home / "run" / "items.jsonl").read_text()


def test_meshes_are_written_on_request_and_their_faces_once(home: Path, fake: Plan) -> None:
    video = write(home / "v.mp4", 3)
    fake(mesh=True)
    without = run(home / "a", video)
    assert {r["mesh_vertices_data"] for r in records_of(without.out)} == {None}
    fake(mesh=True)
    job = run(home / "b", video, mesh=True)
    assert json.loads((job.out / "faces.json").read_text()) == FACES
    for record in records_of(job.out):
        assert record["mesh_vertices_data"][1] == [3.0, 4.0, 5.0]
        assert record["mesh_faces_data"] is None
        assert record["camera_translation"] == [0.1, 0.2, 4.0]


def test_the_cascade_sees_faces_and_says_that_it_sees_no_more(home: Path) -> None:
    photograph = cv2.imread(str(paths.data("templates") / "demo" / "astronaut.jpg"))
    assert photograph is not None
    folder = home / "pictures"
    folder.mkdir()
    for number in range(6):
        picture = photograph[10:280, 50:410] if number != 3 else photograph[:8, :8]
        cv2.imwrite(str(folder / f"{number}.png"), picture)
    job = run(home / "run", folder, engine="cascade")
    records = records_of(job.out)
    assert [r["frame_number"] for r in records] == list(range(6))
    seen = [r for r in records if r["source"] == "detected"]
    assert [r["frame_number"] for r in seen] == [0, 1, 2, 4, 5]
    assert {r["has_3d"] for r in records} == {False}
    assert {point["name"] for r in seen for point in r["keypoints"]} == {"face_center"}


def test_an_engine_that_cannot_be_loaded_is_told_with_its_own_words(home: Path, fake: Plan) -> None:
    fake(broken="no such file: w.ckpt")
    job = job_in(home / "run", write(home / "v.mp4", 3))
    told = r"engine fake: ValueError: no such file: w\.ckpt"
    with closing(job), pytest.raises(host.EngineFailed, match=told):
        pose.run(job)


def test_what_an_engine_prints_never_reaches_the_answers(
    home: Path, fake: Plan, capfd: pytest.CaptureFixture[str]
) -> None:
    fake(noise=True)
    run(home / "run", write(home / "v.mp4", 3))
    out, err = capfd.readouterr()
    assert "noise" not in out
    assert err.count("native noise") == err.count("python noise") == 3


def test_an_engine_that_hangs_is_ended_in_time(
    home: Path, fake: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host, "SEE_SECONDS", 0.2)
    fake(seconds=60)
    image = cv2.imread(str(paths.data("templates") / "demo" / "astronaut.jpg"))
    assert image is not None
    with (
        host.Host("fake", {}, print) as opened,
        pytest.raises(host.EngineFailed, match=r"over 0\.2 s"),
    ):
        opened.see(image)


@pytest.mark.parametrize("lacking", ["a Python", "a wheel"])
def test_a_box_that_mediapipe_does_not_fit_gets_the_cascade_and_is_told(
    home: Path, monkeypatch: pytest.MonkeyPatch, lacking: str
) -> None:
    if lacking == "a Python":
        monkeypatch.setattr(host, "MEDIAPIPE", host.MEDIAPIPE._replace(python=">=3.4,<3.5"))
    else:
        monkeypatch.setattr(platform, "machine", lambda: "aarch64")
        monkeypatch.setattr(sys, "platform", "linux")
    said: list[str] = []
    image = cv2.imread(str(paths.data("templates") / "demo" / "astronaut.jpg"))
    assert image is not None
    with host.Host("mediapipe", {"min_size": 40}, said.append) as opened:
        assert len(opened.see(image)) == 1
        assert opened.ready
        assert opened.ready.engine == "cascade"
        assert opened.ready.note == said[-1]
    assert "mediapipe does not run here" in said[-1]
    assert "faces only" in said[-1]


def test_job_and_engines_agree_on_their_names() -> None:
    argument = catalogue.find(Spec(), "pose").args["engine"]
    assert sorted(argument.choices) == sorted(NAMES)


def test_in_rounds_the_engine_is_loaded_once_and_results_are_named_as_in_one_run(
    home: Path, fake: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a.mp4", "b.mp4"):
        (home / "in").mkdir(exist_ok=True)
        write(home / "in" / name, 3)
    began: list[host.Host] = []
    begin = host.Host.begin

    def noted(self: host.Host) -> None:
        began.append(self)
        begin(self)

    monkeypatch.setattr(host.Host, "begin", noted)
    job = run(home / "one", home / "in")
    made = in_rounds.run(
        home / "many", pose.run, "sequences", home / "in",
        args=job.args, patterns={"video": ("*.mp4",)},
    )  # fmt: skip
    assert made == in_rounds.files(job.out)
    assert len(began) == 2, "once for each run"
