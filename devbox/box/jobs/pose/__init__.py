"""The `pose` job: exactly one record per input frame, whatever the engine saw.

results.jsonl has one line a frame, in order: the fields of `devbox.box.pose.result` and `time`,
seconds from the first frame. keypoints are null where the source is none, meshes are written only
with --mesh, and their faces, which are the same in every frame, once into faces.json.
"""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from time import perf_counter
from typing import Dict, Iterator, List, Tuple

from devbox.box.job import Job
from devbox.box.media import draw, frames
from devbox.box.pose import coverage, result
from devbox.box.pose.draw import annotate
from devbox.box.pose.engines import options
from devbox.box.pose.host import EngineFailed, Host
from devbox.box.pose.person import Person
from devbox.box.pose.report import Report

_DEATHS = 3  # frames of one video on which the engine may die before the video fails


def run(job: Job) -> None:
    """Each sequence is one item: a broken video fails itself, the others continue."""
    sequences = frames.of_input(job, "video")
    folders = frames.folders(job.every(sequences))
    host = job.resident(
        "engine", lambda: Host(job.args["engine"], options(job.args), job.log), Host.close
    )
    host.start()
    for name in job.items(sequences):
        with job.item(name):
            source = frames.open_sequence(sequences[name], job.args["fps"])
            _pose(job, host, source, folders[name])


def _pose(job: Job, host: Host, source: frames.Sequence, where: str) -> None:
    with ExitStack() as outputs:
        part = outputs.enter_context(job.output(f"{where}results.jsonl"))
        summary = _results(job, host, source, part)
        if summary["errors"] == summary["frames"]:
            raise ValueError("no frame of it could be looked at")
        with job.stage("draw"):
            overlay = outputs.enter_context(draw.overlay(job, f"{where}overlay.mp4", source))
            sheet = _pictures(job, source, part, overlay)
        if summary["errors"]:
            job.log(f"{source.name}: {summary['errors']} frames could not be looked at")
        if source.expected and summary["frames"] != source.expected:
            job.log(f"{source.name}: declares {source.expected} frames, {summary['frames']} read")
        if job.args["mesh"] and host.ready and host.ready.faces:
            job.write(f"{where}faces.json", json.dumps(host.ready.faces))
        job.write(f"{where}contact_sheet.png", sheet.png())
        job.write(f"{where}summary.json", json.dumps(summary, indent=2) + "\n")
    job.log(f"{source.name}: {summary['frames']} frames, {summary['sources']}")


def _results(job: Job, host: Host, source: frames.Sequence, part: Path) -> Dict[str, object]:
    """Write every record into `part`; the summary."""
    ready = host.start()
    args, report = job.args, Report()
    limits = coverage.Limits(*(args[f"{n}_frames"] for n in ("predict", "hold", "backfill")))
    times: List[Tuple[float, float]] = []
    with part.open("w") as lines:
        followed = _followed(job, host, source, str(part.parent), limits, times)
        for covered in coverage.backfilled(followed, limits):
            time, took = times[covered.frame]
            record = result.record(
                covered,
                size=(source.width, source.height),
                milliseconds=took * 1000,
                mesh=args["mesh"],
            )
            line = {**record, "time": round(time, 6)}
            lines.write(json.dumps(line, separators=(",", ":"), allow_nan=False) + "\n")
            report.add(record)
    engine = {"engine": ready.engine, "note": ready.note, "device": ready.device}
    return {**report.result(), **engine, "fps": source.fps}


def _followed(
    job: Job,
    host: Host,
    source: frames.Sequence,
    session: str,
    limits: coverage.Limits,
    times: List[Tuple[float, float]],
) -> Iterator[coverage.Covered]:
    """times gets, for each frame, its time and how long the engine looked at it, in seconds."""
    follow, deaths = coverage.Follow(limits), 0
    for index, time, image in source.read():
        if job.cancelled:
            raise InterruptedError("cancelled; nothing of this sequence was kept")
        began = perf_counter()
        people: List[Person] = []
        error = "" if image is not None else "this frame could not be read"
        try:
            if image is not None:
                people = host.see(image, session, index)
        except ValueError as refused:
            error = str(refused)
        except EngineFailed as failed:
            deaths += 1
            if deaths >= _DEATHS:
                raise
            error = str(failed)
        times.append((time, perf_counter() - began))
        yield follow.step(index, people, (source.width, source.height), error)
        job.progress(index + 1, source.expected or None, "frames")


def _pictures(job: Job, source: frames.Sequence, part: Path, overlay: draw.Overlay) -> draw.Sheet:
    """The frames once more, with what is in `part` drawn in."""
    sheet = draw.Sheet(source.expected)
    with part.open() as lines:
        for line, frame in zip(lines, source.read()):
            if job.cancelled:
                raise InterruptedError("cancelled; nothing of this sequence was kept")
            record = json.loads(line)
            picture = annotate(source.blank() if frame.image is None else frame.image, record)
            overlay.add(picture)
            sheet.offer(frame.number, picture)
    return sheet
