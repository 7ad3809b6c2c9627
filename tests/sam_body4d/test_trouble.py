"""Full memory, full disks, broken videos, runs that are cut off: nothing lost, nothing half."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from devbox.box.job import PART
from devbox.box.jobs.sam_body4d import bodies
from tests.sam_body4d.scenes import Places, everything, folder, mask, meshes, run, status, video
from tests.sam_body4d.stand_in import Parts


def two(frame: int) -> Places:
    return [(0, 100, 40), (1, 20 + frame, 60)]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return folder(tmp_path / "in/v", [two(n) for n in range(40)])


def test_out_of_memory_takes_fewer_frames_at_once_and_changes_nothing(
    tmp_path: Path, source: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    small = Parts()
    small.estimator.most, small.predictor.most = 10, 20
    job = run(tmp_path / "small", source, small)
    plain = run(tmp_path / "plain", source, batch=8)
    assert job.failed == []
    assert meshes(job.out / "v").keys() == meshes(plain.out / "v").keys()
    assert everything(job.out / "v") == everything(plain.out / "v")
    said = capfd.readouterr().out
    assert "out of memory: 8 frames at once" in said
    assert "out of memory: tracking" in said
    assert status(job.out / "v")["batch"] == 8


def test_a_gpu_that_is_too_small_for_one_frame_says_what_to_do(
    tmp_path: Path, source: Path
) -> None:
    parts = Parts()
    parts.estimator.most = 0
    job = run(tmp_path / "run", source, parts)
    assert job.failed == ["v"]
    (error,) = status(job.out / "v")["errors"]
    assert "--occlusion off" in error


class Cut(NamedTuple):
    """After which of the upstream's calls the process dies."""

    where: str
    after: int


@pytest.mark.parametrize("cut", [Cut("sessions", 2), Cut("batches", 3), Cut("pictures", 30)])
def test_a_run_killed_anywhere_continues_to_the_same_results(
    tmp_path: Path, source: Path, cut: Cut
) -> None:
    program = (
        "import sys, os\n"
        "from pathlib import Path\n"
        "from tests.sam_body4d import scenes, stand_in\n"
        "from devbox.box.jobs.sam_body4d import bodies\n"
        "parts = stand_in.Parts()\n"
        "class Deadly(list):\n"
        "    def append(self, value):\n"
        "        super().append(value)\n"
        f"        if len(self) > {cut.after}: os.kill(os.getpid(), 9)\n"
        "calls = Deadly()\n"
        f"if {cut.where!r} == 'sessions': parts.predictor.sessions = calls\n"
        f"if {cut.where!r} == 'batches': parts.estimator.batches = calls\n"
        f"if {cut.where!r} == 'pictures':\n"
        "    write = bodies.write_picture\n"
        "    bodies.write_picture = lambda *words: (calls.append(1), write(*words))\n"
        "scenes.run(Path(sys.argv[1]), Path(sys.argv[2]), parts, stretch=16, batch=4)\n"
    )
    words = [sys.executable, "-c", program, str(tmp_path / "cut"), str(source)]
    done = subprocess.run(words, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=False)
    assert done.returncode == -9
    parts = Parts()
    again = run(tmp_path / "cut", source, parts, attempt=2, stretch=16, batch=4)
    whole = run(tmp_path / "whole", source, Parts(), stretch=16, batch=4)
    assert again.failed == []
    assert everything(again.out / "v") == everything(whole.out / "v")
    if cut.where == "batches":
        assert parts.predictor.sessions == [], "nothing is tracked again"
        assert len(parts.estimator.batches) < 20, "nor a body found again that was written"


def test_a_broken_video_among_good_ones_fails_alone(tmp_path: Path) -> None:
    for name in ("a", "c"):
        video(tmp_path / f"in/{name}.avi", [two(n) for n in range(6)])
    (tmp_path / "in/b.mp4").write_bytes(b"no video" * 999)
    parts = Parts()
    job = run(tmp_path / "run", tmp_path / "in", parts)
    assert job.failed == ["b.mp4"]
    assert [status(job.out / name)["state"] for name in ("a", "c")] == ["done", "done"]
    assert parts.loads == [False], "the models are loaded once"


def test_videos_whose_names_collide_get_folders_of_their_own(tmp_path: Path) -> None:
    for name in ("x/Clip.avi", "x/clip.mov.avi", "x/clip.mp4"):
        video(tmp_path / "in" / name, [two(0)] * 3)
    (tmp_path / "in/x/clip.mp4").unlink()
    video(tmp_path / "in/x/clip.avi", [two(0)] * 3)
    job = run(tmp_path / "run", tmp_path / "in")
    folders = {str(path.parent.relative_to(job.out)) for path in job.out.rglob("status.json")}
    assert len({name.casefold() for name in folders}) == 3


def test_a_disk_that_cannot_hold_the_results_is_told_before_the_work(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    parts = Parts()
    job = run(tmp_path / "run", source, parts)
    assert job.failed == ["v"]
    assert parts.estimator.batches == []
    assert "GB free" in status(job.out / "v")["errors"][0]


def test_a_disk_that_fills_up_leaves_no_half_file(tmp_path: Path, source: Path) -> None:
    program = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from tests.sam_body4d import scenes, stand_in\n"
        "parts = stand_in.Parts()\n"
        "render = stand_in.render_all\n"
        "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "load = parts.load\n"
        "def full(*words):\n"
        "    upstream = load(*words)\n"
        "    def limited(*each):\n"
        "        resource.setrlimit(resource.RLIMIT_FSIZE, (300, resource.RLIM_INFINITY))\n"
        "        return render(*each)\n"
        "    return upstream._replace(render_all=limited)\n"
        "parts.load = full\n"
        "job = scenes.run(Path(sys.argv[1]), Path(sys.argv[2]), parts)\n"
        "sys.exit(len(job.failed))\n"
    )
    words = [sys.executable, "-c", program, str(tmp_path / "run"), str(source)]
    done = subprocess.run(words, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=False)
    assert done.returncode == 1
    out = tmp_path / "run/out/v"
    assert not list(out.rglob(f"*{PART}*"))
    assert not list(out.glob("rendered_frames/*"))
    again = run(tmp_path / "run", source, attempt=2)
    assert (again.failed, status(out)["frames_out"]) == ([], 40)


def test_cancel_stops_between_batches_and_a_retry_continues(tmp_path: Path, source: Path) -> None:
    parts = Parts()

    class Watched(bodies.Bodies):
        def _save(self) -> None:
            super()._save()
            self._job.cancel()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bodies, "Bodies", Watched)
        run(tmp_path / "run", source, parts, batch=8)
    assert len(parts.estimator.batches) == 2, "one batch of two people"
    again = Parts()
    job = run(tmp_path / "run", source, again, attempt=2, batch=8)
    assert job.failed == []
    assert len(again.estimator.batches) == 8
    assert mask(job.out / "v", 39).any()


def test_the_trackers_models_leave_the_gpu_before_bodies_are_found(
    tmp_path: Path, source: Path
) -> None:
    parts = Parts()
    seen: list[Any] = []
    batches = parts.estimator.batches

    class Noting(list[Any]):
        def append(self, value: Any) -> None:
            seen.append(parts.module.places[-1])

    parts.estimator.batches = Noting(batches)
    run(tmp_path / "run", source, parts)
    assert set(seen) == {"cpu"}
