"""Who is where: one mask picture per frame, in which a pixel's value is the person's number.

SAM 3 follows people that it was shown before it begins, keeps each frame it was given, and stops
without a word after 1,801. So a video is tracked in stretches. A stretch ends at its length, or
where the detector finds someone new, who is then also followed back to the last look. A new
stretch begins at the last frame in which everyone seen lately was seen, with their masks, so that
numbers are kept over it, also of people who are hidden at that moment.
"""

from __future__ import annotations

from pathlib import Path
from typing import Callable, Dict, Iterator, List, NamedTuple, Sequence, Tuple

from devbox.box import json_file
from devbox.box.arrays import Mask
from devbox.box.jobs.sam_body4d import memory
from devbox.box.jobs.sam_body4d.parts import Session
from devbox.box.jobs.sam_body4d.upstream import Upstream
from devbox.box.media import frames
from devbox.wire.codec import Number

Box = Tuple[float, float, float, float]  # left, top, right, bottom, pixels
Masks = Dict[int, Mask]  # number → bool height × width; nobody is in it who is not seen

_LATELY = 50  # frames; someone who is hidden longer comes back under another number
_SAME = 0.3  # overlap of two boxes, as intersection over union, that makes them one person
_SURE = 0.6  # least score of a detection
_LEAST_STRETCH = 16
_MOST_PEOPLE = 255  # what a pixel can name


class Video(NamedTuple):
    """images: the frames' files, in order. read, write: the mask picture of a frame."""

    images: Sequence[Path]
    size: Tuple[int, int]
    read: Callable[[int], Masks]
    write: Callable[[int, Masks], None]


class Known(NamedTuple):
    """What a stretch begins with. next: its first frame. looked: the mask picture of that frame is
    written already, and someone new was found in it. people: numbers given so far. seen: number →
    last frame with that person. refused: boxes in which SAM 3 sees nobody."""

    next: int
    looked: bool
    people: int
    seen: Dict[int, int]
    refused: Tuple[Box, ...]


class _Saved(NamedTuple):
    """`Known` as its file has it: numbers of people are text there."""

    next: int
    looked: bool
    people: int
    seen: Dict[str, int]
    refused: Tuple[Tuple[Number, Number, Number, Number], ...]


