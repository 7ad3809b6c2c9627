"""How many frames at once fit a GPU, and what is worth switching on there.

From what SAM-Body4D's authors measured on an 80 GB card (people, frames at once, occlusion → GB):
1, 64, no → 14.49 · 5, 64, no → 40.87 · 5, 32, yes → 35.19 · 5, 64, yes → 53.28. Both lines are
taken through the measured points, and a tenth of the card stays free.
"""

from __future__ import annotations

from typing import NamedTuple, Tuple

GB = 10**9
MOST = 64  # frames at once that were measured; more is not known to be good
_FREE = 0.9
_BASE, _FRAME = 7.9, 0.103  # GB: the models, and one person in one frame
_OCCLUDED_BASE, _OCCLUDED_FRAME = 17.1, 0.113  # the same with the completion models
_WORTH_IT = 16  # with fewer frames at once the completion sees too little of a movement
_MEASURED = 5  # people in the videos in which the completion was measured
_FINE = 32
RESOLUTIONS = {"512x1024": (512, 1024), "256x512": (256, 512)}  # height, width


class Plan(NamedTuple):
    """batch: frames at once. resolution: height and width of completed pictures, pixels."""

    batch: int
    occlusion: bool
    resolution: Tuple[int, int]


def batch(vram: int, people: int, occlusion: bool) -> int:
    """Frames at once that fit `vram` bytes: 64, 32, … 1; 0 when not even one does."""
    base, frame = (_OCCLUDED_BASE, _OCCLUDED_FRAME) if occlusion else (_BASE, _FRAME)
    fits = (vram / GB * _FREE - base) / (frame * max(1, people))
    size = MOST
    while size and size > fits:
        size //= 2
    return size


def plan(vram: int, people: int, *, size: int, occlusion: str, resolution: str) -> Plan:
    """What to do with a video in which at most `people` are seen at once.

    size: frames at once, 0 chooses. occlusion: on, off, auto. resolution: a key of RESOLUTIONS, or
    auto. What is not chosen by the user is the most that fits.
    """
    room = batch(vram, people, occlusion=True)
    roomy = batch(vram, max(people, _MEASURED), occlusion=True) >= _WORTH_IT
    completes = roomy if occlusion == "auto" else occlusion == "on"
    chosen = size or max(1, room if completes else batch(vram, people, occlusion=False))
    fine = "512x1024" if room >= _FINE else "256x512"
    return Plan(chosen, completes, RESOLUTIONS[fine if resolution == "auto" else resolution])


def is_out_of_memory(error: BaseException) -> bool:
    """Raised by torch when the GPU is full. By name: older versions call it otherwise."""
    return type(error).__name__ in ("OutOfMemoryError", "MemoryError") or (
        isinstance(error, RuntimeError) and "out of memory" in str(error).lower()
    )
