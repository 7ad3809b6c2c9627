"""The record of one frame, as `POST /pose/hybrid`, the batch route and results.jsonl give it.

frame_number            int
keypoints               [{name, x, y, z, confidence, x_3d, y_3d, z_3d}]: x and y in pixels of
                        the picture; x_3d, y_3d, z_3d in metres around the hips, x right, y
                        down, z away from the camera, null without 3D; z is z_3d
keypoint_count          how many
has_3d                  whether they have metres
mesh_vertices_data      [[x, y, z]] metres, around the same origin, or null
mesh_faces_data         [[a, b, c]] rows of vertices, or null
camera_translation      [x, y, z] metres from the camera to that origin, or null
focal_length            pixels, with a camera_translation, else null
source                  detected | predicted | held | none
source_frame            the frame the pose is from, null for none
tracking_confidence     1.0 detected; below 1 predicted and held; 0 none
detection_score         the engine's own score of the detection, null for none
track_id                of the person, null for none; track_tentative: the engine's tracker does
                        not trust it yet
people                  how many were seen in the frame
box                     [x, y, width, height] pixels, or null
frame_width, frame_height, processing_time_ms, error ("" when all is well)
"""

from __future__ import annotations

from typing import Iterable, List, Optional, Tuple, TypedDict

from devbox.box.pose.coverage import Covered
from devbox.box.pose.person import Person

Faces = Optional[List[List[int]]]
_METRES, _PIXELS = 5, 2  # decimals kept: a hundredth of a millimetre, of a pixel


class Keypoint(TypedDict):
    name: str
    x: float
    y: float
    z: Optional[float]
    confidence: float
    x_3d: Optional[float]
    y_3d: Optional[float]
    z_3d: Optional[float]


class Record(TypedDict):
    """One frame's, as said above."""

    frame_number: int
    keypoints: Optional[List[Keypoint]]
    keypoint_count: int
    has_3d: bool
    mesh_vertices_data: Optional[List[List[float]]]
    mesh_faces_data: Faces
    camera_translation: Optional[List[float]]
    focal_length: Optional[float]
    source: str
    source_frame: Optional[int]
    tracking_confidence: float
    detection_score: Optional[float]
    track_id: Optional[str]
    track_tentative: bool
    people: int
    box: Optional[List[float]]
    frame_width: int
    frame_height: int
    processing_time_ms: float
    error: str


def record(
    covered: Covered,
    *,
    size: Tuple[int, int],
    milliseconds: float,
    faces: Faces = None,
    session: str = "",
    nobody: Optional[List[Keypoint]] = None,
    mesh: bool = True,
) -> Record:
    """size: width and height of the picture. nobody: keypoints of a frame with source none. mesh:
    whether vertices and faces are written out, where the engine has them."""
    person = covered.person
    found = keypoints(person) if person else nobody
    vertices = mesh_of(person) if person and mesh else None
    return {
        "frame_number": covered.frame,
        "keypoints": found,
        "keypoint_count": len(found or ()),
        "has_3d": bool(person and person.has_3d),
        "mesh_vertices_data": vertices,
        "mesh_faces_data": faces if vertices else None,
        "camera_translation": _rounded(person.camera) if person and person.camera else None,
        "focal_length": person.focal if person else None,
        "source": covered.source,
        "source_frame": covered.seen,
        "tracking_confidence": covered.confidence,
        "detection_score": round(person.score, 4) if person else None,
        "track_id": f"{session}{':' if session else ''}{covered.number}" if person else None,
        "track_tentative": bool(person and person.tentative),
        "people": covered.people,
        "box": [round(value, _PIXELS) for value in person.box] if person else None,
        "frame_width": size[0],
        "frame_height": size[1],
        "processing_time_ms": round(milliseconds, 2),
        "error": covered.error,
    }


def keypoints(person: Person) -> List[Keypoint]:
    """As objects, in the order of their rows."""
    found: List[Keypoint] = []
    for name, (x, y, x3, y3, z3, confidence) in zip(person.names, person.points):
        in_3d = [None if value is None else round(value, _METRES) for value in (x3, y3, z3)]
        found.append(
            {
                "name": name,
                "x": round(x, _PIXELS),
                "y": round(y, _PIXELS),
                "z": in_3d[2],
                "confidence": round(confidence, 4),
                "x_3d": in_3d[0],
                "y_3d": in_3d[1],
                "z_3d": in_3d[2],
            }
        )
    return found


def mesh_of(person: Person) -> Optional[List[List[float]]]:
    """Its vertices as numbers, rounded; None without a mesh."""
    if person.vertices is None:
        return None
    import numpy as np

    rows = np.frombuffer(person.vertices, np.float32).reshape(-1, 3).astype(np.float64)
    rounded: List[List[float]] = rows.round(_METRES).tolist()
    return rounded


def _rounded(values: Iterable[float]) -> List[float]:
    return [round(float(value), _METRES) for value in values]
