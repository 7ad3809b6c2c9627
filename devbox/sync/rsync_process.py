"""Running rsync: the command line, its output as it comes, a lost connection tried again."""

from __future__ import annotations

import os
import select
import shlex
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, NamedTuple

from devbox import process
from devbox.errors import DevboxError, SyncError, ToolMissing
from devbox.files import private_dir
from devbox.ignore.defaults import ARRIVING
from devbox.model import Box
from devbox.remote import command, refusal
from devbox.remote.config import ssh_config
from devbox.remote.exec import Exec
from devbox.sync import rsync_dialect
from devbox.sync.progress import Amount, Item, Newer, parse
from devbox.sync.rsync_dialect import Flavour
from devbox.text import clean

#: Waits before each further try, seconds. What was sent so far is kept and continued.
BACKOFF = refusal.WAITS[1:]
#: rsync's codes for a connection that broke: socket, protocol stream, a killed ssh (16), timeouts,
#: and ssh's own.
CUT = frozenset({10, 12, 16, 30, 35, refusal.FAILED})
_QUIET = 20.0  # seconds without a word from rsync after which its connection is looked at
_SILENT = 30  # of them: nothing came for as long as `--timeout` says
#: Files vanished or could not be read; everything else was done.
PARTLY = frozenset({23, 24})
_PROTOCOL = 2  # rsync's code for an answer that is not its protocol
#: What the box says on stderr before rsync starts there: it was reached.
_REACHED = "devbox: reached"
_PARTIAL = "files that were complete are in place; a partly sent one is kept and continued"
_MAX_LINE = 1 << 16
_STALE = 86400.0


class Lost(SyncError):
    """The connection broke and did not come back within the tries."""


class Job(NamedTuple):
    """One rsync run. up: towards the box. folder: on the box. filters: for --exclude-from.
    files: these paths alone, with what is inside those that are folders if `inside`. arriving:
    files on their way wait in a folder of their own (`defaults.ARRIVING`), so that one that a
    killed receiver leaves behind does not look like someone's. extra: further flags."""

    box: Box
    root: Path
    folder: str
    up: bool
    filters: bytes = b""
    files: Sequence[bytes] | None = None
    inside: bool = False
    arriving: bool = False
    extra: tuple[str, ...] = ()


class Outcome(NamedTuple):
    """items, newer: all tries together, each path once. code: 0, or one of PARTLY. said: the end
    of what rsync complained about. tries: how often it was started."""

    items: dict[bytes, Item]
    newer: set[bytes]
    code: int
    said: str
    tries: int

    def plus(self, other: Outcome) -> Outcome:
        """Both runs as one. Code 23 of either counts, also beside 24."""
        return Outcome(
            self.items | other.items,
            self.newer | other.newer,
            min(filter(None, (self.code, other.code)), default=0),
            "\n".join(filter(None, (self.said, other.said))),
            self.tries + other.tries - 1,
        )


def run(
    job: Job,
    *,
    sleep: Callable[[float], None],
    narrate: Callable[[str], None],
    on_output: Callable[[Item | Amount | None], None] = lambda _: None,
    backoff: Sequence[float] = BACKOFF,
) -> Outcome:
    """Run it to the end, again after each cut. on_output gets what rsync reports, and None when
    the connection was lost. SyncError, or SshError for a box that cannot be reached at all."""
    program = process.require("rsync")
    items: dict[bytes, Item] = {}
    newer: set[bytes] = set()
    reached = False
    with tempfile.TemporaryDirectory(prefix="devbox-sync-") as scratch, _arriving(job):
        argv = arguments(job, program, rsync_dialect.detect(program), Path(scratch))
        for tries in range(1, len(backoff) + 2):
            code, said = _once(job.box, argv, items, newer, on_output)
            reached = reached or _REACHED in said
            said = said.replace(_REACHED, "").strip()
            # A box that never answered is not waited for long: it is paused, or gone.
            most = len(backoff) if reached else min(1, len(backoff))
            if code not in CUT or tries > most or refusal.is_final(refusal.error(job.box, said)):
                break
            if code == _SILENT:
                ssh_config.abandon(job.box)
            on_output(None)
            wait = backoff[tries - 1]
            narrate(
                f"connection to {job.box.name} lost; trying again in {wait:g} s "
                f"({tries} of {most}), what was sent is kept"
            )
            sleep(wait)
    if code and code not in PARTLY:
        raise _failed(job.box, code, said, tries, reached)
    return Outcome(items, newer, code, said, tries)


def arguments(job: Job, program: str, kind: Flavour, scratch: Path) -> list[str]:
    """The command line. Writes the filter and file lists into `scratch`. Nothing a user or a
    box named is read as an option: paths are absolute or follow 'alias:'."""
    argv = [program, *kind.flags(), *([] if job.up else kind.receiving()), *job.extra]
    argv += [f"--temp-dir={ARRIVING}"] if job.arriving else []
    argv += ["-e", command.rsh(), f"--rsync-path={_there(job)}"]
    if job.filters:
        (scratch / "filters").write_bytes(job.filters)
        argv.append(f"--exclude-from={scratch / 'filters'}")
    if job.files is not None:
        if not job.inside:
            argv[1] = argv[1].replace("r", "", 1)
        (scratch / "files").write_bytes(b"".join(path + b"\0" for path in job.files))
        argv.append(f"--files-from={scratch / 'files'}")
    here, there = f"{job.root}/", kind.remote(job.box.alias, f"{job.folder}/")
    return [*argv, *((here, there) if job.up else (there, here))]


