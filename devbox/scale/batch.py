"""A batch: what was asked for, its pieces, and finding it again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from devbox import names, spec
from devbox.box.pieces import pieces as pieces_of
from devbox.described import described
from devbox.errors import NotFound, UsageError
from devbox.files import private_dir, write_atomic
from devbox.jobs import catalogue, submit
from devbox.jobs.arguments import Value
from devbox.jobs.fetch import NOTES
from devbox.model import Batch, Piece, PieceState, Run, RunState
from devbox.money import past_runs
from devbox.scale import weights
from devbox.spec import BoxSpec, JobSpec, Spec
from devbox.text import clean, counted
from devbox.wire import codec
from devbox.wire.jobs import Attempt, Counts, Failure, JobStatus
from devbox.wire.messages import End
from devbox.workspace import Workspace

MOST_WORKERS = 256


class Workers(NamedTuple):
    """How many boxes: `least` from the start, up to `most` while that pays."""

    least: int
    most: int

    @classmethod
    def parse(cls, text: str) -> Workers:
        """'4' or '2..8'. UsageError."""
        first, dots, last = text.partition("..")
        if first.isdecimal() and (last.isdecimal() if dots else True):
            found = cls(int(first[:9]), int((last or first)[:9]))
            if 1 <= found.least <= found.most <= MOST_WORKERS:
                return found
        raise UsageError(
            f"--workers cannot be {clean(text, 40)!r}",
            fix=f"a number up to {MOST_WORKERS}, such as 4, or a range, such as 2..8",
        )


class Asked(msgspec.Struct, frozen=True):
    """What was asked for. input: the one that is divided, at `source` here; sources: the others.
    ceiling: micro-dollars. detached: all rounds were given at once. speculate: a round that is
    begun may be given to a second worker. no_sync, no_setup: as of `devbox run`."""

    input: str
    source: str
    least: int
    most: int
    args: dict[str, Any] = {}
    sources: dict[str, str] = {}
    provider: str = ""
    then: End | None = None
    ceiling: int | None = None
    detached: bool = False
    speculate: bool = False
    no_sync: bool = False
    no_setup: bool = False


def asked(batch: Batch) -> Asked:
    """NotFound when the record of it is damaged."""
    try:
        return msgspec.json.decode(batch.request, type=described(Asked))
    except msgspec.MsgspecError:
        raise NotFound(
            f"the record of what batch {batch.id} was asked to do cannot be read",
            means="its parts on their boxes are untouched",
            fix=f"fetch what they made with: devbox attach {batch.id}-w1; start again: "
            f"devbox run {batch.job} --workers 4",
        ) from None


def divided(job: JobSpec, sources: Mapping[str, Path]) -> str:
    """The input of the job that a batch divides. UsageError for none."""
    for name in sources:
        if job.inputs[name].spread:
            return name
    known = next(iter(job.inputs), "")
    raise UsageError(
        f"job {job.name} says of no input that was given how it is divided between boxes",
        means="nothing was started",
        fix=f'set spread = "files" in [jobs.{job.name}.inputs.{known}] of devbox.toml'
        if known
        else f"give job {job.name} an input with a spread, or leave out --workers",
    )


def files(job: JobSpec, which: str, source: Path) -> dict[str, list[Path]]:
    """Piece → its files here. UsageError where there is none, or a name cannot be sent."""
    wanted = job.inputs[which]
    try:
        found = pieces_of(source, wanted.patterns, wanted.spread or "files")
    except ValueError as error:
        raise UsageError(f"input {which}: {clean(str(error), 300)}", fix="rename it") from None
    if not found:
        raise UsageError(
            f"input {which}: nothing in {clean(str(source), 200)} matches "
            + " ".join(wanted.patterns),
            means="nothing was started",
        )
    return found


def create(
    ws: Workspace,
    job: JobSpec,
    box_name: str,
    args: Mapping[str, Value],
    sources: Mapping[str, Path],
    asked: Asked,
) -> Batch:
    """Write a new batch down, with all its pieces; nothing is started yet."""
    source = sources[asked.input]
    found = files(job, asked.input, source)
    pieces = _weighed(ws, job, args, asked.input, source, found)
    now = ws.clock()
    batch = Batch(
        id=submit.new_id(job.name, now),
        job=job.name,
        box_name=box_name,
        root=ws.here.root,
        state=RunState.RUNNING,
        created=now,
        request=msgspec.json.encode(asked),
    )
    notes = results(batch) / NOTES
    notes.mkdir(parents=True, exist_ok=True)
    lines = b"".join(msgspec.json.encode(name) + b"\n" for name in found)
    write_atomic(notes / "pieces.jsonl", lines, mode=0o644)
    ws.store.batches.insert(batch, pieces)
    return batch


def results(batch: Batch) -> Path:
    return Path(batch.root) / "results" / batch.id


def staging(batch: Batch) -> Path:
    """Where the results of rounds come before they are merged."""
    return results(batch) / NOTES / "rounds"


def names_file(batch: Batch) -> Path:
    """Where the names of all pieces are here."""
    return results(batch) / NOTES / "pieces.jsonl"


def part_id(batch: Batch, number: int) -> str:
    return f"{batch.id}-w{number}"


def job_of(project: Spec, batch: Batch) -> JobSpec:
    return catalogue.find(project, batch.job)


def with_worker(project: Spec, batch: Batch, name: str, provider: str) -> Spec:
    """The project with a box of that name, copied from the batch's."""
    _, table = worker_table(project, batch.box_name, provider)
    return msgspec.structs.replace(project, boxes={**project.boxes, name: table})


