"""The messages of jobs: what a run is asked for, how it is, and what `job follow` says of it."""

from __future__ import annotations

from typing import Annotated, Dict, Literal, NamedTuple, Optional, Tuple

from devbox.wire.codec import Between, Exactly, Json, Most, Text, Time, Word
from devbox.wire.messages import BoxEvent, End, Identity

Cursor = Annotated[str, Exactly("[0-9]{1,15}[.][0-9]{1,18}")]
Refused = Literal["bad_request", "conflict", "not_found", "missing"]


class CheckpointFetch(NamedTuple):
    """Where a checkpoint comes from. sha256: hexadecimal, "" when unknown. bytes: exactly, of a
    file. size: about how many, for the check of the disk. page: where its terms are."""

    source: Word
    sha256: Word = ""
    bytes: Optional[int] = None
    size: Optional[int] = None
    page: Word = ""


Requirement = Annotated[str, Exactly("(?!-)[^\0\ud800-\udfff]*")]
#: such as ">=3.9,<3.13"; "" for any version
VERSIONS = r"( *([<>]=?|[=!]=) *3(\.\d{1,3}){0,2} *(,(?=.)|$))*"


class Environment(NamedTuple):
    """A Python environment of a job's own (devbox.box.environment). packages: PEP 508. no_deps:
    exactly these, without what they declare to need. python: the range of versions."""

    packages: Tuple[Requirement, ...] = ()
    no_deps: bool = False
    python: Annotated[str, Exactly(VERSIONS)] = ""


TOKEN = "@token"  # noqa: S105 - in the secrets of a request: what a public service asks for


class ServiceRequest(NamedTuple):
    """A run that stays and answers requests. port: where it listens on the box's loopback; another
    where that is taken, unless a command has it written down. health: the path that says whether
    it is ready; "" when taking a connection says it. start_timeout: seconds until it should be.
    expose: it listens for all, at that port and no other, and asks for the secret named TOKEN."""

    port: Annotated[int, Between(0, 65535)] = 0
    health: Annotated[str, Exactly("(/[!-~]*)?")] = "/health"
    start_timeout: float = 1800.0
    expose: bool = False


class Spread(NamedTuple):
    """A run whose work comes in rounds, by `job rounds`, until it is told that there are no more.

    input: the input whose pieces come so; it is not among the `inputs` of the request. names: path
    of a file on the box with the name of every piece of the batch, a JSON string a line: results
    are named over all of them."""

    input: Word
    names: Word


class QueueRequest(NamedTuple):
    """What a run waits for on its box before it begins (devbox.box.runs.turn). gpus: how many it
    gets, which no other run that asked for some has meanwhile. after: runs that must have
    succeeded. priority: the higher, the earlier. max_runs: how many runs that say so may be under
    way at once."""

    gpus: Annotated[int, Between(0, 1024)] = 0
    after: Tuple[Word, ...] = ()
    priority: Annotated[int, Between(-1000, 1000)] = 0
    max_runs: Optional[Annotated[int, Between(1, 10_000)]] = None


class JobRequest(NamedTuple):
    """What `job start` is asked for; kept as request.json, without the secrets.

    Either a module or a command. Paths are absolute or relative to the login folder. template:
    replace {name} in the command; extra: further words for it, taken as they are. patterns: those
    of each input's files. inputs, checkpoints: name → path. secrets: checkpoint → token. vram:
    bytes. environment: the work runs in it, and packages go into it too; without one the box's
    Python does the work. service: the run stays and answers requests. grace: seconds between
    SIGTERM and SIGKILL. then: what the box does with itself once this run and all others have
    ended. spread: its work comes in rounds. queue: what it waits for; without one it begins at
    once. Starting the same id and attempt again changes nothing."""

    id: Word
    job: Word
    attempt: int = 1
    module: Word = ""
    command: Tuple[Word, ...] = ()
    template: bool = False
    extra: Tuple[Word, ...] = ()
    args: Dict[Word, Json] = {}
    inputs: Dict[Word, Word] = {}
    patterns: Dict[Word, Tuple[Word, ...]] = {}
    checkpoints: Dict[Word, Word] = {}
    fetch: Dict[Word, CheckpointFetch] = {}
    secrets: Dict[Word, Word] = {}
    env: Dict[Annotated[str, Exactly("[^=\0\ud800-\udfff]+")], Word] = {}
    packages: Tuple[Requirement, ...] = ()
    environment: Optional[Environment] = None
    service: Optional[ServiceRequest] = None
    workdir: Word = "work"
    vram: int = 0
    timeout: Optional[float] = None
    grace: float = 10.0
    then: Optional[End] = None
    spread: Optional[Spread] = None
    queue: Optional[QueueRequest] = None