def _there(job: Job) -> str:
    """What to run on the box: rsync, after its folders were made. One round trip instead of two,
    and it works with an rsync without --mkpath. `sh -c` because the login shell may be any."""
    script = f"echo {_REACHED} >&2; "
    if job.up:
        # It stays there: making and removing it each time would cost more than an idle sync.
        folder = shlex.quote(f"{job.folder}/{ARRIVING}" if job.arriving else job.folder)
        script += f"[ -d {folder} ] || mkdir -p -- {folder} && "
    script += 'exec rsync "$@"'
    return f"sh -c {shlex.quote(script)} rsync"


@contextmanager
def _arriving(job: Job) -> Iterator[None]:
    """The same on this machine, where it receives."""
    if job.up or not job.arriving:
        yield
        return
    folder = private_dir(job.root / ARRIVING)
    try:
        yield
    finally:
        for left in folder.iterdir():
            if time.time() - left.lstat().st_mtime > _STALE:
                left.unlink()
        with suppress(OSError):  # in use, by a sync of another box
            folder.rmdir()


def _once(
    box: Box,
    argv: Sequence[str],
    items: dict[bytes, Item],
    newer: set[bytes],
    on_output: Callable[[Item | Amount | None], None],
) -> tuple[int, str]:
    # stderr goes to a file: a ControlMaster that ssh leaves behind may hold a pipe open.
    # Under the C locale rsync escapes every byte that is not ASCII, and numbers are plain.
    env = {**os.environ, "LC_ALL": "C"}
    with (
        tempfile.TemporaryFile() as errors,
        subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, env=env
        ) as running,
    ):
        try:
            assert running.stdout
            for line in _lines(running.stdout, lambda: _require_answer(box, running.pid)):
                found = parse(line)
                if isinstance(found, Newer):
                    newer.add(found.path)
                    continue
                if isinstance(found, Item) and not found.folder:
                    items[found.path] = found
                if found:
                    on_output(found)
            code = running.wait()
        except _Hangs:
            _stop(running)
            code = _SILENT
        except BaseException:
            _stop(running)
            raise
        errors.seek(0)
        said = errors.read(1 << 16).decode(errors="replace")
    return code, clean(said.strip(), 4000)


def _stop(running: subprocess.Popen[bytes]) -> None:
    """Ctrl-C or an error of ours: rsync puts the half-sent file aside, then ends."""
    if running.poll() is None:
        running.send_signal(signal.SIGINT)
    try:
        running.wait(timeout=5)
    except subprocess.TimeoutExpired:
        running.kill()


class _Hangs(Exception):
    """The shared connection does not answer."""


def _require_answer(box: Box, rsync: int) -> None:
    """_Hangs, with rsync's ssh ended, where the shared connection is stuck. rsync's own timeout is
    no help: once all is sent it waits for its ssh without one."""
    if not ssh_config.hangs(box):
        return
    import psutil  # why: it is seldom needed, and up waits for what this module imports

    with suppress(psutil.Error):  # why: it has ended meanwhile
        for child in psutil.Process(rsync).children():
            child.kill()
    raise _Hangs


def _lines(stream: IO[bytes], quiet: Callable[[], None]) -> Iterator[bytes]:
    """Pieces ended by CR or LF as they come; one longer than any name is dropped. quiet: called
    each time nothing came for `_QUIET` seconds."""
    rest = b""
    while True:
        if not select.select([stream], [], [], _QUIET)[0]:
            quiet()
            continue
        block = os.read(stream.fileno(), 1 << 16)
        if not block:
            break
        *whole, rest = (rest + block).replace(b"\r", b"\n").split(b"\n")
        yield from whole
        rest = rest if len(rest) <= _MAX_LINE else b""
    if rest:
        yield rest


def _failed(box: Box, code: int, said: str, tries: int, reached: bool) -> DevboxError:
    tail = said[-600:] or f"rsync ended with code {code}"
    if code == 127:
        return ToolMissing(
            f"box {box.name} has no rsync", fix=f"devbox exec {box.name} apt-get install -y rsync"
        )
    if code in CUT:
        means = _PARTIAL if reached else "nothing was changed there"
        again = f"devbox status {box.name}; then run the sync again"
        error = refusal.error(box, tail, means=means, fix=again)
        if not reached or refusal.is_final(error):
            return error
    if code in CUT:
        return Lost(
            f"the connection to {box.name} kept breaking ({tries} tries): {tail}",
            means=_PARTIAL,
            fix=f"devbox status {box.name}; then run the sync again",
        )
    if code == _PROTOCOL and (noise := _noise(box)):
        return SyncError(
            f"rsync cannot talk to {box.name}: {noise}", means="nothing was changed there"
        )
    return SyncError(f"rsync ended with code {code}: {tail}", fix=f"devbox doctor {box.name}")


def _noise(box: Box) -> str:
    """What the login shell of the box prints, if that is what broke the protocol."""
    asked = Exec(box)
    asked.run(["true"], timeout=30, check=False)
    return command.noise_in(asked.noise)
