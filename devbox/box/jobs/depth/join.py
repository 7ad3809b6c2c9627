"""Batches of one scene in one world. Each batch has its own: the first camera of it, and a scale of
its own where the model knows no metres. Two neighbours share one view, and that view tells how the
second lies in the first. What is off in it adds up from batch to batch."""

from __future__ import annotations

from typing import Any, List

from devbox.box.jobs.depth.model import Views


def place(before: Views, found: Views) -> Views:
    """`found` in the world of `before`, without its first view, which is the last of `before`."""
    import numpy as np

    scale = 1.0 if found.metres else _scale(before.depth[-1], found.depth[0])
    moved = found.extrinsics.astype(np.float64)
    moved[:, :, 3] *= scale
    moved = _square(moved)
    there = _square(before.extrinsics[-1:].astype(np.float64))[0]
    # world of `before` → shared camera → world of `found` → each camera
    moved = moved @ np.linalg.inv(moved[0]) @ there
    return found._replace(
        depth=found.depth[1:] * np.float32(scale),
        conf=found.conf[1:],
        extrinsics=moved[1:, :3].astype(np.float32),
        intrinsics=found.intrinsics[1:],
        images=found.images[1:],
        sky=None if found.sky is None else found.sky[1:],
    )


def together(parts: List[Views]) -> Views:
    """One after the other."""
    import numpy as np

    if len(parts) == 1:
        return parts[0]
    arrays = ("depth", "conf", "extrinsics", "intrinsics", "images", "sky")
    whole: Any = {
        name: None
        if getattr(parts[0], name) is None
        else np.concatenate([getattr(part, name) for part in parts])
        for name in arrays
    }
    return parts[0]._replace(**whole)


def _scale(before: Any, found: Any) -> float:
    import numpy as np

    good = np.isfinite(before) & np.isfinite(found) & (before > 0) & (found > 0)
    return float(np.median(before[good] / found[good])) if good.any() else 1.0


def _square(matrices: Any) -> Any:
    import numpy as np

    last = np.broadcast_to(np.array([0.0, 0.0, 0.0, 1.0]), (len(matrices), 1, 4))
    return np.concatenate([matrices, last], axis=1)
