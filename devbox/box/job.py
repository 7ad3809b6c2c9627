"""What a job's code works with: its arguments, its inputs, its output folder, its items.

    def run(job: Job) -> None:
        for path in job.files("images"):
            ...

A job that works through items (files, frames, prompts) keeps them apart:

    paths = job.named("images")
    for name in job.items(paths):            # leaves out what an earlier attempt has done
        with job.item(name):                 # an exception in here fails this item only
            job.write(f"{name}.json", work(paths[name]))

Everything under `job.out` is fetched. `write` and `output` put a file there in one step, so that
neither a crash nor a cancel leaves half of one.
"""

from __future__ import annotations

import os
import threading
import time
import traceback
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import (
    Any,
    Callable,
    Dict,
    Iterable,
    Iterator,
    List,
    Mapping,
    Optional,
    Sequence,
    TypeVar,
    Union,
)

from devbox.box import pieces
from devbox.box.items import append
from devbox.box.kept import Kept

PART = ".devbox-part-"  # in the name of a file that is not whole yet; never fetched
_SHOWN = 5  # names of passed over files in the log
_EVERY = 0.1  # seconds between two progress reports
T = TypeVar("T")
#: argument values, typed as job.toml or service.toml declares them
Args = Dict[str, Any]


class Skip(Exception):
    """Raised inside `job.item`: this item needs nothing; it counts as skipped, not failed."""


class Failed(Exception):
    """Raised by a job's code for a reason that is told as it is, without where it was raised."""


