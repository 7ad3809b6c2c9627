"""The depth job on a stand-in of Depth Anything 3: what bad files, little memory, a full disk,
a kill and a cancel leave."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from devbox.box.job import Job
from devbox.box.jobs import depth
from devbox.box.jobs.depth import model
from tests.depth.conftest import (
    ARGS,
    ONE,
    PATTERNS,
    UPSTREAM,
    Run,
    about,
    arrays,
    names_of,
    picture,
    scene,
)
from tests.jobs.conftest import BoxHalf
from tests.track.clips import write


def test_a_bad_picture_fails_itself_and_its_scene_goes_without_it(run: Run, tmp_path: Path) -> None:
    folder = scene(tmp_path / "in", 3)
    whole = (folder / "1.png").read_bytes()
    (folder / "1.png").write_bytes(whole[: len(whole) // 2])
    scene(folder / "hall", 2)
    (folder / "clip.avi").write_bytes(b"not a video")
    job = run(folder)
    assert job.failed == ["clip.avi", "1.png"]
    assert [view["file"] for view in about(job, "in/")["views"]] == ["0.png", "2.png"]
    assert names_of(job.out / "hall") == sorted([*ONE, "depth_vis/0001.jpg"])
    assert not (job.out / "clip").exists()
    (folder / "1.png").write_bytes(whole)
    again = run(folder, attempt=2)
    assert again.failed == ["clip.avi"]


@pytest.mark.parametrize(
    "changes",
    [{"fps": 0.0}, {"fps": float("nan")}, {"max_frames": 0}, {"batch": 0}, {"process_res": 9}],
)
def test_arguments_that_make_no_sense_end_the_run_before_the_model_is_read(
    run: Run, tmp_path: Path, upstream: Any, changes: Any
) -> None:
    picture(0).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match=r"must be above 0|or more"):
        run(tmp_path / "a.png", **changes)
    assert upstream.LOG == []


def test_with_too_little_memory_less_is_tried_and_said_so(
    run: Run, tmp_path: Path, upstream: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = scene(tmp_path / "in", 7)
    scene(folder / "other", 5)
    whole = run(folder, batch=3)
    upstream.FITS[:] = [3, 1000]
    capsys.readouterr()
    job = run(folder, to="less")
    said = capsys.readouterr().out
    assert "out of memory with 7 views (CUDA out of memory. Tried to allocate 2.00 GiB): 3" in said
    assert upstream.LOG[1:] == ["infer 7 at 112", *("infer 3 at 112",) * 5]
    assert about(job, "in/")["batches"] == [3, 2, 2]
    assert about(job, "other/")["batches"] == [3, 2]
    assert np.array_equal(arrays(job, "in/")["depth"], arrays(whole, "in/")["depth"])
    upstream.FITS[:] = [3, 160]
    smaller = run(folder, process_res=210, batch=3, to="smaller")
    assert about(smaller, "in/")["process_res"] == about(smaller, "other/")["process_res"] == 154
    assert "out of memory: again, with at most 2 views of 154 pixels" in capsys.readouterr().out
    upstream.FITS[:] = [0, 0]
    none = run(folder, to="none")
    assert none.failed == ["in", "other"]
    assert names_of(none.out) == []


def test_a_folder_that_is_not_one_whole_model_ends_the_run_before_any_picture(
    run: Run, tmp_path: Path, checkpoint: Any, upstream: Any
) -> None:
    folder = checkpoint()
    weights, config = folder / "model.safetensors", folder / "config.json"
    whole, tensors = weights.read_bytes(), load_file(weights)

    def said() -> str:
        upstream.LOG.clear()
        with pytest.raises(model.CheckpointError) as raised:
            model.load(folder)
        return str(raised.value)

    del tensors["second.weight"]
    save_file(tensors, weights)
    assert "does not hold the weights of da3-small" in said()
    weights.write_bytes(whole[:-5])
    assert "does not hold the weights" in said()
    weights.unlink()
    assert "there is no model.safetensors" in said()
    weights.write_bytes(whole)
    for content, expected in (
        ('{"model_name": "da3-huge"}', "upstream lacks: 'da3-huge'"),
        ('{"model_name": 3}', "names no model"),
        ("[]", "names no model"),
        (None, "there is no config.json"),  # upstream would build da3-large
    ):
        config.unlink()
        if content is not None:
            config.write_text(content)
        assert expected in said()
    assert upstream.LOG == []
    folder = tmp_path / "models" / "missing"  # upstream would ask the Hub for it
    assert "there is no config.json" in said()


@pytest.mark.parametrize(
    ("image", "said"),
    [
        (np.zeros((40, 40, 3), np.float32), "RGB uint8"),
        (np.zeros((40, 40), np.uint16), "RGB uint8"),
        (np.zeros((40, 40, 4), np.uint8), "RGB uint8"),
        ("a.png", "RGB uint8"),
        (np.zeros((6, 112, 3), np.uint8), "too narrow"),
    ],
)
def test_what_upstream_takes_wrongly_is_refused(checkpoint: Any, image: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        model.load(checkpoint()).predict([image], 112)


def test_a_cancel_keeps_what_is_whole_and_nothing_of_the_rest(
    tmp_path: Path, checkpoint: Any, upstream: Any
) -> None:
    folder = scene(tmp_path / "in", 6)
    scene(folder / "z", 1)
    job = Job(
        tmp_path / "run",
        args={**ARGS, "batch": 2},
        inputs={"input": folder},
        checkpoints={"da3": checkpoint()},
        patterns=PATTERNS,
    )

    def cancelling(path: Path) -> Any:
        made: Any = model.create(path)
        whole = made.inference

        def inference(*args: Any, **kwargs: Any) -> Any:
            if upstream.LOG.count("infer 2 at 112") == 2:
                job.cancel()
            return whole(*args, **kwargs)

        made.inference = inference
        return made

    depth.run(job, cancelling)
    assert (job.failed, names_of(job.out)) == ([], [])
    assert upstream.LOG.count("infer 2 at 112") == 3


# A run whose worker is killed while the arrays of scene b are written, and that has no room for
# those of c.
HALF = """
import os, pathlib, resource, signal
from devbox.box.jobs import depth
from devbox.box.jobs.depth import outputs
def run(job):
    job.checkpoints = {{"da3": pathlib.Path({checkpoint!r})}}
    whole = outputs._npz
    def half(job, where, views, *, full):
        if where == "a/" or os.path.exists("repaired"):
            return whole(job, where, views, full=full)
        if where == "b/":
            with job.output(where + "x") as part:
                part.write_bytes(b"half")
                os.kill(os.getpid(), signal.SIGKILL)
        resource.setrlimit(resource.RLIMIT_FSIZE, (500, resource.RLIM_INFINITY))
        try:
            return whole(job, where, views, full=full)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
    outputs._npz = half
    depth.run(job)
