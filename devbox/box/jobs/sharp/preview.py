"""A picture of 3D Gaussians, drawn on the CPU with numpy: what a camera at the origin sees.

Each Gaussian is drawn as the ellipse of its spread along the picture's axes, and blended by depth
as in 3D Gaussian Splatting (Kerbl et al. 2023): colour = Σ cᵢ αᵢ Π (1 − αⱼ) over all j in front of
i. Simpler than there: ellipses are not turned, and end near two standard deviations.
"""

from __future__ import annotations

from typing import NamedTuple, Tuple

from devbox.box.arrays import Doubles, Floats, Pixels, Whole
from devbox.box.jobs.sharp.model import Gaussians

LONGEST = 512  # side of a preview, pixels
_NEAR = 0.01  # metres; what is nearer is behind the lens
_BLUR = 0.3  # variance, pixels², that keeps a small Gaussian from falling between pixels
_FAINT = 1 / 255  # opacity below which nothing is seen
_PAIRS = 12_000_000  # (Gaussian, pixel) pairs drawn at most; bounds memory to about 1 GB
_REACHES = (1, 2, 4, 8, 16)  # half sides, in pixels, of the squares that Gaussians are drawn into
_GROUND = 0.02  # linear grey where nothing is


class _Seen(NamedTuple):
    """Gaussians in the picture, nearest first. at, spread: n × 2, pixels; colour: n × 3, linear;
    opacity: n."""

    at: Floats
    spread: Floats
    colour: Floats
    opacity: Floats


def draw(gaussians: Gaussians, focal: float, size: Tuple[int, int], shift: float = 0.0) -> Pixels:
    """RGB uint8 of height × width × 3, as seen with that focal length in pixels of `size` (width,
    height), at most LONGEST pixels wide and high. shift: how far the camera moves to the right,
    as a share of the middle depth, while it looks at what lies there."""
    import numpy as np

    scale = min(1.0, LONGEST / max(size))
    while True:
        width, height = (max(1, round(side * scale)) for side in size)
        f = focal * width / size[0], focal * height / size[1]
        seen = _project(gaussians, f, (width, height), shift)
        reach = np.searchsorted(_REACHES, 2 * seen.spread.max(1) - 0.5)
        reach = np.asarray(_REACHES)[np.minimum(reach, len(_REACHES) - 1)]
        if int(np.square(2 * reach).sum()) <= _PAIRS or max(width, height) <= 32:
            return _blend(seen, reach, width, height)
        scale *= 0.7  # large Gaussians all over: a coarser picture shows them as well


def _project(
    gaussians: Gaussians, f: Tuple[float, float], size: Tuple[int, int], shift: float
) -> _Seen:
    import numpy as np

    z = gaussians.means[:, 2]
    good = np.isfinite(gaussians.means).all(1) & np.isfinite(gaussians.sigmas).all(1)
    order = np.flatnonzero(good & (z > _NEAR) & (gaussians.opacities > _FAINT))
    order = order[np.argsort(z[order], kind="stable")]
    x, y, z = gaussians.means[order].T
    middle = float(z[len(z) // 2]) if len(z) else 1.0
    # Shifting the picture back keeps what lies at the middle depth where it was.
    across = (x - shift * middle) / z + shift
    at = np.stack([f[0] * across + size[0] / 2, f[1] * y / z + size[1] / 2], 1)
    spread = np.sqrt(_variances(gaussians.quaternions[order], gaussians.sigmas[order]))
    spread = np.sqrt(np.square(spread * np.asarray(f) / z[:, None]) + _BLUR).astype(np.float32)
    inside = ((at > -3 * spread) & (at < np.asarray(size) + 3 * spread)).all(1)
    colour = np.clip(np.nan_to_num(gaussians.colors[order]), 0.0, 1.0)
    opacity = np.minimum(gaussians.opacities[order], 0.999)
    return _Seen(at.astype(np.float32)[inside], spread[inside], colour[inside], opacity[inside])


def _variances(quaternions: Floats, sigmas: Floats) -> Floats:
    """n × 2: variance along x and y of Gaussians of those rotations (w, x, y, z) and standard
    deviations: the first two of the diagonal of R diag(σ²) Rᵀ."""
    import numpy as np

    w, x, y, z = quaternions.T / np.maximum(np.linalg.norm(quaternions, axis=1), 1e-12)
    rows = (
        (1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)),
        (2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)),
    )
    return np.stack([sum(np.square(r * s) for r, s in zip(row, sigmas.T)) for row in rows], 1)


def _blend(seen: _Seen, reach: Whole, width: int, height: int) -> Pixels:
    import numpy as np

    pixel, which = _pairs(seen, reach, width, height)
    x, y = pixel % width + np.float32(0.5), pixel // width + np.float32(0.5)
    far = np.square((x - seen.at[which, 0]) / seen.spread[which, 0])
    far += np.square((y - seen.at[which, 1]) / seen.spread[which, 1])
    alpha = seen.opacity[which] * np.exp(-0.5 * far)
    passed = np.cumsum(np.log1p(-alpha.astype(np.float64)))
    before = np.concatenate([[0.0], passed[:-1]])
    starts = np.flatnonzero(np.diff(pixel, prepend=-1))
    weight = alpha * np.exp(before - np.repeat(before[starts], np.diff([*starts, len(pixel)])))
    picture = np.empty((width * height, 3))
    rest = _GROUND * (1 - np.bincount(pixel, weight, width * height))
    for channel in range(3):
        colour = seen.colour[which, channel]
        picture[:, channel] = np.bincount(pixel, weight * colour, width * height) + rest
    return _srgb(picture.reshape(height, width, 3))


def _pairs(seen: _Seen, reach: Whole, width: int, height: int) -> Tuple[Whole, Whole]:
    """(pixel, Gaussian) of what may cover what: by pixel, and nearest first within one."""
    import numpy as np

    count, keys = len(seen.at), [np.zeros(0, np.int64)]
    for half in np.unique(reach):
        those = np.flatnonzero(reach == half)
        corner = np.rint(seen.at[those]).astype(np.int64)
        for dy in range(-half, half):
            for dx in range(-half, half):
                x, y = corner[:, 0] + dx, corner[:, 1] + dy
                keep = (x >= 0) & (x < width) & (y >= 0) & (y < height)
                keys.append(((y * width + x) * count + those)[keep])
    both = np.sort(np.concatenate(keys))
    return both // max(1, count), both % max(1, count)


def _srgb(linear: Doubles) -> Pixels:
    """IEC 61966-2-1, as 8 bit."""
    import numpy as np

    linear = np.clip(linear, 0.0, 1.0)
    value = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return (value * 255 + 0.5).astype(np.uint8)
