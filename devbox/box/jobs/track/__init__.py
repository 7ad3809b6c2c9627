"""The `track` job: exactly one record per input frame, whatever the detector saw.

results.jsonl, one line a frame:

    {"frame": 0-based int, "time": seconds from the first frame, by the container's own timestamps
     where it has them, "source": detected|predicted|held|none,
     "tracks": [{"id": int, "box": [x, y, w, h] pixels, "score": float|null, "source": …}],
     "error": str, only when the frame could not be read}

The record's source is the best of its tracks: a detection beats a prediction beats a hold.
"""

from __future__ import annotations

import json
from contextlib import ExitStack
from typing import Iterator, Tuple

from devbox.box.arrays import Pixels
from devbox.box.job import Job
from devbox.box.jobs.track import tracker
from devbox.box.jobs.track.engines import load
from devbox.box.media import draw, frames

ORDER = ("detected", "predicted", "held", "none")


class Record(draw.Tracks, total=False):
    """One line of results.jsonl."""

    time: float
    error: str


def run(job: Job) -> None:
    """Each sequence is one item: a broken video fails itself, the others continue."""
    sequences = frames.of_input(job, "video")
    folders = frames.folders(job.every(sequences))
    for name in job.items(sequences):
        with job.item(name):
            _track(job, frames.open_sequence(sequences[name], job.args["fps"]), folders[name])


def _track(job: Job, source: frames.Sequence, where: str) -> None:
    follow = tracker.Tracker(job.args["predict_frames"], job.args["hold_frames"])
    counts, lost = dict.fromkeys(ORDER, 0), 0
    sheet = draw.Sheet(source.expected)
    with ExitStack() as stack:
        lines = stack.enter_context(
            stack.enter_context(job.output(f"{where}results.jsonl")).open("w")
        )
        overlay = stack.enter_context(draw.overlay(job, f"{where}overlay.mp4", source))
        for record, image in _records(job, source, follow):
            if job.cancelled:
                raise InterruptedError("cancelled; nothing of this sequence was kept")
            lines.write(json.dumps(record, separators=(",", ":")) + "\n")
            counts[record["source"]] += 1
            lost += "error" in record
            picture = draw.annotate(image, record)
            overlay.add(picture)
            sheet.offer(record["frame"], picture)
            job.progress(record["frame"] + 1, source.expected or None, "frames")
        total = sum(counts.values())
        if total == lost:
            raise ValueError("no frame of it could be read")
    if lost:
        job.log(f"{source.name}: {lost} frames could not be read; their records say so")
    if source.expected and total != source.expected:
        job.log(f"{source.name}: declares {source.expected} frames, {total} could be read")
    job.write(f"{where}contact_sheet.png", sheet.png())
    summary = {"frames": total, "sources": counts, "people": follow.people}
    job.write(f"{where}summary.json", json.dumps({**summary, "fps": source.fps}, indent=2) + "\n")
    job.log(f"{source.name}: {total} frames in, {total} records out: {counts}")


def _records(
    job: Job, source: frames.Sequence, follow: tracker.Tracker
) -> Iterator[Tuple[Record, Pixels]]:
    engine = load(job.args["engine"], job)
    for index, time, image in source.read():
        found = engine.detect(image) if image is not None else []
        tracks = follow.step(found)
        sources = {track["source"] for track in tracks}
        record: Record = {
            "frame": index,
            "time": round(time, 6),
            "source": next((s for s in ORDER if s in sources), "none"),
            "tracks": tracks,
        }
        if image is None:
            record["error"] = "this frame could not be read"
        yield record, source.blank() if image is None else image