"""


def test_a_kill_and_a_full_disk_in_mid_item_cost_that_item_and_a_retry_mends_it(
    home: Path, checkpoint: Any
) -> None:
    box = BoxHalf(home, sys.executable)
    folder = home / "in"
    for name in "abc":
        scene(folder / name, 1)
    request: dict[str, Any] = {
        "module": box.module(HALF.format(checkpoint=str(checkpoint()))),
        "inputs": {"input": str(folder)},
        "args": {**ARGS, "glb": "no"},
        "env": {"PYTHONPATH": f"{UPSTREAM}:{Path(__file__).parents[2]}", "OMP_NUM_THREADS": "1"},
    }
    one = [name for name in ONE if name != "scene.glb"]
    try:
        box.start(**request)
        status = box.end(seconds=120)
        assert status["counts"] == {"total": 3, "done": 1, "failed": 2, "skipped": 0}, box.log()
        said = {each["item"]: each["error"] for each in status["failures"]}
        assert "crashed the worker (SIGKILL)" in said["b"]
        assert "File too large" in said["c"]
        assert names_of(box.out("a")) == one
        for name in "bc":
            assert set(names_of(box.out(name))) == {"depth_vis/0000.jpg", "scene.jpg"}
        (box.workdir / "repaired").touch()
        box.start(**request, attempt=2)
        status = box.end(seconds=120)
        assert (status["state"], status["exit_code"]) == ("succeeded", 0)
        assert names_of(box.out("b")) == names_of(box.out("c")) == one
    finally:
        box.clear()


def test_a_video_without_a_frame_that_can_be_read_fails(run: Run, tmp_path: Path) -> None:
    folder = scene(tmp_path / "in", 1)
    data = write(folder / "a.avi", 3).read_bytes()
    (folder / "a.avi").write_bytes(data[:300])
    assert run(folder).failed == ["a.avi"]
