"""The `sharp` job: each picture becomes 3D Gaussians. For a picture sub/a.jpg:

    sub/a.ply           as apple/ml-sharp publishes it: 1,179,648 Gaussians, camera, colour space
    sub/a.preview.png   what the camera sees of them
    sub/a.json          {"image", "width", "height", "mode", "orientation", "focal_px",
                         "focal_rule": exif | guide | upstream | given, "gaussians", "device",
                         "checkpoint", "preview"}

Two pictures that differ only in their suffix keep it: a.jpg.ply, a.png.ply. While one picture is
worked on, the next ones are decoded and the last one is written.
"""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import NamedTuple, Optional

from devbox.box import pipeline
from devbox.box.arrays import Pixels
from devbox.box.job import Job
from devbox.box.jobs.sharp import preview
from devbox.box.jobs.sharp.model import Factory, Prediction, load, metadata
from devbox.box.media import frames, pictures
from devbox.box.media.pictures import Focal, Picture

_SIDEWAYS = 0.1  # of the middle depth, that the side view's camera moves


class _Loaded(NamedTuple):
    picture: Picture
    focal: Focal


class _Worked(NamedTuple):
    loaded: _Loaded
    prediction: Prediction


def run(job: Job, factory: Optional[Factory] = None) -> None:
    """factory: makes the empty network (see model.load)."""
    paths = job.named("images")
    if not paths:
        raise ValueError("the input holds no picture")
    names = frames.stems(job.every(paths), (".ply", ".preview.png", ".json"))
    with job.stage("load model"):
        model = job.resident(
            "model", lambda: load(job.checkpoints["sharp"], job.args["device"], factory)
        )
    job.log(f"SHARP is loaded on {model.device}; {len(paths)} pictures")

    def read(name: str) -> _Loaded:
        with job.stage("decode"):
            picture = pictures.load(paths[name])
            return _Loaded(picture, picture.focal(str(job.args["focal"]), job.args.get("f_px")))

    def infer(name: str, loaded: _Loaded) -> _Worked:
        with job.stage("predict"):
            found = model.predict(loaded.picture.image, loaded.focal.px)
        return _Worked(loaded, found)

    def save(name: str, worked: _Worked) -> None:
        with job.stage("write"):
            _write(job, names[name], name, worked, model.device)

    pipeline.run(job, paths, load=read, work=infer, save=save)


def _write(job: Job, stem: str, name: str, worked: _Worked, device: str) -> None:
    (picture, focal), found = worked.loaded, worked.prediction
    with job.output(f"{stem}.ply") as part:
        found.save(part)
    kind = job.args["preview"]
    if kind != "none":
        job.write(f"{stem}.preview.png", _png(_preview(found, side=kind == "side")))
    about = {
        "image": name,
        **metadata(picture, focal, found, device),
        "checkpoint": Path(job.checkpoints["sharp"]).name,
        "preview": kind,
    }
    # Last: where this is, the others are whole.
    job.write(f"{stem}.json", json.dumps(about, indent=2) + "\n")
    job.log(f"{name}: {len(found)} Gaussians, focal length {focal.px:.1f} px by {focal.rule}")


def _preview(found: Prediction, *, side: bool) -> Pixels:
    import numpy as np

    shifts = (0.0, _SIDEWAYS) if side else (0.0,)
    arrays = found.arrays()
    return np.hstack([preview.draw(arrays, found.focal, found.size, shift) for shift in shifts])


def _png(image: Pixels) -> bytes:
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(image).save(out, "PNG")
    return out.getvalue()
