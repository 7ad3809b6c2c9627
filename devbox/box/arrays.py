"""Types of arrays, for type checks alone: numpy and torch come with what a job or service installs,
so that nothing of them is imported here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__all__ = ["Array", "Doubles", "Floats", "Mask", "Pixels", "Tensor", "Whole"]

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    #: of any numbers
    Array = NDArray[Any]
    #: pictures, mostly of height × width × 3
    Pixels = NDArray[np.uint8]
    Mask = NDArray[np.bool_]
    Floats = NDArray[np.float32]
    Doubles = NDArray[np.float64]
    Whole = NDArray[np.int64]
    from torch import Tensor
else:
    Array = Pixels = Mask = Floats = Doubles = Whole = Tensor = object
