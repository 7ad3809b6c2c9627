"""The sharp job on a stand-in of ml-sharp: what lies beside each picture at the end, and what a bad
picture, a full disk, a crash and a cancel leave."""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from devbox.box.job import Job
from devbox.box.jobs import sharp
from devbox.box.jobs.sharp import model
from tests import in_rounds
from tests.jobs.conftest import BoxHalf
from tests.media.test_pictures import exif
from tests.sharp.conftest import ARGS, PATTERNS, UPSTREAM, Run, likeness, small

# The published header but for the count, which is 1179648 there.
HEADER = """ply
format binary_little_endian 1.0
element vertex 1152
property float x
property float y
property float z
property float f_dc_0
property float f_dc_1
property float f_dc_2
property float opacity
property float scale_0
property float scale_1
property float scale_2
property float rot_0
property float rot_1
property float rot_2
property float rot_3
element extrinsic 16
property float extrinsic
element intrinsic 9
property float intrinsic
element image_size 2
property uint image_size
element frame 2
property int frame
element disparity 2
property float disparity
element color_space 1
property uchar color_space
element version 3
property uchar version
end_header
"""


def names_of(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def about(out: Path, stem: str) -> Any:
    return json.loads((out / f"{stem}.json").read_text())


def test_a_picture_becomes_a_ply_a_preview_and_metadata(
    run: Run, tmp_path: Path, photo: Image.Image, upstream: Any
) -> None:
    small(photo).save(tmp_path / "a.png")
    job = run(tmp_path / "a.png")
    assert names_of(job.out) == ["a.json", "a.ply", "a.preview.png"]
    data = (job.out / "a.ply").read_bytes()
    assert data[: len(HEADER)].decode() == HEADER
    assert len(data) == len(HEADER) + 1152 * 14 * 4 + 16 * 4 + 9 * 4 + 2 * 4 * 3 + 1 + 3
    rest = data[len(HEADER) + 1152 * 14 * 4 :]
    focal = 96 * 1.2
    assert struct.unpack("<9f", rest[64:100]) == pytest.approx(
        (focal, 0, 48, 0, focal, 32, 0, 0, 1)
    )
    assert struct.unpack("<2I2i", rest[100:116]) == (96, 64, 1, 1152)
    assert about(job.out, "a") == {
        "image": "a.png", "width": 96, "height": 64, "mode": "RGB", "orientation": 1,
        "focal_px": pytest.approx(focal), "focal_rule": "guide", "gaussians": 1152,
        "device": "cpu", "checkpoint": "sharp.pt", "preview": "front",
    }  # fmt: skip
    with Image.open(job.out / "a.preview.png") as preview:
        assert preview.size == (96, 64)
        assert likeness(preview, small(photo)) > 0.9
    assert upstream.LOG == ["create", "predict", "eval"]


def test_a_folder_is_worked_through_past_a_broken_picture_with_one_model(
    run: Run, tmp_path: Path, photo: Image.Image, upstream: Any
) -> None:
    folder = tmp_path / "in"
    (folder / "sub").mkdir(parents=True)
    small(photo).save(folder / "a.jpg")
    small(photo).quantize(16).save(folder / "palette.gif")
    small(photo).convert("CMYK").save(folder / "sub" / "print.JPG", "JPEG")
    whole = (folder / "a.jpg").read_bytes()
    (folder / "b.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "c.png").write_bytes(b"not a picture")
    job = run(folder, preview="none")
    assert job.failed == ["b.jpg", "c.png"]
    assert names_of(job.out) == [
        *("a.json", "a.ply", "palette.json", "palette.ply", "sub/print.json", "sub/print.ply"),
    ]
    assert [about(job.out, stem)["mode"] for stem in ("a", "palette", "sub/print")] == [
        *("RGB", "P", "CMYK")
    ]
    assert upstream.LOG.count("create") == 1
    (folder / "b.jpg").write_bytes(whole)
    again = run(folder, preview="none", attempt=2)
    assert again.failed == ["c.png"]
    assert upstream.LOG.count("predict") == 4
    assert (again.out / "b.ply").read_bytes() == (again.out / "a.ply").read_bytes()


@pytest.mark.parametrize(
    "names",
    [
        ("a.jpg", "a.png"),
        ("a.jpg", "A.jpg"),
        ("x/a.jpg", "y/a.jpg"),
        ("a.jpg", "a.preview.png"),
        ("a.jpg", "a.ply/b.jpg", "a.json/b.png"),
        ("-rf.jpg", "a b\n.jpg", "名.png"),
    ],
)
def test_no_two_pictures_share_a_result(
    run: Run, tmp_path: Path, photo: Image.Image, names: tuple[str, ...]
) -> None:
    folder = tmp_path / "in"
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        small(photo, (32 + number, 24)).save(folder / name)
    job = run(folder)
    assert job.failed == []
    found = [json.loads(file.read_text()) for file in job.out.rglob("*.json") if file.is_file()]
    assert {each["image"]: each["width"] for each in found} == {
        name: 32 + number for number, name in enumerate(names)
    }
    assert len({name.casefold() for name in names_of(job.out)}) == 3 * len(names)
    for file in job.out.rglob("*.ply"):
        if file.is_file():
            width = json.loads(file.with_suffix(".json").read_text())["width"]
            assert struct.pack("<2I", width, 24) in file.read_bytes()[-29:]


@pytest.mark.parametrize(
    ("tags", "changes", "px", "rule"),
    [
        ({}, {}, 480.0, "guide"),
        ({}, {"focal": "upstream"}, 346.688, "upstream"),
        ({"film": 26}, {"focal": "upstream"}, 300.463, "exif"),
        ({"film": 26}, {"f_px": 512.0}, 512.0, "given"),
    ],
)
def test_the_focal_length_and_its_rule_are_recorded(
    run: Run, tmp_path: Path, photo: Image.Image, tags: Any, changes: Any, px: float, rule: str
) -> None:
    # Stored lying on its side: EXIF says that the camera was turned.
    small(photo, (300, 400)).save(tmp_path / "a.jpg", exif=exif(6, **tags))
    job = run(tmp_path / "a.jpg", preview="none", **changes)
    found = about(job.out, "a")
    assert (found["width"], found["height"], found["orientation"]) == (400, 300, 6)
    assert (round(found["focal_px"], 3), found["focal_rule"]) == (px, rule)
    rest = (job.out / "a.ply").read_bytes()[len(HEADER) + 1152 * 56 + 64 :]
    assert struct.unpack("<f", rest[:4])[0] == pytest.approx(px, rel=1e-5)


def test_the_side_view_stands_beside_the_front_one(
    run: Run, tmp_path: Path, photo: Image.Image
) -> None:
    small(photo).save(tmp_path / "a.png")
    job = run(tmp_path / "a.png", preview="side")
    both = np.asarray(Image.open(job.out / "a.preview.png"))
    assert both.shape == (64, 192, 3)
    assert likeness(both[:, :96], both[:, 96:]) < 0.98


def test_a_checkpoint_that_does_not_fit_ends_the_run_before_any_picture(
    run: Run, tmp_path: Path, photo: Image.Image, checkpoint: Path
) -> None:
    small(photo).save(tmp_path / "a.png")
    whole = checkpoint.read_bytes()
    for content, said in (
        (whole[: len(whole) // 2], "cannot be read"),
        (b"", "cannot be read"),
        (None, "there is no checkpoint at"),
    ):
        checkpoint.unlink(missing_ok=True)
        if content is not None:
            checkpoint.write_bytes(content)
        with pytest.raises(model.CheckpointError, match=said):
            run(tmp_path / "a.png")
    torch.save({"depth": torch.zeros(2)}, checkpoint)
    with pytest.raises(model.CheckpointError, match=r"other weights than SHARP.*colour"):
        run(tmp_path / "a.png")
    assert names_of(tmp_path / "run" / "out") == []


class _Trap:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("/tmp/devbox-executed",)


def test_a_checkpoint_is_never_executed(run: Run, tmp_path: Path, checkpoint: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    torch.save({"depth": _Trap()}, checkpoint)
    with pytest.raises(model.CheckpointError, match="cannot be read"):
        run(tmp_path / "a.png")
    assert not Path("/tmp/devbox-executed").exists()


def test_a_cancel_leaves_whole_results_and_a_retry_does_the_rest(
    checkpoint: Path, tmp_path: Path, photo: Image.Image, upstream: Any
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for name in "abcdef":
        small(photo, (32, 24)).save(folder / f"{name}.png")

    def job(attempt: int) -> Job:
        return Job(
            tmp_path / "run",
            args={**ARGS, "preview": "none"},
            inputs={"images": folder},
            checkpoints={"sharp": checkpoint},
            attempt=attempt,
        )

    first = job(1)

    class Log(list[str]):
        def append(self, said: str) -> None:
            super().append(said)
            if self.count("predict") == 3:
                first.cancel()

    upstream.LOG = Log()
    sharp.run(first)
    assert first.failed == []
    assert upstream.LOG.count("predict") == 3
    assert all(file.suffix in (".ply", ".json") for file in first.out.iterdir())
    upstream.LOG = []
    sharp.run(job(2))
    assert 3 <= upstream.LOG.count("predict") <= 6
    assert names_of(first.out) == [
        f"{name}.{kind}" for name in "abcdef" for kind in ("json", "ply")
    ]


@pytest.mark.parametrize(
    ("image", "focal", "said"),
    [
        (np.zeros((4, 4, 3), np.float32), 10.0, "RGB uint8"),
        (np.zeros((4, 4), np.uint8), 10.0, "RGB uint8"),
        (np.zeros((4, 4, 4), np.uint8), 10.0, "RGB uint8"),
        (None, 10.0, "RGB uint8"),
        (np.zeros((4, 4, 3), np.uint8), 0.0, "above 0"),
        (np.zeros((4, 4, 3), np.uint8), float("nan"), "above 0"),
    ],
)
def test_what_upstream_takes_silently_for_something_else_is_refused(
    checkpoint: Path, image: Any, focal: float, said: str
) -> None:
    loaded = model.load(checkpoint)
    with pytest.raises(ValueError, match=said):
        loaded.predict(image, focal)


# A run whose worker is killed half-way through the PLY of b, and has no room for that of d.
HALF = """
import importlib, os, pathlib, resource, signal
from devbox.box.jobs import sharp
def run(job):
    job.checkpoints = {{"sharp": pathlib.Path({checkpoint!r})}}
    gaussians = importlib.import_module("sharp.utils.gaussians")
    whole = gaussians.save_ply
    def half(found, focal, shape, path):
        name = path.name.split(".")[1]
        if name not in "bd" or os.path.exists("repaired"):
            return whole(found, focal, shape, path)
        if name == "b":
            path.write_bytes(b"ply")
            os.kill(os.getpid(), signal.SIGKILL)
        resource.setrlimit(resource.RLIMIT_FSIZE, (9000, resource.RLIM_INFINITY))
        try:
            return whole(found, focal, shape, path)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
    gaussians.save_ply = half
    sharp.run(job)
"""


def test_a_kill_and_a_full_disk_in_mid_item_cost_those_items_and_a_retry_mends_them(
    one_box: BoxHalf, photo: Image.Image, checkpoint: Path
) -> None:
    folder = one_box.home / "in"
    folder.mkdir()
    for name in "abcde":
        small(photo, (32, 24)).save(folder / f"{name}.jpg")
    request: dict[str, Any] = {
        "module": one_box.module(HALF.format(checkpoint=str(checkpoint))),
        "inputs": {"images": str(folder)},
        "args": {"focal": "guide", "preview": "none", "device": "cpu"},
        "env": {"PYTHONPATH": f"{UPSTREAM}:{Path(__file__).parents[2]}", "OMP_NUM_THREADS": "1"},
    }
    one_box.start(**request)
    status = one_box.end(seconds=90)
    assert status["counts"] == {"total": 5, "done": 3, "failed": 2, "skipped": 0}, one_box.log()
    failures = {each["item"]: each["error"] for each in status["failures"]}
    assert failures["b.jpg"] == "crashed the worker (SIGKILL)"
    assert "File too large" in failures["d.jpg"]
    whole = [f"{name}.{kind}" for name in "ace" for kind in ("json", "ply")]
    assert names_of(one_box.out(".")) == whole
    (one_box.workdir / "repaired").touch()
    one_box.start(**request, attempt=2)
    status = one_box.end(seconds=90)
    assert (status["state"], status["exit_code"]) == ("succeeded", 0)
    assert names_of(one_box.out(".")) == sorted(
        [*whole, *(f"{name}.{kind}" for name in "bd" for kind in ("json", "ply"))]
    )
    assert one_box.out("b.ply").read_bytes() == one_box.out("a.ply").read_bytes()


@pytest.fixture
def one_box(home: Path) -> Any:
    import sys

    half = BoxHalf(home, sys.executable)
    yield half
    half.clear()


def test_in_rounds_the_model_is_loaded_once_and_results_are_named_as_in_one_run(
    run: Run, photo: Image.Image, tmp_path: Path, upstream: Any
) -> None:
    for name in ("a.png", "a.jpg", "sub/b.png"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        small(photo).save(tmp_path / "in" / name)
    job = run(tmp_path / "in")
    made = in_rounds.run_once_loaded(
        tmp_path / "many", sharp, "files", tmp_path / "in", job, patterns=PATTERNS
    )
    assert "a.png.ply" in made
