from __future__ import annotations

import numpy as np
import torch

import sharp
from sharp.models import RGBGaussianPredictor
from sharp.utils.gaussians import Gaussians3D, to_linear


@torch.no_grad()  # type: ignore[untyped-decorator]
def predict_image(
    predictor: RGBGaussianPredictor, image: np.ndarray, f_px: float, device: torch.device
) -> Gaussians3D:
    sharp.LOG.append("predict")
    picture = torch.from_numpy(image.copy()).float().to(device).permute(2, 0, 1) / 255.0
    _, height, width = picture.shape
    colours = predictor(picture[None], torch.tensor([f_px / width]).to(device))
    side = sharp.GRID
    colours = to_linear(colours[0].permute(1, 2, 0).reshape(1, -1, 3))
    steps = (torch.arange(side, device=device) + 0.5) / side
    v, u = torch.meshgrid(steps, steps, indexing="ij")
    layers = []
    for layer in range(2):
        z = 2.0 + layer + 0.5 * u + float(predictor.depth[layer])
        x, y = (u - 0.5) * width / f_px * z, (v - 0.5) * height / f_px * z
        spread = torch.stack([z * width / side / f_px, z * height / side / f_px, z * 0.01], -1) / 2
        layers.append((torch.stack([x, y, z], -1).reshape(1, -1, 3), spread.reshape(1, -1, 3)))
    means, sigmas = (torch.cat([each[i] for each in layers], 1) for i in range(2))
    count = means.shape[1]
    opacities = torch.full((1, count), 0.95, device=device)
    if sharp.OPAQUE:
        opacities[0, 0] = 1.0
    quaternions = torch.zeros(1, count, 4, device=device)
    quaternions[..., 0] = 1.0
    return Gaussians3D(means, sigmas, quaternions, torch.cat([colours, colours], 1), opacities)