class Attempt(NamedTuple):
    started: Time
    ended: Optional[Time] = None


class Counts(NamedTuple):
    """Items of a run. total: None until the run has told it."""

    total: Optional[int] = None
    done: int = 0
    failed: int = 0
    skipped: int = 0


class Failure(NamedTuple):
    """An item that failed, and why."""

    item: Annotated[str, Text(300)]
    error: Annotated[str, Text(500)] = ""


class Peak(NamedTuple):
    """The most memory that a run held, in bytes. vram_source: see devbox.box.runs.vram."""

    rss: Optional[int] = None
    vram: Optional[int] = None
    vram_source: Optional[Literal["process", "work", "device"]] = None


class ServiceStatus(NamedTuple):
    """port: where it listens on the box, None before that is known. ready: whether it was when it
    was last asked; said: what it says where it is not. since: when it first was."""

    port: Optional[Annotated[int, Between(1, 65535)]] = None
    ready: bool = False
    since: Optional[Time] = None
    said: Annotated[str, Text(200)] = ""


class Queued(NamedTuple):
    """A run that waits. since: when it was put into the queue. waits_for: runs it was to begin
    after; GPUs that other runs have; one of `max_runs` places; other programs that use the GPUs;
    the driver, which does not tell of them. why: the same as a sentence. place: 1 for the one that
    is next; None while it waits for runs."""

    since: Time
    waits_for: Literal["runs", "gpus", "max_runs", "programs", "driver"]
    why: Annotated[str, Text(300)] = ""
    place: Optional[Annotated[int, Between(1, 1_000_000)]] = None


class JobStatus(NamedTuple):
    """How a run is; kept on the box as status.json. state: "" before the box has heard of it.

    reason: why it did not succeed: exit, items, timeout, cancelled, interrupted, unprepared, error,
    after (a run that it was to begin after did not succeed).
    message: the same as a sentence. exit_code: as a shell would say it: 128 + signal, 124 for a
    timeout. progress: (done, total) of `unit`. note: what it is at. timings: seconds of each stage.
    log_bytes: printed so far, of which log_dropped are gone. t: when this was written.
    supervisor: the process on the box that watches it. queue: while it is queued. gpus: those it
    was given, as in its CUDA_VISIBLE_DEVICES; none where it did not ask for any."""

    id: Word = ""
    job: Word = ""
    state: Literal["", "queued", "running", "succeeded", "failed", "cancelled"] = ""
    reason: str = ""
    message: Annotated[str, Text(1000)] = ""
    attempt: int = 0
    attempts: Tuple[Attempt, ...] = ()
    started: Optional[Time] = None
    ended: Optional[Time] = None
    exit_code: Optional[int] = None
    signal: Optional[int] = None
    counts: Counts = Counts()
    progress: Tuple[float, Optional[float]] = (0.0, None)
    unit: str = "items"
    eta: Optional[float] = None
    stage: str = ""
    note: Annotated[str, Text(500)] = ""
    timings: Annotated[Dict[Annotated[str, Text(60)], float], Most(50)] = {}
    failures: Annotated[Tuple[Failure, ...], Most(100)] = ()
    failures_dropped: int = 0
    peak: Peak = Peak()
    log_bytes: int = 0
    log_dropped: int = 0
    t: Optional[Time] = None
    supervisor: Optional[Identity] = None
    service: Optional[ServiceStatus] = None
    queue: Optional[Queued] = None
    gpus: Annotated[Tuple[Annotated[str, Text(80)], ...], Most(1024)] = ()

    @property
    def is_over(self) -> bool:
        return self.state in ("succeeded", "failed", "cancelled")


