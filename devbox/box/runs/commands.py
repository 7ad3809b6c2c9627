"""`devbox-box job …`: start, look after and follow runs on the box. One message on stdout.

    start                            a `JobRequest` on stdin → `JobAnswer`
    status ID                        → `JobAnswer`
    list [ID …]                      → `JobList`
    follow ID [--after CURSOR|tail] [--once]    → lines (devbox.box.runs.follow)
    cancel ID                        → `JobAnswer`, once it is over
    rounds ID                        a `RoundsAsked` on stdin → `RoundsAnswer`
    then                             → `ThenAnswer`: what the box does when a run has ended
    then pause|down ID, then none    order that, or take it back → `ThenAnswer`
    input prepare|finish KEY         → `InputAnswer`

What cannot be done: a `Refusal`, and exit code 1.
"""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from typing import Dict, Iterator, List, NamedTuple, Optional, Type, TypeVar, Union

from devbox.box import json_file, paths, processes
from devbox.box.runs import inputs, queue, rounds, then, turn
from devbox.box.runs.folder import BadRequest, RunFolder, active, all_runs
from devbox.box.runs.follow import follow
from devbox.box.runs.order import gpus
from devbox.box.runs.process_group import python_command
from devbox.box.watchdog import config
from devbox.wire.codec import Unreadable, decode, encode
from devbox.wire.jobs import (
    InputAnswer,
    JobAnswer,
    JobList,
    JobRequest,
    JobStatus,
    Refusal,
    RoundsAnswer,
    RoundsAsked,
    ThenAnswer,
)
from devbox.wire.messages import End

MAX_REQUEST = 4 << 20  # bytes
MAX_LISTED = 500
_START_PATIENCE = 60.0
# Seconds from now for which the ssh traffic is that of a computer which gives out rounds: until it
# asks again at the latest, and until it has fetched what is finished. One that is gone may leave a
# login behind, and the end after the run waits for it so long.
_ASKS, _FETCHES = 300.0, 900.0
Answer = Union[JobAnswer, JobList, RoundsAnswer, InputAnswer, ThenAnswer, Refusal]
M = TypeVar("M", bound=NamedTuple)
_ENDS: Dict[str, End] = {"pause": "pause", "down": "down"}


def main(argv: List[str]) -> int:
    try:
        if argv[:1] == ["follow"] and len(argv) > 1:
            after = argv[argv.index("--after") + 1] if "--after" in argv[:-1] else ""
            return follow(RunFolder(argv[1]), after, wait="--once" not in argv)
        answer, code = _answer(argv), 0
    except BadRequest as error:
        answer, code = error.refusal, 1
    sys.stdout.buffer.write(encode(answer))
    return code


def _answer(argv: List[str]) -> Answer:  # noqa: PLR0911 - one a verb
    verb, words = (argv[0] if argv else ""), argv[1:]
    if verb == "start" and not words:
        return JobAnswer(start(_read_request()), time.time())
    if verb == "list":
        folders = [RunFolder(word) for word in words] or all_runs()
        found = [folder.settled() for folder in folders[-MAX_LISTED:]]
        return JobList(tuple(status for status in found if status), time.time())
    if verb == "status" and len(words) == 1:
        return JobAnswer(RunFolder(words[0]).require(), time.time())
    if verb == "cancel" and len(words) == 1:
        return JobAnswer(cancel(RunFolder(words[0])), time.time())
    if verb == "rounds" and len(words) == 1:
        asked = _read(RoundsAsked, rounds.MAX_ASKED)
        return ask_rounds(RunFolder(words[0]), asked)
    if verb == "input" and words[:1] == ["prepare"] and len(words) == 2:
        return InputAnswer(inputs.prepare(words[1]))
    if verb == "input" and words[:1] == ["finish"] and len(words) == 2:
        return InputAnswer(inputs.finish(words[1]))
    if verb == "then" and (told := _then(words)):
        return told
    raise BadRequest(
        "bad_request", "usage: job start|status|list|follow|cancel|rounds|then|input …"
    )


def order(do: End, folder: RunFolder) -> ThenAnswer:
    """What the box does with itself once that run has ended: soon for one that has."""
    folder.require()
    then.give(do, folder.id)
    return ThenAnswer(do, folder.id)


def _then(words: List[str]) -> Optional[ThenAnswer]:
    if words in ([], ["none"]):
        return _told(then.take_back() if words else then.read(paths.root()))
    if len(words) == 2 and words[0] in _ENDS:
        return order(_ENDS[words[0]], RunFolder(words[1]))
    return None


def _told(found: Optional[then.Order]) -> ThenAnswer:
    return ThenAnswer(found.do, found.run) if found else ThenAnswer()


