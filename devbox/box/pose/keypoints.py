"""Names of keypoints, row by row, and which of them a line of the skeleton joins.

HMR2's 44 rows: 0 to 24 are OpenPose's BODY_25, 25 to 43 the joints of SPIN's list (LSP, MPII and
H36M), whose names carry their data set since several joints are in both. MediaPipe's 33 rows have
the names that MediaPipe's own PoseLandmark gives them, in lower case.
"""

from __future__ import annotations

from typing import Dict, List, Sequence, Tuple


def _listed(words: str) -> List[str]:
    return words.split()


OPENPOSE_25 = _listed(
    "Nose Neck RShoulder RElbow RWrist LShoulder LElbow LWrist MidHip RHip RKnee RAnkle LHip LKnee "
    "LAnkle REye LEye REar LEar LBigToe LSmallToe LHeel RBigToe RSmallToe RHeel"
)
_SPIN = _listed(
    "RAnkle(LSP) RKnee(LSP) RHip(LSP) LHip(LSP) LKnee(LSP) LAnkle(LSP) RWrist(LSP) RElbow(LSP) "
    "RShoulder(LSP) LShoulder(LSP) LElbow(LSP) LWrist(LSP) Neck(LSP) HeadTop(LSP) Pelvis(MPII) "
    "Thorax(MPII) Spine(H36M) Jaw(H36M) Head(H36M)"
)
HMR2: Tuple[str, ...] = (*OPENPOSE_25, *_SPIN)

MEDIAPIPE: Tuple[str, ...] = (
    "nose",
    *("left_eye_inner", "left_eye", "left_eye_outer"),
    *("right_eye_inner", "right_eye", "right_eye_outer"),
    *(
        f"{side}_{part}"
        for part in _listed("ear mouth shoulder elbow wrist pinky index thumb hip knee ankle heel")
        for side in ("left", "right")
    ),
    *("left_foot_index", "right_foot_index"),
)

FACE = ("face_center",)

COCO_17: Tuple[str, ...] = (
    "nose",
    *(
        f"{side}_{part}"
        for part in _listed("eye ear shoulder elbow wrist hip knee ankle")
        for side in ("left", "right")
    ),
)
#: row of each COCO-17 keypoint in MediaPipe's and in HMR2's rows
COCO_IN_MEDIAPIPE = (0, 2, 5, 7, 8, *range(11, 17), *range(23, 29))
COCO_IN_HMR2 = (0, 16, 15, 18, 17, 5, 2, 6, 3, 7, 4, 12, 9, 13, 10, 14, 11)

_COCO_LIMBS = (
    *((15, 13), (13, 11), (16, 14), (14, 12), (11, 12), (5, 11), (6, 12), (5, 6), (5, 7)),
    *((6, 8), (7, 9), (8, 10), (1, 2), (0, 1), (0, 2), (1, 3), (2, 4)),
)


def limbs(names: Sequence[str]) -> List[Tuple[int, int]]:
    """Pairs of rows that a skeleton's lines join, for one of the lists above; empty for others."""
    rows: Dict[Tuple[str, ...], Sequence[int]] = {MEDIAPIPE: COCO_IN_MEDIAPIPE, HMR2: COCO_IN_HMR2}
    coco = rows.get(tuple(names))
    return [(coco[a], coco[b]) for a, b in _COCO_LIMBS] if coco else []