class Job:
    """One run, as its code sees it.

    args:        argument values, typed as job.toml declares them.
    inputs:      input name → file or folder on the box.
    checkpoints: checkpoint name → path on the box.
    out:         the folder whose content is the run's result.
    id, attempt: the run's id, and 1 for the first try, 2 for the first retry and so on.
    suspects:    items that were under way together when this attempt's last worker crashed.

    `folder` is the run's own folder. A test may make a Job in any empty folder. In a run on several
    boxes it is a folder of one round of it, and kept is what they share.
    """

    def __init__(
        self,
        folder: Path,
        *,
        args: Optional[Mapping[str, object]] = None,
        inputs: Optional[Mapping[str, Path]] = None,
        checkpoints: Optional[Mapping[str, Path]] = None,
        patterns: Optional[Mapping[str, Sequence[str]]] = None,
        id: str = "run",
        attempt: int = 1,
        kept: Optional[Kept] = None,
    ) -> None:
        self.args: Args = dict(args or {})
        self.inputs: Dict[str, Path] = {k: Path(v) for k, v in (inputs or {}).items()}
        self.checkpoints: Dict[str, Path] = {k: Path(v) for k, v in (checkpoints or {}).items()}
        self.id = id
        self.attempt = attempt
        self.out = Path(folder) / "out"
        self.out.mkdir(parents=True, exist_ok=True)
        self.failed: List[str] = []
        #: names that `items` or `begin` was given
        self.announced: Dict[str, None] = {}
        self._folder = Path(folder)
        self._patterns = {k: tuple(v) for k, v in (patterns or {}).items()}
        self._kept = kept or Kept(Path(folder), attempt)
        self.suspects = self._kept.items.suspects
        self._lock = threading.Lock()
        self._reported_at = 0.0

    @property
    def scratch(self) -> Path:
        """A folder of the run that a retry finds as it was left; it is not fetched."""
        path = self._folder / "scratch"
        path.mkdir(exist_ok=True)
        return path

    @property
    def cancelled(self) -> bool:
        """The user asked to stop. `items` ends by itself; a long loop inside one item should
        look here and return. About ten seconds later the process is killed."""
        return self._kept.cancelled.is_set()

    def cancel(self) -> None:
        """Set `cancelled`. Called by the worker's signal handler."""
        self._kept.cancelled.set()

    def resident(
        self, key: str, make: Callable[[], T], close: Optional[Callable[[T], object]] = None
    ) -> T:
        """What `make` returns, made once in this process: a model that stays in memory over the
        rounds of a run on several boxes. `close` is called with it at the end of the process."""
        return self._kept.resident(key, make, close)

    def every(self, names: Iterable[str]) -> List[str]:
        """The names of all items that the result is to be named over: `names`, or on one of
        several boxes those of the whole input, in the same order on each of them."""
        return self._kept.every(names)

    def close(self) -> None:
        """Close what `resident` has made. Called by the worker after `run`."""
        self._kept.close()

    def files(self, name: str) -> List[Path]:
        """The files of an input, sorted: the file itself, or those in the folder (at any depth,
        without hidden ones) that match the patterns job.toml gives that input. The log names
        those that do not."""
        path = self.inputs[name]
        patterns = self._patterns.get(name) or ("*",)
        found, others = pieces.files(path, patterns)
        if others:
            names = ", ".join(str(file.relative_to(path)) for file in others[:_SHOWN])
            more = f" and {len(others) - _SHOWN} more" if len(others) > _SHOWN else ""
            self.log(f"passed over, for {name} takes {' '.join(patterns)}: {names}{more}")
        return found

    def named(self, name: str) -> Dict[str, Path]:
        """The same files by their path inside the input: names that no two of them share."""
        root = self.inputs[name]
        return {pieces.name_of(path, root): path for path in self.files(name)}

    def items(self, names: Iterable[str]) -> Iterator[str]:
        """The names that still need work, in order. Call it once, with every name: the run's
        total comes from it. What an earlier attempt has done or skipped is left out."""
        wanted = list(dict.fromkeys(str(name) for name in names))
        self.announced.update(dict.fromkeys(wanted))
        self._report({"total": self._kept.others + len(wanted)})
        for name in wanted:
            if self.cancelled:
                return
            if not self._kept.items.outcome(name):
                yield name

    def begin(self, name: str) -> float:
        """Record that work on an item begins, where parts of it run before its `item` block (see
        devbox.box.pipeline): a crash from now on may be this item's. Returns what `item` takes as
        `begun`."""
        begun = time.monotonic()
        self.announced[name] = None
        self._kept.items.begin(name)
        return begun

    @contextmanager
    def item(self, name: str, *, begun: Optional[float] = None) -> Iterator[None]:
        """Work on one item. An exception fails it, its traceback goes to the log, and the run
        continues. Done is recorded at the end of the block, after its outputs are written."""
        begun = self.begin(name) if begun is None else begun
        try:
            yield
        except Skip as reason:
            self._kept.items.settle(name, "skipped", time.monotonic() - begun, str(reason))
        except Exception as error:
            traceback.print_exc()
            if self.cancelled:
                return  # its tools were told to end as well: not the item's fault
            self.failed.append(name)
            why = f"{type(error).__name__}: {error}"
            self._kept.items.settle(name, "failed", time.monotonic() - begun, why)
        else:
            # Cancelled half-way: the block may have returned early, so it does not count as done.
            if not self.cancelled:
                self._kept.items.settle(name, "done", time.monotonic() - begun)

    def progress(
        self, done: float, total: Optional[float], unit: str = "items", message: str = ""
    ) -> None:
        """How far the run is, for the progress bar; total None when it is not known. Cheap to
        call for every frame. Without it the bar counts items."""
        now = time.monotonic()
        if now - self._reported_at < _EVERY and done != total:
            return
        self._reported_at = now
        self._report({"progress": [done, total], "unit": unit, "message": message})

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Name what is going on ("decode", "detect"); its seconds are summed into the run's
        timings."""
        begun = time.monotonic()
        self._report({"stage": name})
        try:
            yield
        finally:
            self._report({"stage": name, "seconds": round(time.monotonic() - begun, 6)})

    def log(self, message: str) -> None:
        """One line in the run's log."""
        print(message, flush=True)

    def write(self, path: str, content: Union[bytes, str]) -> Path:
        """Put a file into `out` in one step; `path` is relative to it. Returns where it is."""
        with self.output(path) as part:
            part.write_bytes(content.encode() if isinstance(content, str) else content)
        return self.out / path

    @contextmanager
    def output(self, path: str) -> Iterator[Path]:
        """For code that writes a file itself (a video writer): yields a temporary path with the
        same suffix; at the end of the block it becomes `path` inside `out`, on an exception it
        is removed. ValueError when `path` leaves `out`."""
        target = self._inside(path)
        if target.parent != self.out:
            target.parent.mkdir(parents=True, exist_ok=True)
            if not _is_within(target.parent, self.out):
                raise ValueError(f"output {path!r} leaves the output folder through a link")
        part = target.with_name(
            f".{target.stem[:40]}{PART}{os.getpid()}-{threading.get_ident()}{target.suffix}"
        )
        try:
            yield part
            with part.open("rb") as stream:
                os.fsync(stream.fileno())
            os.replace(part, target)
        except BaseException:
            with suppress(FileNotFoundError):
                part.unlink()
            raise

    def _inside(self, path: str) -> Path:
        pure = PurePosixPath(path)
        if not pure.parts or pure.is_absolute() or ".." in pure.parts or "\0" in str(path):
            raise ValueError(f"output {path!r} must be a relative path inside the output folder")
        return self.out / pure

    def _report(self, report: Mapping[str, object]) -> None:
        with self._lock:
            append(self._kept.reports, report)


def _is_within(path: Path, folder: Path) -> bool:
    real, base = os.path.realpath(path), os.path.realpath(folder)
    return real == base or real.startswith(base + os.sep)
