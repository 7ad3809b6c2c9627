"""Batches of one scene in one world. Each batch has its own: the first camera of it, and a scale of
its own where the model knows no metres. Two neighbours share one view, and that view tells how the
second lies in the first. What is off in it adds up from batch to batch."""

from __future__ import annotations

from typing import List, Optional, TypeVar

from devbox.box.arrays import Doubles, Floats, Mask
from devbox.box.jobs.depth.model import Views

A = TypeVar("A", Floats, Mask)


def place(before: Views, found: Views) -> Views:
    """`found` in the world of `before`, without its first view, which is the last of `before`."""
    import numpy as np

    known, conf = before.extrinsics, found.conf
    cameras, lenses = found.extrinsics, found.intrinsics
    if known is None or conf is None or cameras is None or lenses is None:
        raise ValueError("views without cameras have no place in one world")
    scale = 1.0 if found.metres else _scale(before.depth[-1], found.depth[0])
    moved = cameras.astype(np.float64)
    moved[:, :, 3] *= scale
    moved = _square(moved)
    there = _square(known[-1:].astype(np.float64))[0]
    # world of `before` → shared camera → world of `found` → each camera
    moved = moved @ np.linalg.inv(moved[0]) @ there
    return found._replace(
        depth=found.depth[1:] * np.float32(scale),
        conf=conf[1:],
        extrinsics=moved[1:, :3].astype(np.float32),
        intrinsics=lenses[1:],
        images=found.images[1:],
        sky=None if found.sky is None else found.sky[1:],
    )


def together(parts: List[Views]) -> Views:
    """One after the other."""
    import numpy as np

    if len(parts) == 1:
        return parts[0]
    return parts[0]._replace(
        depth=np.concatenate([part.depth for part in parts]),
        conf=_joined([part.conf for part in parts]),
        extrinsics=_joined([part.extrinsics for part in parts]),
        intrinsics=_joined([part.intrinsics for part in parts]),
        images=np.concatenate([part.images for part in parts]),
        sky=_joined([part.sky for part in parts]),
    )


def _joined(arrays: List[Optional[A]]) -> Optional[A]:
    """All of them, or None where there are none."""
    import numpy as np

    known = [array for array in arrays if array is not None]
    return np.concatenate(known) if known else None


def _scale(before: Floats, found: Floats) -> float:
    import numpy as np

    good = np.isfinite(before) & np.isfinite(found) & (before > 0) & (found > 0)
    return float(np.median(before[good] / found[good])) if good.any() else 1.0


def _square(matrices: Doubles) -> Doubles:
    import numpy as np

    last = np.broadcast_to(np.array([0.0, 0.0, 0.0, 1.0]), (len(matrices), 1, 4))
    return np.concatenate([matrices, last], axis=1)
