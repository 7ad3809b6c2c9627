"""The depth job on a stand-in of Depth Anything 3: what is left of pictures and videos, and what
bad files, little memory, a full disk, a kill and a cancel leave."""

from __future__ import annotations

import json
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file, save_file

from devbox.box.job import Job
from devbox.box.jobs import depth
from devbox.box.jobs.depth import model
from tests import in_rounds
from tests.depth.conftest import ARGS, PATTERNS, UPSTREAM, Run, names_of, picture
from tests.jobs.conftest import BoxHalf
from tests.media.test_pictures import exif
from tests.track.clips import write

ONE = ["depth_vis/0000.jpg", "exports/mini_npz/results.npz", "scene.glb", "scene.jpg", "views.json"]


def about(job: Job, where: str = "") -> Any:
    return json.loads((job.out / f"{where}views.json").read_text())


def arrays(job: Job, where: str = "", kind: str = "mini_npz") -> dict[str, Any]:
    with np.load(job.out / f"{where}exports/{kind}/results.npz") as file:
        return dict(file)


def scene(folder: Path, count: int, size: tuple[int, int] = (96, 64)) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for k in range(count):
        picture(k, size).save(folder / f"{k}.png")
    return folder


def test_a_picture_becomes_pictures_arrays_and_a_point_cloud(
    run: Run, tmp_path: Path, upstream: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture(0).save(tmp_path / "a.png")
    between = tmp_path / "between"
    between.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(between))
    before = threading.active_count()
    job = run(tmp_path / "a.png", npz="full")
    assert names_of(job.out) == [name.replace("mini_npz", "npz") for name in ONE]
    data = arrays(job, kind="npz")
    assert {name: (each.dtype.name, each.shape) for name, each in data.items()} == {
        "depth": ("float32", (1, 70, 112)),
        "conf": ("float32", (1, 70, 112)),
        "extrinsics": ("float32", (1, 3, 4)),
        "intrinsics": ("float32", (1, 3, 3)),
        "image": ("uint8", (1, 70, 112, 3)),
    }
    # not upstream's two decimals, and not what its glb writes into the arrays
    assert len(np.unique(data["conf"])) > 60
    assert data["conf"].min() >= 1
    with Image.open(job.out / "scene.jpg") as side:
        assert side.size == (224, 70)
    assert len((job.out / "scene.glb").read_bytes()) == 4 + 50 * 8
    assert about(job) == {
        "model": "da3-small", "device": "cpu", "views": [{"file": "a.png"}], "unit": "relative",
        "process_res": 112, "width": 112, "height": 70, "batches": [1], "cropped": 1.0,
        "left_out": {},
    }  # fmt: skip
    assert upstream.LOG == ["build da3-small", "infer 1 at 112"]
    assert threading.active_count() == before  # none of upstream's own
    assert list(between.glob("devbox-depth-*")) == []


def test_batches_of_a_scene_are_joined_into_the_world_of_the_first(
    run: Run, tmp_path: Path, upstream: Any
) -> None:
    folder = scene(tmp_path / "in", 11)
    whole, parts = run(folder), run(folder, batch=4, to="parts")
    assert [view["file"] for view in about(parts)["views"]] == [f"{k}.png" for k in range(11)]
    assert about(parts)["batches"] == [4, 3, 3, 1]
    one, many = arrays(whole), arrays(parts)
    size = many["depth"][0].mean() / one["depth"][0].mean()  # of the first batch's world
    assert np.allclose(many["depth"], one["depth"] * size, rtol=1e-4)
    assert np.allclose(many["extrinsics"][:, :, :3], one["extrinsics"][:, :, :3], atol=1e-5)
    assert np.allclose(many["extrinsics"][:, :, 3], one["extrinsics"][:, :, 3] * size, atol=1e-4)
    assert np.abs(one["extrinsics"][10]).max() > 1  # there is something to get wrong
    nested = run(folder, batch=4, model="da3nested-giant-large", to="metres")
    assert about(nested)["unit"] == "metres"
    assert np.allclose(arrays(nested)["extrinsics"][10], upstream.true_pose(10)[:3], atol=1e-5)


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


def test_each_picture_may_be_a_scene_and_is_turned_as_its_exif_says(
    run: Run, tmp_path: Path, upstream: Any
) -> None:
    folder = scene(tmp_path / "in", 3)
    picture(3).save(folder / "turned.jpg", exif=exif(6, film=26))
    picture(0, (2000, 20)).save(folder / "thin.png")
    (folder / "bad.png").write_bytes(b"")
    job = run(folder, views="single", model="da3metric-large")
    assert job.failed == ["bad.png", "thin.png"]
    assert upstream.LOG.count("infer 1 at 112") == 4
    assert upstream.LOG.count("build da3metric-large") == 1
    for where in ("0/", "1/", "2/", "turned/"):
        assert names_of(job.out / where) == [name for name in ONE if name != "scene.glb"]
        assert about(job, where)["left_out"] == {"scene.glb": "da3metric-large gives no cameras"}
    turned = about(job, "turned/")
    assert (turned["width"], turned["height"]) == (70, 112)
    # metres need a focal length: 26 mm on film, over the 300 pixels of da3metric
    assert [about(job, where)["unit"] for where in ("0/", "turned/")] == ["relative", "metres"]
    factor = 26 * np.hypot(70, 112) / np.hypot(36, 24) / 300
    scale = 1 + 0.3 * 3 + 0.05
    assert arrays(job, "turned/")["depth"].max() == pytest.approx(
        (1 + 200 / 64) * scale * factor, rel=0.02
    )
    assert arrays(job, "0/")["sky"].dtype == bool


