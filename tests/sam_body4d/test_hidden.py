"""People who are partly hidden: who is completed, and what bodies are then found in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from devbox.box.jobs.sam_body4d.completion import inside, is_hidden
from tests.sam_body4d.scenes import Places, colour_of, everything, folder, meshes, run, status
from tests.sam_body4d.stand_in import Parts

SIDE = 40
WHOLE = (60, 40)  # left, top of the hidden one, who does not move


def passing(frame: int) -> Places:
    """Colour 0 stands still; colour 1 walks by in front."""
    return [(0, *WHOLE), (1, 8 * frame, 44)]


def completing(parts: Parts) -> Parts:
    """Knows where the one who is hidden stands; leaves everyone else as they are seen."""

    def whole(seen: Any) -> Any:
        height, width = seen.shape[:2]
        left, top = WHOLE[0] * width // 160, WHOLE[1] * height // 120
        right, bottom = (WHOLE[0] + SIDE) * width // 160, (WHOLE[1] + SIDE) * height // 120
        inner = seen[top:bottom, left:right].any()
        outer = seen.copy()
        outer[top:bottom, left:right] = 0
        if inner and outer.sum() < 0.1 * seen.sum():
            picture = np.zeros_like(seen)
            picture[top:bottom, left:right] = 255
            return picture
        return seen

    parts.completing.whole = whole
    return parts


def test_a_hidden_person_gets_a_body_from_the_completed_picture(tmp_path: Path) -> None:
    source = folder(tmp_path / "in/v", [passing(n) for n in range(14)], side=SIDE)
    parts = completing(Parts())
    out = run(tmp_path / "run", source, parts, occlusion="on", batch=7).out / "v"
    kinds = [kind for kind, *_ in parts.completing.sizes]
    assert "content" in kinds
    assert status(out)["occlusion"]
    hidden = {n for n in range(14) if is_hidden(*_masks(n))}
    assert hidden
    found = meshes(out)
    standing = next(number for number, each in found.items() if colour_of(each[0]) == 0)
    assert sorted(found[standing]) == list(range(14))
    for number in hidden:
        left, top, _ = found[standing][number][1]
        assert (left, top) == pytest.approx(WHOLE, abs=2), f"the whole one, in frame {number}"


def _masks(frame: int) -> tuple[Any, Any]:
    """What is seen of the standing one, and all of it."""
    seen = np.zeros((120, 160), bool)
    seen[WHOLE[1] : WHOLE[1] + SIDE, WHOLE[0] : WHOLE[0] + SIDE] = True
    whole = seen.copy()
    seen[44 : 44 + SIDE, 8 * frame : 8 * frame + SIDE] = False
    return seen, whole


def test_the_last_frame_of_a_batch_may_be_the_hidden_one(tmp_path: Path) -> None:
    """Upstream looks for a file there that it never wrote."""
    hidden = next(n for n in range(14) if is_hidden(*_masks(n)))
    frames = [passing(n) for n in range(hidden + 1)]
    source = folder(tmp_path / "in/v", frames, side=SIDE)
    job = run(tmp_path / "run", source, completing(Parts()), occlusion="on", batch=hidden + 1)
    assert job.failed == []
    assert status(job.out / "v")["frames_out"] == hidden + 1


def test_the_same_pictures_in_two_runs(tmp_path: Path) -> None:
    source = folder(tmp_path / "in/v", [passing(n) for n in range(10)], side=SIDE)
    runs = [
        run(tmp_path / name, source, completing(Parts()), occlusion="on", batch=5)
        for name in ("one", "two")
    ]
    assert everything(runs[0].out / "v") == everything(runs[1].out / "v")


@pytest.mark.parametrize(("size", "low"), [((160, 120), (256, 512)), ((120, 160), (512, 256))])
def test_an_upright_video_is_completed_upright(
    tmp_path: Path, size: tuple[int, int], low: tuple[int, int]
) -> None:
    source = folder(tmp_path / "in/v", [[(0, 40, 40)]] * 3, size=size, side=SIDE)
    parts = Parts()
    run(tmp_path / "run", source, parts, occlusion="on")
    assert {(height, width) for _, height, width, _ in parts.completing.sizes} == {low}


def test_without_it_the_completion_is_never_loaded(tmp_path: Path) -> None:
    source = folder(tmp_path / "in/v", [[(0, 40, 40)]] * 3)
    parts = Parts(vram=24 * 10**9)
    run(tmp_path / "run", source, parts, occlusion="auto")
    assert parts.loads == [False], "24 GB are too few for it"


def box(left: int, top: int, width: int, height: int) -> Any:
    mask = np.zeros((100, 100), np.uint8)
    cv2.rectangle(mask, (left, top), (left + width - 1, top + height - 1), 1, -1)
    return mask.astype(bool)


NOBODY = np.zeros((100, 100), bool)


@pytest.mark.parametrize(
    ("seen", "whole", "hidden"),
    [
        (box(20, 20, 20, 40), box(20, 20, 20, 40), False),
        (box(20, 20, 20, 13), box(20, 20, 20, 40), True),
        (box(20, 20, 20, 28), box(20, 20, 20, 40), False),  # exactly 0.7
        (NOBODY, box(20, 20, 20, 40), True),
        (NOBODY, NOBODY, False),
        (box(20, 20, 40, 40), box(20, 20, 20, 13), False),  # less than what is seen
        (box(20, 20, 20, 10), box(20, 10, 20, 75), False),  # too high for a body
        (box(20, 20, 4, 10), box(20, 20, 4, 40), False),  # too thin
        (box(0, 20, 4, 10), box(0, 20, 20, 40), False),  # leaving at the edge
    ],
)
def test_who_counts_as_hidden(seen: Any, whole: Any, hidden: bool) -> None:
    assert is_hidden(seen, whole) is hidden


def test_the_edge_of_a_picture() -> None:
    assert not inside(box(0, 0, 5, 100))
    assert inside(box(0, 0, 6, 100))
    assert not inside(NOBODY)
