"""`devbox pose-check`: how much of a video has a pose."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from devbox.cli.common import echo, json_option, print_json, quiet_option, result, workspace

if TYPE_CHECKING:
    from devbox.box.pose.report import Summary

_SERVICE = "pose"


@click.command("pose-check")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--url", help="The pose service to ask; by default the one that devbox forwards.")
@click.option(
    "--min-covered",
    type=click.FloatRange(0, 1),
    default=0.0,
    show_default=True,
    help="Share of frames that must have a pose; below it the exit code is 1.",
)
@json_option
@quiet_option
def pose_check_command(
    file: Path, url: str | None, min_covered: float, as_json: bool, quiet: bool
) -> None:
    """Send the frames of a video, FILE, to the running pose service, and report how many have a
    pose and where it is from. With a results.jsonl of a pose run as FILE, report on that.

    \b
    devbox serve pose                        in another terminal
    devbox pose-check clip.mp4
    devbox pose-check results/RUN/results.jsonl --min-covered 0.95
    """
    from devbox.services import pose_check

    if file.suffix == ".jsonl":
        found = pose_check.of_results(file)
        asked = ""
    else:
        asked = url or _forwarded()
        found = pose_check.of_video(asked, file, _silent if quiet or as_json else _tell)
    if as_json:
        print_json("pose-check", file=str(file), url=asked, **found)
    else:
        result(*_lines(found))
    if found["covered"] < min_covered:
        echo(f"covered {found['covered']:.1%}, less than {min_covered:.1%}", err=True)
        sys.exit(1)


def _forwarded() -> str:
    """The URL of the pose service that a devbox of this computer forwards."""
    from devbox.errors import NotFound
    from devbox.services import reach, runs

    run = runs.find(workspace(quiet=True), _SERVICE)
    url = reach.url_of(run)
    if not url:
        raise NotFound(
            f"service {_SERVICE} runs on {run.box_name}, and no devbox here forwards it",
            fix=f"devbox serve {_SERVICE}, in another terminal",
        )
    return url


def _lines(found: Summary) -> list[str]:
    frames, sources = found["frames"], found["sources"]
    lines = [f"{frames} frames: {found['covered']:.1%} covered, {found['detected']:.1%} detected"]
    lines += [f"  {name:<10}{count:>8}" for name, count in sources.items()]
    if found["errors"]:
        lines.append(f"  {'errors':<10}{found['errors']:>8}")
    if not found["sequential"]:
        lines.append("  frames are missing, or not in order")
    if found["longest_gap"]:
        shown = ", ".join(f"{first}-{last}" for first, last in found["gaps"])
        lines.append(f"longest without a detection: {found['longest_gap']} frames; at {shown}")
    return lines


def _tell(done: int, expected: int) -> None:
    if done % 25 == 0 or done == expected:
        echo(f"{done}/{expected or '?'} frames", err=True)


def _silent(_: int, __: int) -> None:
    """Says nothing."""