def test_pictures_of_unlike_shape_are_cropped_to_one_or_refused(run: Run, tmp_path: Path) -> None:
    folder = scene(tmp_path / "in", 2, (96, 72))
    picture(2, (72, 96)).save(folder / "2.png")
    job = run(folder, batch=2)
    assert about(job)["cropped"] == 0.75
    assert arrays(job)["depth"].shape == (3, 112, 112)
    picture(3, (96, 24)).save(folder / "3.png")
    refused = run(folder, to="refused")
    assert refused.failed == ["in"]
    assert names_of(refused.out) == []


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


@pytest.mark.parametrize(
    ("changes", "frames"),
    [
        ({"fps": 5.0}, [0, 5, 10, 15, 20, 25]),
        ({"fps": 100.0, "max_frames": 3}, [0, 10, 20]),
        ({"fps": 0.1}, [0]),
    ],
)
def test_frames_of_a_video_are_taken_evenly(
    run: Run, tmp_path: Path, changes: Any, frames: list[int]
) -> None:
    job = run(write(tmp_path / "clip.avi", 30), batch=4, **changes)
    views = about(job)["views"]
    assert [view["frame"] for view in views] == frames
    assert [round(view["seconds"] * 25) for view in views] == frames
    with Image.open(job.out / "depth_vis" / f"{len(frames) - 1:04d}.jpg") as last:
        grey = np.asarray(last)[:, :112].mean()
    assert grey == pytest.approx(5 * frames[-1] + 2, abs=4)


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


def test_gaussians_come_from_one_batch_of_a_model_that_has_them(
    run: Run, tmp_path: Path, upstream: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = scene(tmp_path / "in", 5)
    with pytest.raises(ValueError, match="needs a giant or nested model; this one is da3-small"):
        run(folder, gaussians="ply")
    with pytest.raises(ValueError, match="needs gsplat"):
        run(folder, gaussians="both", model="da3-giant")
    upstream.FITS[:] = [2, 1000]
    job = run(folder, gaussians="ply", model="da3-giant", to="ply")
    assert upstream.LOG[1:] == ["infer 5 at 112", "infer 2 at 112"]
    assert about(job)["batches"] == [2]
    assert f"element vertex {2 * 70 * 112}\n" in (job.out / "gs_ply/0000.ply").read_text()
    (tmp_path / "gsplat.py").write_text("VIDEO = b'mp4'\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    both = run(folder, gaussians="both", model="da3-giant", batch=2, to="both")
    assert [view["file"] for view in about(both)["views"]] == ["0.png", "3.png"]
    assert {"gs_ply/0000.ply", "gs_video/0000_extend.mp4"} < set(names_of(both.out))


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


@pytest.mark.parametrize(
    "names",
    [
        ("a.jpg", "a.png"),
        ("x/a.jpg", "X/a.jpg"),
        ("-rf.jpg", "a b\n.jpg", "$(touch x); 名.png", "~.png"),
    ],
)
def test_no_two_scenes_share_a_folder_and_no_name_reaches_a_shell(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: tuple[str, ...]
) -> None:
    odd = tmp_path / "a b; touch x"
    odd.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(odd))
    monkeypatch.chdir(tmp_path)
    for number, name in enumerate(names):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        picture(number).save(tmp_path / "in" / name)
    job = run(tmp_path / "in", views="single")
    assert job.failed == []
    found = {
        json.loads(file.read_text())["views"][0]["file"] for file in job.out.rglob("views.json")
    }
    assert found == set(names)
    assert len({name.casefold() for name in names_of(job.out)}) == len(ONE) * len(names)
    assert not list(tmp_path.rglob("x")) or "x/a.jpg" in names
    assert list(odd.iterdir()) == []


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
        made = model.create(path)
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


def test_in_rounds_the_model_is_loaded_once_and_results_are_named_as_in_one_run(
    run: Run, tmp_path: Path
) -> None:
    for name in ("a/1.png", "a/2.png", "b/1.png"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        picture(1).save(tmp_path / "in" / name)
    job = run(tmp_path / "in")
    made = in_rounds.run_once_loaded(
        tmp_path / "many", depth, "scenes", tmp_path / "in", job, patterns=PATTERNS
    )
    assert {path.split("/")[0] for path in made} == {"a", "b"}
