"""What is left of a scene: first what a user looks at, then what programs read.

    depth_vis/0000.jpg…   picture and depth side by side; scene.jpg is the first of them
    exports/mini_npz/results.npz   depth, conf, extrinsics, intrinsics (Views says what they are)
    exports/npz/results.npz        with `npz = full`: image too
    scene.glb             points and cameras
    gs_ply/, gs_video/    where asked for
    views.json            {"model", "views": [{"file", "frame", "seconds"}], "unit": metres |
                          relative, "process_res", "width", "height", "batches", "cropped",
                          "device", "left_out": {name: why}}

The paths and keys are upstream's own. Depth and confidence are float32 as they were predicted;
upstream rounds confidence to two decimals.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import Dict, Iterator

from devbox.box.job import Job
from devbox.box.jobs.depth.model import Model, Views, export
from devbox.box.jobs.depth.scenes import Scene
from devbox.box.jobs.depth.solve import Solved, numbers


def write(job: Job, where: str, model: Model, scene: Scene, solved: Solved) -> None:
    """`where` is the scene's folder, "" or with a slash at its end. views.json is last: where it
    is, the others are whole."""
    views, left_out = solved.views, {}
    with temporary() as folder:
        export(views, "depth_vis", folder)
        move(job, where, folder)
        with job.output(f"{where}scene.jpg") as part:
            shutil.copyfile(job.out / f"{where}depth_vis/0000.jpg", part)
    _npz(job, where, views, full=job.args["npz"] == "full")
    if job.args["glb"] == "yes":
        if views.extrinsics is None:
            left_out["scene.glb"] = f"{model.name} gives no cameras"
        else:
            with temporary() as folder:
                _glb(views, folder, int(job.args["points"]))
                move(job, where, folder)
    for name, why in left_out.items():
        job.log(f"no {where}{name}: {why}")
    height, width = views.depth.shape[1:]
    about: Dict[str, object] = {
        "model": model.name,
        "device": model.device,
        "views": numbers(solved),
        "unit": "metres" if views.metres else "relative",
        "process_res": solved.process_res,
        "width": width,
        "height": height,
        "batches": solved.batches,
        "cropped": round(scene.cropped, 3),
        "left_out": left_out,
    }
    job.write(f"{where}views.json", json.dumps(about, indent=2) + "\n")


def gaussians(views: Views, wanted: str, folder: Path) -> None:
    """gs_ply/0000.ply and gs_video/*.mp4 into a temporary folder, on the device."""
    if wanted in ("ply", "both"):
        export(views, "gs_ply", folder)
    if wanted in ("video", "both"):
        export(views, "gs_video", folder, enable_tqdm=False)


@contextmanager
def temporary() -> Iterator[Path]:
    """A folder whose path means nothing to a shell: upstream puts paths into command lines."""
    for base in (tempfile.gettempdir(), "/tmp", "/var/tmp"):  # noqa: S108
        if re.fullmatch(r"[A-Za-z0-9_./-]+", base) and os.access(base, os.W_OK):
            break
    with tempfile.TemporaryDirectory(prefix="devbox-depth-", dir=base) as folder:
        yield Path(folder)


def move(job: Job, where: str, folder: Path) -> None:
    """Every file in it into the results, each in one step."""
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        with job.output(f"{where}{file.relative_to(folder).as_posix()}") as part:
            shutil.copyfile(file, part)


def _npz(job: Job, where: str, views: Views, *, full: bool) -> None:
    import numpy as np

    names = ("depth", "conf", "extrinsics", "intrinsics", "sky")
    arrays = {name: getattr(views, name) for name in names}
    arrays["image"] = views.images if full else None
    kind = "npz" if full else "mini_npz"
    with job.output(f"{where}exports/{kind}/results.npz") as part:
        np.savez_compressed(part, **{k: v for k, v in arrays.items() if v is not None})


def _glb(views: Views, folder: Path, points: int) -> None:
    import numpy as np

    np.random.seed(0)  # upstream draws the points that it keeps
    # It writes into the arrays.
    own = views._replace(
        depth=views.depth.copy(),
        conf=None if views.conf is None else views.conf.copy(),
        gaussians=None,
    )
    export(own, "glb", folder, num_max_points=points, export_depth_vis=False)
