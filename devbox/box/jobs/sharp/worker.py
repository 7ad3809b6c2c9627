"""SHARP as the model of a service: in a process of its own (devbox.box.services.model).

A request is {"kind": json | ply, "image": bytes of a picture file, "f_px": pixels or None,
"max_gaussians": int}; its answer {"metadata": {…}, "body": bytes}, or {"status": 400 or 413,
"error": text} for a picture that cannot be used. The JSON body:

    {"metadata": {"width", "height", "mode", "orientation", "focal_px", "focal_rule", "gaussians",
                  "returned", "max_gaussians", "decimation": none | even, "left_out", "clamped",
                  "device", "processing_time_ms"},
     "gaussians": {"mean_vectors": [[x, y, z], …] metres, "singular_values": [[…], …] metres,
                   "quaternions": [[w, x, y, z], …], "colors": [[r, g, b], …] linear RGB 0..1,
                   "opacities": [0..1, …], "opacity_logits": [as in the PLY, …]}}

All lists are `returned` long and in one order. left_out counts Gaussians with a number that JSON
cannot hold; clamped counts logits that are infinite in the PLY and ±LOGIT here.
"""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Tuple, TypedDict

from devbox.box.arrays import Array
from devbox.box.jobs.sharp.model import Gaussians, Prediction, metadata
from devbox.box.jobs.sharp.model import load as load_model
from devbox.box.media import pictures

LOGIT = 20.0  # sigmoid of it is 1 in float32


class Lists(TypedDict):
    """Of Gaussians, as said above."""

    mean_vectors: List[List[float]]
    singular_values: List[List[float]]
    quaternions: List[List[float]]
    colors: List[List[float]]
    opacities: List[float]
    opacity_logits: List[float]


class Config(TypedDict):
    """checkpoint: a path. focal: the rule without EXIF."""

    checkpoint: str
    device: str
    focal: str


class Request(TypedDict):
    kind: str
    image: bytes
    f_px: Optional[float]
    max_gaussians: int


class Answer(TypedDict, total=False):
    metadata: Dict[str, object]
    body: bytes
    status: int
    error: str


def load(config: Config) -> Callable[[Request], Answer]:
    model = load_model(Path(config["checkpoint"]), config["device"])

    def answer(request: Request) -> Answer:
        begun = time.monotonic()
        try:
            picture = pictures.load(request["image"])
        except pictures.TooLarge as error:
            return {"status": 413, "error": str(error)}
        except pictures.PictureError as error:
            return {"status": 400, "error": str(error)}
        focal = picture.focal(config["focal"], request["f_px"])
        found = model.predict(picture.image, focal.px)
        about = {
            **metadata(picture, focal, found, model.device),
            "processing_time_ms": round(1000 * (time.monotonic() - begun), 1),
        }
        if request["kind"] == "ply":
            return {"metadata": about, "body": _ply(found)}
        lists, counts = as_lists(found.arrays(), request["max_gaussians"])
        about.update(counts)
        whole = {"metadata": about, "gaussians": lists}
        body = json.dumps(whole, separators=(",", ":"), allow_nan=False).encode()
        return {"metadata": about, "body": body}

    answer.info = {"device": model.device}  # type: ignore[attr-defined]
    return answer


def as_lists(gaussians: Gaussians, most: int) -> Tuple[Lists, Dict[str, object]]:
    """At most `most` Gaussians, evenly spread over the picture, as (lists, counts) for JSON."""
    import numpy as np

    good = np.flatnonzero(
        np.all([np.isfinite(each).reshape(len(each), -1).all(1) for each in gaussians], axis=0)
    )
    total = len(gaussians.means)
    # Rows are 768 long: a whole step would take the same columns of each.
    chosen = good
    if len(good) > most:
        chosen = good[np.linspace(0, len(good) - 1, most).round().astype(np.int64)]
    opacities = np.clip(gaussians.opacities[chosen].astype(np.float64), 0.0, 1.0)
    with np.errstate(divide="ignore"):
        logits = np.log(opacities / (1 - opacities))
    clamped = int(np.isinf(logits).sum())
    lists: Lists = {
        "mean_vectors": _rounded(gaussians.means[chosen]),
        "singular_values": _rounded(gaussians.sigmas[chosen]),
        "quaternions": _rounded(gaussians.quaternions[chosen]),
        "colors": _rounded(gaussians.colors[chosen]),
        "opacities": _rounded(opacities),
        "opacity_logits": _rounded(np.clip(logits, -LOGIT, LOGIT)),
    }
    counts: Dict[str, object] = {
        "returned": len(chosen),
        "max_gaussians": most,
        "decimation": "even" if len(chosen) < len(good) else "none",
        "left_out": total - len(good),
        "clamped": clamped,
    }
    return lists, counts


def _rounded(values: Array) -> Any:
    """As lists of Python's own numbers, six decimals."""
    import numpy as np

    return np.round(values.astype(np.float64), 6).tolist()


def _ply(found: Prediction) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "gaussians.ply")
        found.save(path)
        return path.read_bytes()
