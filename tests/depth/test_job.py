"""The depth job on a stand-in of Depth Anything 3: what is left of pictures and videos."""

from __future__ import annotations

import json
import tempfile
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from devbox.box.jobs import depth
from tests import in_rounds
from tests.depth.conftest import (
    ONE,
    PATTERNS,
    Run,
    about,
    arrays,
    names_of,
    picture,
    scene,
)
from tests.media.test_pictures import exif
from tests.track.clips import write


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
