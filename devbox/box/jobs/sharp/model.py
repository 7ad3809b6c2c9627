"""apple/ml-sharp behind one class: loaded once, then a picture in and Gaussians out.

What of the upstream package is used: sharp.models.create_predictor and PredictorParams,
sharp.cli.predict.predict_image, sharp.utils.gaussians.save_ply. Axes are OpenCV's: x right, y down,
z forward, metres, camera at the origin.
"""

from __future__ import annotations

import importlib
import logging
import math
import threading
import zipfile
from pathlib import Path
from typing import Callable, Dict, NamedTuple, Optional, Protocol, Tuple

from devbox.box.arrays import Floats, Pixels, Tensor
from devbox.box.media.pictures import Focal, Picture

_building = threading.Lock()  # upstream writes into a table of its own while it builds


class CheckpointError(Exception):
    """The file is not the weights of this model."""


class Predictor(Protocol):
    """What is used of upstream's network."""

    def load_state_dict(self, weights: Dict[str, Tensor], /) -> object: ...

    def eval(self) -> object: ...

    def to(self, device: object, /) -> object: ...


class Gaussians3D(Protocol):
    """Upstream's own: tensors of 1 × n × …"""

    mean_vectors: Tensor

    def to(self, device: object, /) -> "Gaussians3D": ...


Factory = Callable[[], Predictor]


class Gaussians(NamedTuple):
    """float32 numpy arrays of n Gaussians. means: n × 3, metres. sigmas: n × 3, standard
    deviations, metres. quaternions: n × 4, w x y z. colors: n × 3, linear RGB. opacities: n, from
    0 to 1."""

    means: Floats
    sigmas: Floats
    quaternions: Floats
    colors: Floats
    opacities: Floats


class Prediction:
    """Of one picture. focal: pixels. size: (width, height) of the picture."""

    def __init__(self, upstream: Gaussians3D, focal: float, size: Tuple[int, int]) -> None:
        self._upstream, self.focal, self.size = upstream, focal, size

    def __len__(self) -> int:
        return int(self._upstream.mean_vectors.shape[1])

    def arrays(self) -> Gaussians:
        """Views, not copies."""
        names = ("mean_vectors", "singular_values", "quaternions", "colors", "opacities")
        return Gaussians(*(getattr(self._upstream, name)[0].numpy() for name in names))

    def save(self, path: Path) -> None:
        """The published PLY, by upstream's own writer. It is not atomic: give it a temporary
        path."""
        save_ply = importlib.import_module("sharp.utils.gaussians").save_ply
        width, height = self.size
        save_ply(self._upstream, self.focal, (height, width), path)


def metadata(picture: Picture, focal: Focal, found: Prediction, device: str) -> Dict[str, object]:
    """What the job and the service say of a picture."""
    width, height = found.size
    return {
        "width": width,
        "height": height,
        "mode": picture.mode,
        "orientation": picture.orientation,
        "focal_px": focal.px,
        "focal_rule": focal.rule,
        "gaussians": len(found),
        "device": device,
    }


class Model:
    """device: as torch names it."""

    def __init__(self, predictor: Predictor, device: str) -> None:
        self._predictor, self.device = predictor, device

    def predict(self, image: Pixels, focal: float) -> Prediction:
        """image: height × width × 3, RGB uint8; focal: of it, in pixels. ValueError for anything
        else: upstream takes a picture of 0..1 for a black one, and says nothing."""
        import torch

        if getattr(image, "ndim", 0) != 3 or image.shape[2] != 3 or str(image.dtype) != "uint8":
            shape = getattr(image, "shape", None)
            raise ValueError(f"the picture must be RGB uint8 of height × width × 3, not {shape}")
        if not (math.isfinite(focal) and focal > 0):
            raise ValueError(f"the focal length must be above 0 pixels, not {focal}")
        predict_image = importlib.import_module("sharp.cli.predict").predict_image
        found = predict_image(self._predictor, image, float(focal), torch.device(self.device))
        height, width = image.shape[:2]
        return Prediction(found.to(torch.device("cpu")), float(focal), (width, height))


def load(checkpoint: Path, device: str = "auto", factory: Optional[Factory] = None) -> Model:
    """Build the network, fill it and move it to the device: "auto" is CUDA where there is some,
    else the CPU. factory: makes the empty network, upstream's by default. CheckpointError for a
    file that does not fit; it is never executed."""
    import torch

    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    # Its SVD warns of reflections it has mended, at every picture.
    logging.getLogger("sharp").setLevel(logging.ERROR)
    weights = _weights(checkpoint)
    with _building:
        predictor = (factory or create)()
    try:
        predictor.load_state_dict(weights)
    except (RuntimeError, AttributeError, TypeError) as error:
        first = str(error).strip().splitlines()[0:3]
        raise CheckpointError(
            f"{checkpoint} holds other weights than SHARP's: {' '.join(first)}"
        ) from error
    predictor.eval()
    predictor.to(torch.device(device))
    return Model(predictor, device)


def create() -> Predictor:
    """Upstream's network, empty. Its parameters are written into while it is built, so they are
    made for each."""
    models = importlib.import_module("sharp.models")
    predictor: Predictor = models.create_predictor(models.PredictorParams())
    return predictor


def _weights(checkpoint: Path) -> Dict[str, Tensor]:
    """The state dict, its tensors left in the file where its form allows it: 2.8 GB less memory
    while the network is filled."""
    import torch

    try:
        in_file = zipfile.is_zipfile(checkpoint)
        weights: Dict[str, Tensor] = torch.load(
            checkpoint, map_location="cpu", weights_only=True, mmap=in_file
        )
    except FileNotFoundError:
        raise CheckpointError(f"there is no checkpoint at {checkpoint}") from None
    except Exception as error:
        # torch raises RuntimeError, EOFError, UnpicklingError, … for what is not one whole file.
        what = str(error).strip().splitlines()[:1]
        raise CheckpointError(f"{checkpoint} cannot be read: {' '.join(what)}") from error
    return weights
