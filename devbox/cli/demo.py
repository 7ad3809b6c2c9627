"""`devbox demo`: the whole loop on this machine, each step with the command a user types.

It runs on a DEVBOX_HOME and a project of its own under the temporary folder, so that neither the
person's boxes nor their cost report nor ~/.ssh/config know of it.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import threading
import time
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path

import click

from devbox import installation, lifecycle, paths, templates
from devbox.cli.common import echo
from devbox.errors import DevboxError, JobFailed, ToolMissing
from devbox.jobs import arguments, catalogue, demo_clip, fetch
from devbox.jobs.follow import Ended, Note, Progress, follow
from devbox.jobs.status import of
from devbox.jobs.submit import submit
from devbox.model import Box, Run
from devbox.state.spending import report
from devbox.sync import rsync
from devbox.telemetry import client
from devbox.telemetry.arming import sentence
from devbox.text import dollars, duration, size
from devbox.wire.messages import Sample
from devbox.workspace import Workspace

_BOX = "demo"
_CLIP = "clip.mp4"


@click.command("demo")
@click.argument("job", type=click.Choice(["track", "pose"]), default="track")
@click.option("--keep", "keep_it", is_flag=True, help="Leave the box up at the end.")
@click.option(
    "--to",
    "target",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("demo-results"),
    show_default=True,
    help="Folder for the results.",
)
def demo_command(job: str, keep_it: bool, target: Path) -> None:
    """The whole loop on this machine in under a minute: box up, a video up, a job with live
    telemetry, results down, box down, what it cost.

    JOB is track, which follows the face, or pose, which draws the skeleton with MediaPipe: that one
    first installs MediaPipe on the box, about 100 MB to download.
    """
    if find_spec("cv2") is None:
        raise ToolMissing(
            "the demo's job needs OpenCV, which is not installed",
            fix=installation.fix_extra("track"),
        )
    began = time.monotonic()
    root = Path(tempfile.mkdtemp(prefix="devbox-demo-"))
    target = target.absolute()
    os.environ["DEVBOX_HOME"] = str(root / "home")
    project = root / "project"
    project.mkdir()
    kept = False
    try:
        kept = _tour(job, project, target, keep_it=keep_it)
    finally:
        if not kept:
            _clean_up(root)
    _say(f"done in {duration(time.monotonic() - began)}")


def _tour(job: str, project: Path, target: Path, *, keep_it: bool) -> bool:
    _step("a project: a photograph panned into a clip", "devbox init demo")
    templates.write(templates.get("demo"), project)
    demo_clip.make(project / "astronaut.jpg", project / _CLIP)
    ws = Workspace.open(project, narrate=_say)
    ws.integrate = False

    _step("bring the box up", f"devbox up {_BOX}")
    began = time.monotonic()
    box = lifecycle.up(ws, _BOX)
    _say(f"{box.state} after {time.monotonic() - began:.1f} s; shell: devbox ssh {_BOX}")

    _step("send the project to it", "devbox sync up")
    sent = rsync.up(ws, box)
    _say(f"{len(list(project.iterdir()))} files, {size(sum(_sizes(project)))} in {sent.folder}")

    _step("run a job on the video, telemetry beside it", f"devbox run {job} -- --video {_CLIP}")
    run = _run(ws, box, job, project / _CLIP)

    _step("fetch the results", f"devbox attach {run.id}")
    fetch.fetch(ws, run, target)
    shutil.copyfile(project / _CLIP, target / _CLIP)
    _show(target)

    _step("what it is doing now, and when it would pause", f"devbox status {_BOX}")
    verdict = lifecycle.idle_status(ws, box)
    if verdict:
        _say(sentence(verdict, ws.clock()))
    if keep_it:
        home = f"DEVBOX_HOME={paths.home()}"
        _say(f"the box stays up; shell: {home} devbox ssh {_BOX}")
        _say(f"end it with: {home} devbox down {_BOX}")
        return True

    _step("end the box", f"devbox down {_BOX}")
    box = lifecycle.down(ws, box)
    left = len(ws.provider("local").find())
    _say(f"{box.state}; boxes left at the provider: {left}")

    _step("what it cost, at the shadow price of devbox.toml", "devbox cost")
    for line in report(ws.store.database, "box", ws.clock()):
        _say(f"{line.key}: {duration(line.seconds)}, {dollars(line.total)}")
    return False


def _run(ws: Workspace, box: Box, name: str, clip: Path) -> Run:
    job = catalogue.find(ws.spec, name)
    given = arguments.parse(job, ["--video", str(clip)])
    run = submit(ws, box, job, given.args, given.inputs)
    with _Telemetry(box) as telemetry, closing(follow(ws, run)) as messages:
        for message in messages:
            if isinstance(message, Progress) and message.total:
                share = message.done / message.total
                bar = "█" * round(share * 24)
                _progress(f"{bar:░<24} {message.done:.0f}/{message.total:.0f} {telemetry.line()}")
            elif isinstance(message, Note):
                _say(message.text)
            elif isinstance(message, Ended):
                _progress_end()
                run = message.run
    if run.exit_code != 0:
        raise JobFailed(
            f"the run ended {run.state}: {of(run).reason or of(run).message}",
            fix="devbox doctor, then devbox demo --keep to look at the box",
        )
    return run


class _Telemetry:
    """The latest sample of a box, read by a thread of its own."""

    def __init__(self, box: Box) -> None:
        self._stream = client.open_stream(box, history=5, attempts=3)
        self._latest: Sample | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)

    def line(self) -> str:
        sample = self._latest
        if sample is None or sample.cpu is None or sample.mem is None:
            return ""
        load = "–" if sample.cpu.util is None else f"{sample.cpu.util:.0f} %"
        gpus = " ".join(f"gpu{g.index} {g.util} %" for g in sample.gpus or ())
        return f"cpu {load}  memory {size(sample.mem.used)}  {gpus}".rstrip()

    def __enter__(self) -> _Telemetry:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        # The stream brings a sample each second, so the thread sees this within that time.
        self._stop.set()
        self._thread.join(5)

    def _read(self) -> None:
        try:
            for sample in self._stream:
                self._latest = sample
                if self._stop.is_set():
                    return
        except DevboxError as error:
            _say(f"no telemetry: {error.what}")
        finally:
            self._stream.close()


def _show(target: Path) -> None:
    for name in ("results.jsonl", "overlay.mp4", "contact_sheet.png"):
        _say(f"{size((target / name).stat().st_size):>9}  {target / name}")
    lines = (target / "results.jsonl").read_text().splitlines()
    _say(f"{demo_clip.FRAMES} frames in, {len(lines)} records out; look at contact_sheet.png")


def _clean_up(root: Path) -> None:
    """Whatever happened, no box of the demo outlives it."""
    ws = Workspace.open(root / "project", narrate=_say)
    ws.integrate = False
    for box in ws.store.boxes.all():
        _say(f"ending {box.name}")
        lifecycle.down(ws, box, save=False)
    ws.store.close()
    shutil.rmtree(root, ignore_errors=True)


def _sizes(folder: Path) -> list[int]:
    return [path.stat().st_size for path in folder.rglob("*") if path.is_file()]


def _step(what: str, command: str) -> None:
    click.echo()
    click.secho(f"● {what}", bold=True)
    click.secho(f"  $ {command}", fg="cyan")


def _say(text: str) -> None:
    echo(f"  {text}")


def _progress(text: str) -> None:
    if sys.stdout.isatty():
        click.echo(f"\r\x1b[K  {text}", nl=False)
    else:
        _say(text)


def _progress_end() -> None:
    if sys.stdout.isatty():
        click.echo()
