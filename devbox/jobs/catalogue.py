"""Which jobs there are: those bundled with the box half, and [jobs.NAME] of devbox.toml.

A job of the project hides a bundled one of the same name.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import msgspec

from devbox import box, names, spec
from devbox.errors import NotFound, SpecError, UsageError
from devbox.spec import JobSpec, Spec
from devbox.text import clean, did_you_mean

MAX_WORDS = 256 * 1024  # bytes of one command line; Linux gives a program 2 MiB in all
J = TypeVar("J", bound=JobSpec)
COMMAND = "cmd"  # the job name of a run of a bare command


def all_jobs(config: Spec) -> dict[str, JobSpec]:
    """Every job by name, bundled ones first. SpecError when one is malformed."""
    found = {job.name: job for job in map(_bundled, sorted(_folder().glob("*/job.toml")))}
    for name, job in config.jobs.items():
        found[name] = checked(msgspec.structs.replace(job, name=name), f"[jobs.{name}]")
    return found


def find(config: Spec, name: str) -> JobSpec:
    """The job of that name. NotFound lists what there is."""
    jobs = all_jobs(config)
    if name not in jobs:
        raise NotFound(
            f"there is no job {clean(name, 60)!r} (jobs: {', '.join(jobs) or 'none'})",
            fix=f"{did_you_mean(name, jobs)}a command of your own: devbox run -- python main.py",
        )
    return jobs[name]


def ad_hoc_command(words: Sequence[str]) -> JobSpec:
    """The job that is just this command, taken as it is: no braces are replaced in it."""
    if not words:
        raise UsageError("no command was given", fix="devbox run -- python main.py")
    return JobSpec(name=COMMAND, command=tuple(plain(word, "the command") for word in words))


def plain(word: str, what: str) -> str:
    """A word that can reach a program. UsageError for NUL, broken unicode and absurd length."""
    try:
        data = word.encode()
    except UnicodeEncodeError:
        raise UsageError(f"{what} holds bytes that are not UTF-8 text") from None
    if b"\0" in data:
        raise UsageError(f"{what} holds a NUL byte, which no program can be given")
    if len(data) > MAX_WORDS // 2:
        raise UsageError(f"{what} is longer than {MAX_WORDS // 2048} KB", fix="pass it in a file")
    return word


def _folder() -> Path:
    return Path(box.__file__).parent / "jobs"


def _bundled(path: Path) -> JobSpec:
    job = spec.decode_job(spec.read_toml(path), path)
    # A module's name has no '-', and a job's has no '_'.
    return checked(msgspec.structs.replace(job, name=path.parent.name.replace("_", "-")), str(path))


def checked(job: J, source: str) -> J:
    """Arguments and inputs share one command line, so their names must differ on it. One input at
    most is divided between boxes."""
    seen: set[str] = {"help"}
    for name in (*job.args, *job.inputs):
        option = name.replace("_", "-")
        try:
            names.name(option, "argument name")
        except UsageError as error:
            raise SpecError(f"{source}: {error.what}", fix=error.fix) from error
        if option in seen:
            raise SpecError(f"{source}: --{option} has two meanings", fix="rename one of them")
        seen.add(option)
    divided = [name for name, each in job.inputs.items() if each.spread]
    if len(divided) > 1:
        raise SpecError(
            f"{source}: inputs {' and '.join(divided)} both have a spread",
            fix="keep it for the one that a run on several boxes divides",
        )
    return job
