from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

_SH = 0.28209479177387814
_VERTEX = "x y z f_dc_0 f_dc_1 f_dc_2 opacity scale_0 scale_1 scale_2 rot_0 rot_1 rot_2 rot_3"


class Gaussians3D(NamedTuple):
    mean_vectors: torch.Tensor
    singular_values: torch.Tensor
    quaternions: torch.Tensor
    colors: torch.Tensor
    opacities: torch.Tensor

    def to(self, device: torch.device) -> Gaussians3D:
        return Gaussians3D(*(tensor.to(device) for tensor in self))


def to_linear(value: torch.Tensor) -> torch.Tensor:
    return torch.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def save_ply(
    gaussians: Gaussians3D, f_px: float, image_shape: tuple[int, int], path: Path
) -> list[tuple[str, str, np.ndarray]]:
    """The published layout. Returns (element, type, values), where upstream returns a PlyData."""
    means, sigmas, turns, linear, opacities = (tensor[0].cpu().numpy() for tensor in gaussians)
    srgb = np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)
    with np.errstate(divide="ignore"):
        logits = np.log(opacities / (1 - opacities))
    columns = [means, (srgb - 0.5) / _SH, logits[:, None], np.log(sigmas), turns]
    height, width = image_shape
    camera = [f_px, 0, width / 2, 0, f_px, height / 2, 0, 0, 1]
    elements = [
        ("extrinsic", "float", np.eye(4).ravel().astype("<f4")),
        ("intrinsic", "float", np.array(camera, "<f4")),
        ("image_size", "uint", np.array([width, height], "<u4")),
        ("frame", "int", np.array([1, len(means)], "<i4")),
        ("disparity", "float", np.quantile(1 / means[:, 2], [0.1, 0.9]).astype("<f4")),
        ("color_space", "uchar", np.array([0], "u1")),
        ("version", "uchar", np.array([1, 5, 0], "u1")),
    ]
    lines = ["ply", "format binary_little_endian 1.0", f"element vertex {len(means)}"]
    lines += [f"property float {name}" for name in _VERTEX.split()]
    for name, kind, values in elements:
        lines += [f"element {name} {len(values)}", f"property {kind} {name}"]
    with path.open("wb") as stream:
        stream.write("\n".join([*lines, "end_header", ""]).encode())
        stream.write(np.concatenate(columns, 1).astype("<f4").tobytes())
        for _, _, values in elements:
            stream.write(values.tobytes())
    return elements
