"""People who are partly hidden, made whole: which frames need it, and what is there then.

Diffusion-VAS first says how much of a person there would be (the whole mask), then paints it. What
follows upstream's own rules is when a whole mask is believed. Unlike there, the last frame of a
batch may be hidden too, only this batch is loaded, and the noise is the same for each batch, so
that a run that is continued gives the same pictures.
"""

from __future__ import annotations

from pathlib import Path
from typing import Dict, List, NamedTuple, Sequence, Tuple, TypedDict

from devbox.box.arrays import Mask, Pixels, Tensor
from devbox.box.jobs.sam_body4d.parts import Pipeline
from devbox.box.jobs.sam_body4d.upstream import Completion

_HIDDEN = 0.7  # less of the whole mask is seen than this: completed
_AROUND = 2  # frames that are completed before and after a hidden one, for smooth movement
_WHITE = 600  # sum of red, green and blue above which a pixel belongs to the whole mask
_MARGIN = 0.05  # of the picture; someone only there has left
_LONGEST, _SKINNY = 0.7, 0.2  # of the picture, and height to width: no body looks like that
_SEED = 23
_LOW = (256, 512)  # height, width at which hidden people are looked for


class _Settings(TypedDict):
    decode_chunk_size: int
    motion_bucket_id: int
    fps: int
    noise_aug_strength: float
    min_guidance_scale: float
    max_guidance_scale: float


_SETTINGS: _Settings = {
    "decode_chunk_size": 8,
    "motion_bucket_id": 127,
    "fps": 8,
    "noise_aug_strength": 0.02,
    "min_guidance_scale": 1.5,
    "max_guidance_scale": 1.5,
}


class Whole(NamedTuple):
    """A hidden person in one frame. image: RGB, mask: bool, both of the frame's size."""

    image: Pixels
    mask: Mask


class Completer:
    """For one batch: `images` and `masks` are folders that hold its frames and nothing else."""

    def __init__(
        self,
        models: Completion,
        images: Path,
        masks: Path,
        size: Tuple[int, int],
        fine: Tuple[int, int],
    ) -> None:
        self._models, self._images, self._masks = models, str(images), str(masks)
        self._size = size
        self._low, self._fine = (_upright(each, size) for each in (_LOW, fine))
        low, *_ = models.load_rgbs(self._images, resolution=self._low)
        self._depth = models.to_depth(low, models.depth)

    def of(self, number: int, seen: Sequence[Mask]) -> Dict[int, Whole]:
        """Index in the batch → the whole person, where that person is hidden. seen: the masks of
        the person, bool, one per frame."""
        believed = self._whole_masks(number)
        hidden = [n for n, mask in enumerate(seen) if is_hidden(mask, believed[n])]
        if not hidden:
            return {}
        first = max(0, hidden[0] - _AROUND)
        last = min(len(seen) - 1, hidden[-1] + _AROUND)
        painted = self._content(number, believed, first, last)
        return {n: Whole(painted[n - first], believed[n]) for n in hidden}

    def _whole_masks(self, number: int) -> List[Mask]:
        import cv2
        import numpy as np

        modal, *_ = self._models.load_masks(self._masks, resolution=self._low, obj_id=number)
        frames = self._run(self._models.masks, modal, self._depth, self._low)
        found = []
        for frame in frames:
            picture = cv2.resize(np.asarray(frame), self._size, interpolation=cv2.INTER_CUBIC)
            found.append(_largest(picture.astype(np.int32).sum(-1) > _WHITE))
        return found

    def _content(
        self, number: int, believed: Sequence[Mask], first: int, last: int
    ) -> List[Pixels]:
        """RGB pictures of the frame's size, of the frames first to last."""
        import cv2
        import numpy as np
        import torch

        height, width = self._fine
        here = slice(first, last + 1)
        modal, *_ = self._models.load_masks(self._masks, resolution=self._fine, obj_id=number)
        rgb, *_ = self._models.load_rgbs(self._images, resolution=self._fine)
        seen = (modal[:, here] > 0).float()
        whole = np.stack(
            [
                cv2.resize(each.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST)
                for each in believed[here]
            ]
        )
        union = torch.from_numpy(whole > 0) | (seen[0, :, 0] > 0)
        target = torch.where(union, 1.0, -1.0)[None, :, None].repeat(1, 1, 3, 1, 1)
        # What is not the person is white to the painter; its pictures are in −1..1.
        visible = ((rgb[:, here] + 1) / 2 * seen + (1 - seen)) * 2 - 1
        frames = self._run(self._models.content, visible, target, self._fine)
        size = self._size
        return [cv2.resize(np.asarray(frame), size, interpolation=cv2.INTER_LINEAR)
                for frame in frames]  # fmt: skip

    def _run(
        self, pipeline: Pipeline, first: Tensor, second: Tensor, size: Tuple[int, int]
    ) -> Sequence[object]:
        import torch

        found = pipeline(
            first,
            second,
            height=size[0],
            width=size[1],
            num_frames=first.shape[1],
            generator=torch.Generator().manual_seed(_SEED),
            **_SETTINGS,
        ).frames[0]
        if len(found) != first.shape[1]:
            raise RuntimeError(f"Diffusion-VAS gave {len(found)} pictures for {first.shape[1]}")
        return found


def is_hidden(seen: Mask, whole: Mask) -> bool:
    """So little of the whole person is seen that it is completed first. Not so for what cannot be
    a body, and for someone who is leaving at the picture's edge."""
    if seen.any() and not inside(seen):
        return False
    both, either = int((seen & whole).sum()), int((seen | whole).sum())
    if not either or both / either >= _HIDDEN or seen.sum() > whole.sum():
        return False
    height, width = _extent(whole)
    if height / whole.shape[0] >= _LONGEST or width / whole.shape[1] >= _LONGEST:
        return False
    return min(height, width) / max(height, width) >= _SKINNY


def inside(mask: Mask) -> bool:
    """Some of it is not at the very edge of the picture. SAM 3D Body takes the rest for absent."""
    height, width = mask.shape
    top, left = int(height * _MARGIN), int(width * _MARGIN)
    return bool(mask[top : height - top, left : width - left].any())


def _extent(mask: Mask) -> Tuple[int, int]:
    import numpy as np

    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return int(rows[-1] - rows[0] + 1), int(columns[-1] - columns[0] + 1)


def _largest(mask: Mask) -> Mask:
    """The largest connected part."""
    import cv2
    import numpy as np

    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    if count < 2:
        return np.zeros_like(mask)
    largest: Mask = labels == 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())
    return largest


def _upright(resolution: Tuple[int, int], size: Tuple[int, int]) -> Tuple[int, int]:
    """Height and width, swapped for a video that is higher than wide."""
    low, high = sorted(resolution)
    return (high, low) if size[1] > size[0] else (low, high)
