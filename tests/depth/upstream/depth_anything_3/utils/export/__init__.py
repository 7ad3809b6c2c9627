"""Stand-in for depth_anything_3.utils.export: files of the same names; npz in a thread that nobody
joins, and a shell for glb, as upstream."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image


def export(prediction: Any, export_format: str, export_dir: str, **kwargs: Any) -> None:
    options = kwargs.get(export_format, {})
    if export_format in ("npz", "mini_npz"):
        threading.Thread(target=np.savez, args=(Path(export_dir) / "results.npz",)).start()
    elif export_format == "depth_vis":
        _depth_vis(prediction, Path(export_dir))
    elif export_format == "glb":
        _glb(prediction, Path(export_dir), **options)
    elif export_format == "gs_ply":
        (Path(export_dir) / "gs_ply").mkdir()
        count = prediction.gaussians.means.shape[1]
        (Path(export_dir) / "gs_ply" / "0000.ply").write_text(f"ply\nelement vertex {count}\n")
    elif export_format == "gs_video":
        import gsplat

        (Path(export_dir) / "gs_video").mkdir()
        (Path(export_dir) / "gs_video" / "0000_extend.mp4").write_bytes(gsplat.VIDEO)
    else:
        raise ValueError(export_format)


def _depth_vis(prediction: Any, folder: Path) -> None:
    (folder / "depth_vis").mkdir(parents=True, exist_ok=True)
    for index, depth in enumerate(prediction.depth):
        grey = np.uint8(255 * (depth - depth.min()) / max(1e-6, float(np.ptp(depth))))
        side = np.concatenate([prediction.processed_images[index], np.stack([grey] * 3, -1)], 1)
        Image.fromarray(side).save(folder / "depth_vis" / f"{index:04d}.jpg")


def _glb(
    prediction: Any,
    folder: Path,
    num_max_points: int = 1_000_000,
    conf_thresh_percentile: float = 40.0,
    show_cameras: bool = True,
    export_depth_vis: bool = True,
) -> None:
    assert prediction.conf is not None
    assert prediction.extrinsics is not None
    points = np.random.permutation(prediction.depth.size)[:num_max_points]
    (folder / "scene.glb").write_bytes(b"glTF" + np.int64(points).tobytes())
    prediction.conf[:] = 0  # upstream writes into what it is given
    if export_depth_vis:
        _depth_vis(prediction, folder)
        os.system(f"cp -r {folder}/depth_vis/0000.jpg {folder}/scene.jpg")