def worker_table(project: Spec, box_name: str | None, provider: str) -> tuple[str, BoxSpec]:
    """(name, table) that workers are copied from."""
    if provider:
        project = project.with_changes(box_name, {"provider": provider, "providers": ()})
    return project.box(box_name)


def box_name(ws: Workspace, batch: Batch, taken: Sequence[str]) -> str:
    """The first NAME-1, NAME-2, … that no worker of a batch of this project has now. taken: those
    of this batch."""
    used = set(taken)
    for other in ws.store.batches.open():
        if other.id != batch.id and other.root == batch.root:
            workers = ws.store.batches.workers(other.id)
            used |= {worker.box_name for worker in workers if not worker.state.is_over}
    number = 1
    while f"{batch.box_name}-{number}" in used:
        number += 1
    return names.name(f"{batch.box_name}-{number}")


def find(ws: Workspace, wanted: str | None) -> Batch | None:
    """The batch of that id or the only one whose id begins so; without an id the latest, where
    nothing was run since. None where a run is meant, or nothing."""
    if wanted is None:
        latest = ws.store.batches.latest(1)
        runs = ws.store.runs.latest(limit=1, parts=False)
        if latest and (not runs or latest[0].created > runs[0].created):
            return latest[0]
        return None
    if exact := ws.store.batches.get(wanted):
        return exact
    if not wanted or ws.store.runs.get(wanted):
        return None
    begun = [batch for batch in ws.store.batches.latest(1000) if batch.id.startswith(wanted)]
    if len(begun) != 1:
        return None
    runs = ws.store.runs.latest(limit=1000, parts=False)
    return None if any(run.id.startswith(wanted) for run in runs) else begun[0]


def parts(ws: Workspace, batch: Batch) -> list[Run]:
    """By the numbers of their workers."""
    found = ws.store.runs.of_batch(batch.id)
    return sorted(found, key=lambda run: int(run.id.rpartition("-w")[2]))


def as_run(ws: Workspace, batch: Batch, box_id: str = "") -> Run:
    """The one run that it is for who looks at it. box_id: of a worker that it is shown at."""
    counts = ws.store.batches.counts(batch.id)
    seen = JobStatus(
        id=batch.id,
        job=batch.job,
        message=batch.message,
        attempts=(Attempt(batch.created, batch.ended),),
        counts=Counts(counts.total, counts.done, counts.failed),
        progress=(float(counts.done + counts.failed), float(counts.total)),
        unit="pieces",
        failures=tuple(Failure(piece.name, piece.error) for piece in failed(ws, batch)[:100]),
    )
    return Run(
        id=batch.id,
        box_id=box_id,
        box_name=batch.box_name,
        job=batch.job,
        state=batch.state,
        created=batch.created,
        started=batch.created,
        ended=batch.ended,
        status=codec.encode(seen),
    )


def failed(ws: Workspace, batch: Batch) -> list[Piece]:
    pieces = ws.store.batches.pieces(batch.id)
    return [piece for piece in pieces if piece.state is PieceState.FAILED]


def part_log(ws: Workspace, run: Run) -> str | None:
    """The log of a part as it was fetched."""
    batch = ws.store.batches.get(run.batch)
    number = run.id.rpartition("-")[2]
    file = results(batch) / NOTES / number / "log.txt" if batch else None
    return file.read_text(errors="replace") if file and file.is_file() else None


def workspace(ws: Workspace, batch: Batch) -> Workspace:
    """That of the batch's own project, whatever folder this is typed in."""
    if ws.here.root == batch.root:
        return ws
    found = Workspace(
        spec.load(Path(batch.root) / spec.FILE_NAME),
        clock=ws.clock,
        sleep=ws.sleep,
        narrate=ws.narrate,
    )
    found.store = ws.store
    return found


def lock_file(home: Path, batch: Batch) -> Path:
    """Held by the one process that gives out its rounds."""
    return private_dir(home / "locks") / f"{batch.id}.lock"


def _weighed(
    ws: Workspace,
    job: JobSpec,
    args: Mapping[str, Value],
    which: str,
    source: Path,
    found: Mapping[str, Sequence[Path]],
) -> list[Piece]:
    """The pieces with their weights, by what earlier runs with these arguments tell."""
    sizes = weights.sizes(found)
    past = past_runs.of_job(ws.store, job, args, ())
    took = weights.seconds(
        ws.store, past, ws.spec.root / "results", sizes, which=which, source=source
    )
    if took:
        ws.narrate(
            f"{len(took)} of {counted(len(sizes), 'piece')}: weighed by what each took before"
        )
    weighed = weights.weigh({name: size.bytes for name, size in sizes.items()}, took)
    return [Piece(name, weighed[name], bytes=size.bytes) for name, size in sizes.items()]