def start(request: JobRequest) -> JobStatus:
    """Start a run, or a further attempt of one; returns its status once it is running or queued."""
    folder = RunFolder(request.id)
    folder.settled()
    with _one_of_its_name(request), folder.lock():
        before = folder.status()
        if before is not None and before.attempt >= request.attempt:
            return before
        if before is not None and not before.is_over:
            raise BadRequest("conflict", f"run {folder.id} is still running")
        _require_places(request)
        _require_gpus(request)
        folder.out.mkdir(exist_ok=True)
        folder.cancel_mark.unlink(missing_ok=True)
        if request.secrets:  # not in the request, which stays: these are read once, then gone
            json_file.write(folder.path / "secrets.json", request.secrets)
        with queue.lock():
            queue.require_after(request)
            asked = request._replace(secrets={})
            json_file.write(folder.path / "request.json", asked, durable=True)
        # Ordered before it runs: cut off in between, the box stops all the same.
        earlier = then.give(request.then, folder.id) if request.then else None
        _spawn(folder)
        deadline = time.monotonic() + _START_PATIENCE
        while True:  # two starts at once: the supervisor that was first writes the status
            status = folder.status()
            if status is not None and status.attempt >= request.attempt:
                return status
            if time.monotonic() > deadline:
                if request.then:
                    then.put_back(earlier)
                raise BadRequest("conflict", _last_words(folder))
            time.sleep(0.02)


@contextmanager
def _one_of_its_name(request: JobRequest) -> Iterator[None]:
    """BadRequest when that service runs already."""
    if request.service is None:
        yield
        return
    with open(paths.root() / "services.lock", "ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for name in set(active()) - {request.id}:
            status = RunFolder(name).status()
            if status and status.service is not None and status.job == request.job:
                raise BadRequest("conflict", f"service {request.job} runs already as {name}")
        yield


def cancel(folder: RunFolder) -> JobStatus:
    """End a run with everything it started; returns its final status."""
    status = folder.require()
    if status.is_over:
        return status
    folder.cancel_mark.touch()
    if status.supervisor and processes.is_alive(status.supervisor):
        processes.send([status.supervisor.pid], signal.SIGTERM)
    while not status.is_over:
        time.sleep(0.05)
        status = folder.require()
    return status


def ask_rounds(folder: RunFolder, asked: RoundsAsked) -> RoundsAnswer:
    """Give a run rounds, or take back those that have not begun, and say how all of them are."""
    folder.require()
    if folder.request().spread is None:
        raise BadRequest("bad_request", f"run {folder.id} has no rounds")
    known = rounds.Rounds(folder)
    known.ask(asked)
    now, finished = time.time(), tuple(known.finished[asked.seen :])
    with suppress(OSError):  # on a full disk it counts as use, and nothing is lost
        config.own_traffic(paths.root(), now + (_FETCHES if finished else _ASKS))
    return RoundsAnswer(
        waiting=tuple(known.waiting),
        begun=tuple(known.begun),
        withdrawn=tuple(known.withdrawn),
        finished=finished,
        closed=known.closed,
        status=folder.require(),
        now=now,
    )


def _require_places(request: JobRequest) -> None:
    if request.spread and not paths.home(request.spread.names).is_file():
        what = f"the names of the batch are not on the box: {request.spread.names}"
        raise BadRequest("missing", what)
    for name, path in request.inputs.items():
        if not paths.home(path).exists():
            raise BadRequest("missing", f"input {name} is not on the box: {path}")


def _require_gpus(request: JobRequest) -> None:
    """BadRequest when it wants more GPUs than this box has. A driver that does not tell is waited
    for in the queue."""
    wanted = request.queue.gpus if request.queue else 0
    have = turn.gpus(request) if wanted else None
    if have is not None and have < wanted:
        what = f"the run asks for {gpus(wanted)}, and the box has {have or 'none'} to give"
        raise BadRequest("missing", what)


def _spawn(folder: RunFolder) -> None:
    """Start the supervisor so that it outlives this ssh session."""
    with open(folder.path / "supervisor.log", "ab") as errors:
        child = subprocess.Popen(
            python_command("runs.supervise", folder.id),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            cwd=os.path.sep,
            start_new_session=True,
        )
    assert child.stdout is not None
    child.stdout.readline()  # "ready", or nothing when it ended
    child.stdout.close()
    child.returncode = 0  # it continues without us


def _last_words(folder: RunFolder) -> str:
    with open(folder.path / "supervisor.log", "rb") as stream:
        text = stream.read()[-500:].decode(errors="replace").strip()
    return f"the run's supervisor did not come up: {text or 'it said nothing'}"


def _read_request() -> JobRequest:
    found = _read(JobRequest, MAX_REQUEST)
    if bool(found.module) == bool(found.command):
        raise BadRequest("bad_request", "a run has a module or a command")
    if found.spread and (found.service or found.spread.input in found.inputs):
        raise BadRequest("bad_request", "an input that comes in rounds is sent with each of them")
    return found


def _read(kind: Type[M], limit: int) -> M:
    """The message on stdin."""
    try:
        return decode(sys.stdin.buffer.read(limit + 1), kind, limit=limit)
    except Unreadable as error:
        raise BadRequest("bad_request", f"the request cannot be carried out: {error}") from None
