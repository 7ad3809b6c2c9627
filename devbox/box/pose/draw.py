"""A skeleton in a picture, with where it comes from told by colour and by the kind of line."""

from __future__ import annotations

from devbox.box.arrays import Pixels
from devbox.box.media import draw
from devbox.box.pose.keypoints import HMR2, MEDIAPIPE, limbs
from devbox.box.pose.result import Record

_SEEN = 0.3  # confidence from which a keypoint is drawn
_ROWS = {names[0]: names for names in (MEDIAPIPE, HMR2)}


def annotate(image: Pixels, record: Record) -> Pixels:
    """A copy of a BGR frame with the pose of its record (`result.record`) drawn in: solid lines
    and filled points where it was detected, thin lines and rings where it is predicted or held."""
    import cv2

    picture = image.copy()
    keypoints = record["keypoints"] or []
    source = record["source"]
    colour = draw.COLOURS.get(source, (200, 200, 200))
    seen = source == "detected"
    drawn = {
        row: (round(point["x"]), round(point["y"]))
        for row, point in enumerate(keypoints)
        if point["confidence"] >= _SEEN and abs(point["x"]) < 1e5 and abs(point["y"]) < 1e5
    }
    names = _ROWS.get(keypoints[0]["name"] if keypoints else "", ())
    joined = limbs(names)
    for a, b in joined:
        if a in drawn and b in drawn:
            cv2.line(picture, drawn[a], drawn[b], colour, 2 if seen else 1, cv2.LINE_AA)
    used = {row for pair in joined for row in pair} or set(drawn)
    for row in sorted(used & set(drawn)):
        cv2.circle(picture, drawn[row], 3, colour, -1 if seen else 1, cv2.LINE_AA)
    if record["box"]:
        x, y, w, h = (round(value) for value in record["box"])
        draw.rectangle(picture, (x, y), (x + w, y + h), colour, source)
    text = f"{record['frame_number']}  {source}  {record['tracking_confidence']:.2f}"
    draw.label(picture, text, (6, picture.shape[0] - 8), (255,) * 3)
    return picture