class JobAnswer(NamedTuple):
    """The answer to `job start`, `status` and `cancel`, and a line of `job follow`: the last one
    when the run is over. now: the box's clock."""

    status: JobStatus
    now: Time
    at: Optional[Cursor] = None


class Round(NamedTuple):
    """Some pieces of a batch that are worked on together; results lie in rounds/<number>/out of the
    run's folder. input: path on the box of a folder, or of the file, with just these pieces at
    their paths inside the input; its last name is the input's own, since items are named by it. In
    rounds/<number>/in of the run's folder it is removed when the round is finished. pieces: their
    names, as in `Spread.names`. A number is used once in a run."""

    number: int
    input: Word
    pieces: Tuple[Word, ...]


class RoundsAsked(NamedTuple):
    """What `job rounds` is asked for; the same again changes nothing.

    add: rounds to work on, after those that wait already. withdraw: numbers of rounds not to work
    on; one that has begun is worked on all the same, and one that was never added cannot be any
    more. close: no further round will come: the run ends after the last. seen: how many finished
    rounds the asker has on record with their results; what the box has of those is removed."""

    add: Tuple[Round, ...] = ()
    withdraw: Tuple[int, ...] = ()
    close: bool = False
    seen: int = 0


class ItemFailed(NamedTuple):
    """item: the name of a piece, or of an item that is only a part of one."""

    item: Word
    error: Annotated[str, Text(500)] = ""


class RoundDone(NamedTuple):
    """A round that is finished: a piece of it that is not in `failed` is done. seconds: for which
    the process that finished it worked on it. done, skipped: how many items."""

    number: int
    seconds: float
    done: int
    failed: Tuple[ItemFailed, ...] = ()
    skipped: int = 0


class RoundsAnswer(NamedTuple):
    """The answer to `job rounds`. waiting: numbers of rounds that have not begun, in their order;
    begun: of those that have and are not finished; withdrawn: of every round that was. finished:
    in the order in which they were, without the first `RoundsAsked.seen`."""

    waiting: Tuple[int, ...]
    begun: Tuple[int, ...]
    withdrawn: Tuple[int, ...]
    finished: Tuple[RoundDone, ...]
    closed: bool
    status: JobStatus
    now: Time


class JobList(NamedTuple):
    """The answer to `job list`, newest last."""

    runs: Tuple[JobStatus, ...]
    now: Time


class ThenAnswer(NamedTuple):
    """The answer to `job then`: what the box is to do once that run has ended; None for nothing."""

    do: Optional[End] = None
    run: Word = ""


class InputAnswer(NamedTuple):
    """The answer to `job input`: whether all of that input is on the box."""

    complete: bool


class Refusal(NamedTuple):
    """The answer to a `job` verb that cannot be carried out."""

    error: Refused
    message: Annotated[str, Text(500)]


class LogPiece(NamedTuple):
    """A line of `job follow`: the next line of the run's log, or several. end: what follows the
    last of them: "\\r" where the next line replaces it, "" where it is only a part. dropped: bytes
    of the log that are missing just before. at: where a reader that is cut continues."""

    at: Cursor
    text: Annotated[str, Text(40_000, lines=True)]
    end: Annotated[str, Exactly("[\n\r]?")] = ""
    dropped: int = 0


class JobEvent(NamedTuple):
    """A line of `job follow`: something happened in the run."""

    at: Cursor
    event: BoxEvent
