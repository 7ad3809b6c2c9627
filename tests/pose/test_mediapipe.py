"""The real mediapipe 0.10.21 in an environment that devbox made for it."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np

from devbox import paths
from devbox.box.pose import host, result
from devbox.box.pose.keypoints import MEDIAPIPE
from devbox.jobs import demo_clip
from tests.pose.test_job import run
from tests.track.clips import records_of

_PHOTO = paths.data("templates") / "demo" / "astronaut.jpg"


def test_a_photograph_gives_33_keypoints_in_pixels_and_metres(home: Path, mediapipe: None) -> None:
    image = cv2.imread(str(_PHOTO))
    assert image is not None
    wide = cv2.copyMakeBorder(image, 0, 0, 0, 256, cv2.BORDER_REPLICATE)
    with host.Host("mediapipe", {"min_size": 40}, print) as opened:
        assert opened.start().engine == "mediapipe"
        (person,) = opened.see(image)
        assert opened.see(np.full((200, 300, 3), 90, np.uint8)) == []
        assert opened.see(image) == [person]
        (small,) = opened.see(np.ascontiguousarray(image[::2, ::2]))
        (beside,) = opened.see(wide)
    points = {point["name"]: point for point in result.keypoints(person)}
    assert tuple(points) == MEDIAPIPE
    # Where they are in the photograph: her left is on its right.
    assert (points["nose"]["x"], points["nose"]["y"]) == (_near(223), _near(131))
    assert points["left_eye"]["x"] > points["nose"]["x"] > points["right_eye"]["x"]
    assert points["left_shoulder"]["x"] - points["right_shoulder"]["x"] > 100
    assert points["nose"]["confidence"] > 0.9 > points["left_ankle"]["confidence"]
    # In metres around the hips: the nose is half a metre above them, and nearer to the camera.
    height, depth = points["nose"]["y_3d"], points["nose"]["z_3d"]
    assert height is not None
    assert depth is not None
    assert -0.9 < height < -0.4
    assert depth < 0
    # Pixels of the picture that was sent, whatever its shape.
    assert beside.points[0][:2] == (_near(points["nose"]["x"]), _near(points["nose"]["y"]))
    halved = {point["name"]: point for point in result.keypoints(small)}
    assert halved["nose"]["x"] == _near(points["nose"]["x"] / 2)


def test_the_demo_clip_gets_a_skeleton_and_what_is_hidden_is_held(
    home: Path, mediapipe: None
) -> None:
    clip = home / "clip.mp4"
    demo_clip.make(_PHOTO, clip)
    job = run(home / "run", clip, engine="mediapipe")
    records = records_of(job.out)
    assert [r["frame_number"] for r in records] == list(range(demo_clip.FRAMES))
    hidden = set(range(*demo_clip.HIDDEN))
    detected = {r["frame_number"] for r in records if r["source"] == "detected"}
    assert not detected & hidden
    assert len(detected) >= 0.95 * (demo_clip.FRAMES - len(hidden))
    assert {r["source"] for r in records if r["frame_number"] in hidden} == {"predicted", "held"}
    assert all(r["has_3d"] and r["keypoint_count"] == 33 for r in records)
    summary = json.loads((job.out / "summary.json").read_text())
    assert (summary["engine"], summary["note"], summary["covered"]) == ("mediapipe", "", 1.0)


class _near(float):
    """Within 6 pixels, what a JPEG decoder's rounding may move a landmark by and more."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, (int, float)) and abs(float(self) - other) < 6

    __hash__ = float.__hash__