class Tracker:
    """Follows everyone through a video. `state` is a file that keeps what a stretch begins with, so
    that a run that was cut off begins at its last stretch."""

    def __init__(
        self,
        models: Upstream,
        video: Video,
        state: Path,
        *,
        look_every: int,
        stretch: int,
        log: Callable[[str], None],
    ) -> None:
        self._models, self._video, self._state, self._log = models, video, state, log
        self._every, self._stretch = max(1, look_every), max(_LEAST_STRETCH, stretch)
        self.known = _read(state)

    def run(self) -> Iterator[int]:
        """Frames that are done, after each; the caller may stop in between."""
        while self.known.next < len(self._video.images):
            before = self.known
            try:
                yield from self._follow_from(before.next)
            except Exception as error:
                if not memory.is_out_of_memory(error) or self._stretch <= _LEAST_STRETCH:
                    raise
                self._stretch = max(_LEAST_STRETCH, self._stretch // 2)
                self._log(f"out of memory: tracking {self._stretch} frames in one piece")
                self.known = before
            json_file.write(self._state, self.known._asdict(), durable=True)

    def _follow_from(self, start: int) -> Iterator[int]:
        carried = {n: at for n, at in self.known.seen.items() if start - at <= _LATELY}
        looks = not carried or self.known.looked
        there = self._video.read(start) if self.known.looked else {}
        fresh = self._fresh(start, self._numbered(there)) if looks else []
        if not carried and not fresh:
            yield from self._nobody(start)
            return
        first = min([*carried.values(), start])
        last = min(max(first + self._stretch, start + 1), len(self._video.images))
        boxes = {self.known.people + n: box for n, box in enumerate(fresh, 1)}
        session = self._session(range(first, last))
        self._show(session, carried, first)
        for number, box in boxes.items():
            self._show_box(session, start - first, number, box)
        self.known = self.known._replace(looked=False, people=self.known.people + len(boxes))
        for index, masks in self._propagate(session, reverse=False):
            frame = first + index
            if frame < start:
                continue  # tracked again only to remember it
            if frame == start and boxes:
                self._settle(start, boxes, masks)
            self._video.write(frame, masks)
            seen = {**self.known.seen, **dict.fromkeys(masks, frame)}
            self.known = self.known._replace(seen=seen)
            if (frame > start or not looks) and self._fresh(frame, masks):
                self.known = self.known._replace(next=frame, looked=True)
                return
            self.known = self.known._replace(next=frame + 1)
            yield frame + 1
        if self.known.next != last:
            raise RuntimeError(f"SAM 3 stopped at frame {self.known.next} of {last}")

    def _numbered(self, masks: Masks) -> Masks:
        """Without numbers of a run that was cut off in the middle of this stretch."""
        return {n: mask for n, mask in masks.items() if n <= self.known.people}

    def _nobody(self, start: int) -> Iterator[int]:
        """Empty frames until the next look."""
        until = min(start - start % self._every + self._every, len(self._video.images))
        for frame in range(start, until):
            self._video.write(frame, {})
            yield frame + 1
        self.known = self.known._replace(next=until, looked=False)

    def _settle(self, start: int, boxes: Dict[int, Box], masks: Masks) -> None:
        """Remember boxes in which SAM 3 sees nobody; follow the others back to the last look."""
        refused = tuple(box for number, box in boxes.items() if number not in masks)
        self.known = self.known._replace(refused=self.known.refused + refused)
        new = {number: masks[number] for number in boxes if number in masks}
        first = max(0, start - self._every + 1)
        if not new or first == start:
            return
        session = self._session(range(first, start + 1))
        for number, mask in new.items():
            self._show_mask(session, start - first, number, mask)
        for index, before in self._propagate(session, reverse=True):
            frame = first + index
            if frame == start:
                continue
            if not before:
                return
            there = self._video.read(frame)
            taken = sum(there.values(), start=_nothing(self._video.size))
            added = {n: mask & ~taken for n, mask in before.items() if n not in there}
            self._video.write(frame, {**there, **{n: m for n, m in added.items() if m.any()}})

    def _fresh(self, frame: int, masks: Masks) -> List[Box]:
        """Boxes of people in whom none of the masks is, nor a box that was refused."""
        if frame % self._every:
            return []
        found = detect(self._models, self._video.images[frame])
        taken = [*map(bounds, masks.values()), *self.known.refused]
        fresh = [box for box in found if all(overlap(box, each) < _SAME for each in taken)]
        room = _MOST_PEOPLE - self.known.people
        if len(fresh) > room:
            self._log(f"frame {frame}: only {_MOST_PEOPLE} people can be told apart")
        return fresh[: max(0, room)]

    def _show(self, session: Session, carried: Dict[int, int], first: int) -> None:
        """Everyone seen lately: where they are in the first frame, or where they were last."""
        there = self._video.read(first) if carried else {}
        for number in sorted(carried):
            at = first if number in there else carried[number]
            mask = self._video.read(at).get(number)
            if mask is not None:
                self._show_mask(session, at - first, number, mask)

    def _session(self, frames: range) -> Session:
        predictor = self._models.predictor
        session = predictor.init_state(
            video_path=[str(self._video.images[frame]) for frame in frames],
            offload_video_to_cpu=True,
            offload_state_to_cpu=True,
        )
        predictor.clear_all_points_in_video(session)
        return session

    def _show_mask(self, session: Session, index: int, number: int, mask: Mask) -> None:
        import torch

        self._models.predictor.add_new_mask(
            inference_state=session, frame_idx=index, obj_id=number, mask=torch.from_numpy(mask)
        )

    def _show_box(self, session: Session, index: int, number: int, box: Box) -> None:
        import numpy as np

        width, height = self._video.size
        relative = np.array([box], np.float32) / (width, height, width, height)
        self._models.predictor.add_new_points_or_box(
            inference_state=session,
            frame_idx=index,
            obj_id=number,
            box=relative.astype(np.float32),
        )

    def _propagate(self, session: Session, *, reverse: bool) -> Iterator[Tuple[int, Masks]]:
        """(index in the session, who is where) for each of its frames."""
        count = session["num_frames"]
        for index, numbers, _low, masks, *_ in self._models.predictor.propagate_in_video(
            session,
            start_frame_idx=count - 1 if reverse else 0,
            max_frame_num_to_track=count,
            reverse=reverse,
            propagate_preflight=True,
        ):
            seen = ((number, (masks[n] > 0)[0].cpu().numpy()) for n, number in enumerate(numbers))
            yield index, {number: mask for number, mask in seen if mask.any()}


def _read(state: Path) -> Known:
    found = json_file.load(state, _Saved)
    if found is None:
        return Known(0, False, 0, {}, ())
    seen = {int(number): frame for number, frame in found.seen.items()}
    return Known(found.next, found.looked, found.people, seen, found.refused)


def detect(models: Upstream, image: Path) -> List[Box]:
    """People in a picture, from left to right."""
    found = models.estimator.detector.run_human_detection(
        frames.read_image(image),
        det_cat_id=0,
        bbox_thr=_SURE,
        nms_thr=0.3,
        default_to_full_image=False,
    )
    return [(float(a), float(b), float(c), float(d)) for a, b, c, d in found]


def bounds(mask: Mask) -> Box:
    """The box around a mask that holds a pixel."""
    import numpy as np

    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)


def overlap(one: Box, other: Box) -> float:
    """Intersection over union."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    shared = max(0.0, width) * max(0.0, height)
    areas = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    return shared / (areas - shared) if areas > shared else 0.0


def _nothing(size: Tuple[int, int]) -> Mask:
    import numpy as np

    return np.zeros((size[1], size[0]), bool)
