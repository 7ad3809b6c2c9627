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
from typing import Any, Callable, Dict, Mapping

from devbox.box.jobs.sharp.model import Gaussians, Prediction, metadata
from devbox.box.jobs.sharp.model import load as load_model
from devbox.box.media import pictures

LOGIT = 20.0  # sigmoid of it is 1 in float32


def load(config: Mapping[str, Any]) -> Callable[[Dict[str, Any]], Dict[str, Any]]:
    """config: checkpoint (path), device, focal (the rule without EXIF)."""
    model = load_model(Path(config["checkpoint"]), config["device"])

    def answer(request: Dict[str, Any]) -> Dict[str, Any]:
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
        whole = {"metadata": {**about, **counts}, "gaussians": lists}
        body = json.dumps(whole, separators=(",", ":"), allow_nan=False).encode()
        return {"metadata": whole["metadata"], "body": body}

    answer.info = {"device": model.device}  # type: ignore[attr-defined]
    return answer


def as_lists(gaussians: Gaussians, most: int) -> Any:
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
    lists = {
        "mean_vectors": gaussians.means[chosen],
        "singular_values": gaussians.sigmas[chosen],
        "quaternions": gaussians.quaternions[chosen],
        "colors": gaussians.colors[chosen],
        "opacities": opacities,
        "opacity_logits": np.clip(logits, -LOGIT, LOGIT),
    }
    counts = {
        "returned": len(chosen),
        "max_gaussians": most,
        "decimation": "even" if len(chosen) < len(good) else "none",
        "left_out": total - len(good),
        "clamped": clamped,
    }
    rounded = {name: np.round(each.astype(np.float64), 6).tolist() for name, each in lists.items()}
    return rounded, counts


def _ply(found: Prediction) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "gaussians.ply")
        found.save(path)
        return path.read_bytes()
