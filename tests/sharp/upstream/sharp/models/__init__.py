from __future__ import annotations

import dataclasses

import torch

import sharp


@dataclasses.dataclass
class GaussianDecoderParams:
    dim_out: int = 32


@dataclasses.dataclass
class PredictorParams:
    gaussian_decoder: GaussianDecoderParams = dataclasses.field(
        default_factory=GaussianDecoderParams
    )


class RGBGaussianPredictor(torch.nn.Module):  # type: ignore[misc]
    """Takes the picture as 1 × 3 × S × S of 0..1 and the focal length as a share of the width."""

    def __init__(self, params: PredictorParams) -> None:
        super().__init__()
        # As upstream does: a second network from the same parameters is another one.
        params.gaussian_decoder.dim_out *= 4
        self.depth = torch.nn.Parameter(torch.zeros(2))
        self.colour = torch.nn.Parameter(torch.zeros(params.gaussian_decoder.dim_out))

    def forward(self, image: torch.Tensor, disparity_factor: torch.Tensor) -> torch.Tensor:
        sharp.LOG.append("train" if self.training else "eval")
        near = torch.nn.functional.interpolate(image, (sharp.GRID, sharp.GRID), mode="area")
        return near * (1 + self.colour[0])


def create_predictor(params: PredictorParams) -> RGBGaussianPredictor:
    sharp.LOG.append("create")
    return RGBGaussianPredictor(params)
