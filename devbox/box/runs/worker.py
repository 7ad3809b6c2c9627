"""The process that does a run's work: prepares, then runs the job's module or becomes the command.

Started by the supervisor in the run's own session. Exit codes of a module job: 0 all well,
3 some items failed, 1 it raised, 4 it could not be prepared. A job with an environment of its own
is prepared by the box's Python; this process then becomes that environment's.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import traceback
from functools import partial
from pathlib import Path
from typing import Callable, Dict, List, Mapping

from devbox.box import environment, json_file, packages, paths, processes
from devbox.box.environment import EnvironmentMissing
from devbox.box.job import Failed, Job
from devbox.box.kept import Kept
from devbox.box.runs import command_round, vram
from devbox.box.runs.command_line import fill, variables
from devbox.box.runs.folder import RunFolder
from devbox.box.runs.part import Part
from devbox.box.runs.process_group import python_command
from devbox.box.service import Service
from devbox.wire.codec import Unreadable
from devbox.wire.jobs import TOKEN, JobRequest, ServiceRequest

_LAST = 3.0  # seconds of the grace that a service keeps for its own end
FAILED_ITEMS, RAISED, UNPREPARED = 3, 1, 4


def main(argv: List[str]) -> int:
    """argv: the run's id; a further word says that all is prepared."""
    processes.die_with_parent()
    folder = RunFolder(argv[0])
    if argv[1:]:
        sys.path.append(os.getcwd())
        return _run_module(folder, folder.request(), _handed(argv[2]))
    extra, python = None, ""
    try:
        request = folder.request()
        os.chdir(workdir(request))
        if request.environment:
            python = environment.provide(request.environment, _say, more=request.packages)
        else:
            extra = packages.provide(request.packages, _say)
    except (OSError, Unreadable, packages.PackagesMissing, EnvironmentMissing) as error:
        return _fail(folder, str(error), UNPREPARED)
    token = _take_token(folder, request)
    lacking = _lacks_memory(request.vram)
    if lacking:
        return _fail(folder, lacking, UNPREPARED)
    if request.checkpoints and subprocess.call(python_command("checkpoints.provide", folder.id)):
        return UNPREPARED  # it has said why
    if python:
        _enter(python)
    if request.command:
        return _become(folder, request, [str(extra)] if extra else [])
    if python:
        passed = _hand(token)
        command = python_command("runs.worker", folder.id, "prepared", passed, python=python)
        os.execv(python, command)  # noqa: S606
    # Behind the box half, before what the box has: the job's own packages; last the workdir.
    sys.path[1:1] = [str(extra)] if extra else []
    sys.path.append(os.getcwd())
    return _run_module(folder, request, token)


def environ(folder: RunFolder, request: JobRequest, attempt: int) -> Dict[str, str]:
    """What every process of a run finds in its environment."""
    mark, _, value = folder.mark.partition("=")
    return {
        "PYTHONUNBUFFERED": "1",
        **os.environ,
        **request.env,
        **variables(_inputs(request)),
        mark: value,
        "DEVBOX_RUN_ID": folder.id,
        "DEVBOX_ATTEMPT": str(attempt),
        "DEVBOX_OUT": str(folder.out),
        "DEVBOX_EVENTS": str(folder.reports),
    }


def workdir(request: JobRequest) -> Path:
    """Where the work runs; made when missing."""
    path = paths.home(request.workdir)
    path.mkdir(parents=True, exist_ok=True)
    return path


def _enter(python: str) -> None:
    """What this process becomes finds that environment, and no packages but its own."""
    for name in ("PYTHONPATH", "PYTHONHOME"):
        os.environ.pop(name, None)
    binaries = os.path.dirname(python)
    os.environ["VIRTUAL_ENV"] = os.path.dirname(binaries)
    os.environ["PATH"] = os.pathsep.join([binaries, os.environ.get("PATH", os.defpath)])


def _become(folder: RunFolder, request: JobRequest, extra: List[str]) -> int:
    command = list(request.command)
    port = ""
    if request.service:
        port = _claim_port(request.service.port, may_choose="{port}" in " ".join(command))
        if not port:
            taken = f"port {request.service.port} of the box is taken"
            return _fail(folder, f"{taken}: end what listens there, or set another", UNPREPARED)
        _report(folder, {"port": int(port)})
        os.environ.update(DEVBOX_PORT=port, DEVBOX_SERVED=str(folder.served))
    if request.template:
        known = {**_inputs(request), **_places(request), "out": folder.out}
        places = {name: str(path) for name, path in known.items()}
        places.update({"port": port} if port else {})
        command = fill(command, request.args, places)
    command += request.extra
    if extra:
        rest = os.environ.get("PYTHONPATH")
        os.environ["PYTHONPATH"] = os.pathsep.join(extra + ([rest] if rest else []))
    if request.spread:
        return _run_rounds(folder, request, partial(command_round.run, request))
    # Python ignores these; a program that inherited that would not die of a closed pipe.
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    try:
        os.execvp(command[0], command)  # noqa: S606
    except FileNotFoundError:
        return _fail(folder, f"{command[0]}: command not found on the box", 127)
    except OSError as error:
        return _fail(folder, f"{command[0]}: {error.strerror}", 126)


def _claim_port(wanted: int, *, may_choose: bool) -> str:
    """A port that nobody listens at now: the one wanted, else any if it may be; "" if not."""
    from devbox.box.services import serve

    with serve.listen(wanted) as sock:
        port = sock.getsockname()[1]
    return str(port) if port == wanted or may_choose else ""


def _take_token(folder: RunFolder, request: JobRequest) -> str:
    """A public service's, which is then gone from the disk."""
    if request.service is None or not request.service.expose:
        return ""
    file = folder.path / "secrets.json"
    given = json_file.read(file) or {}
    rest = {name: value for name, value in given.items() if name != TOKEN}
    json_file.write(file, rest) if rest else file.unlink(missing_ok=True)
    return str(given.get(TOKEN) or "")


def _hand(token: str) -> str:
    """Put it into a pipe for what this process becomes: no argument or environment holds it."""
    reader, writer = os.pipe()
    with open(writer, "w") as stream:
        stream.write(token)
    os.set_inheritable(reader, True)
    return str(reader)


def _handed(descriptor: str) -> str:
    with open(int(descriptor)) as stream:
        return stream.read()


def _run_service(folder: RunFolder, request: JobRequest, wanted: ServiceRequest, token: str) -> int:
    from devbox.box.services import serve

    if wanted.expose and not token:
        return _fail(folder, "the token of the public service did not arrive", UNPREPARED)
    service = Service(args=request.args, checkpoints=_places(request))
    try:
        sock = serve.listen(wanted.port, public=wanted.expose)
    except OSError:
        taken = f"port {wanted.port} of the box is taken, and the service is public there"
        return _fail(folder, f"{taken}: end what listens there", UNPREPARED)
    with sock:
        _report(folder, {"port": sock.getsockname()[1]})
        try:
            serve.run(
                request.module,
                service,
                sock,
                health=wanted.health,
                served=folder.served,
                drain=request.grace - _LAST,
                token=token,
            )
        except Exception as error:
            return _raised(folder, error)
        finally:
            _report_vram(folder)
    if service.failed:
        _report(folder, {"error": service.failed[:500]})
    return RAISED if service.failed else 0


def _inputs(request: JobRequest) -> Dict[str, Path]:
    return {name: paths.home(path) for name, path in request.inputs.items()}


def _places(request: JobRequest) -> Dict[str, Path]:
    return {name: paths.home(path) for name, path in request.checkpoints.items()}


def _run_module(folder: RunFolder, request: JobRequest, token: str) -> int:
    if request.service:
        return _run_service(folder, request, request.service, token)
    if request.spread:
        try:
            work = importlib.import_module(request.module).run
        except Exception as error:
            return _raised(folder, error)
        return _run_rounds(folder, request, lambda job, *_: work(job))
    job = Job(
        folder.path,
        args=request.args,
        inputs=_inputs(request),
        checkpoints=_places(request),
        patterns={name: list(each) for name, each in request.patterns.items()},
        id=folder.id,
        attempt=_attempt(),
    )
    signal.signal(signal.SIGTERM, lambda *_: job.cancel())
    try:
        importlib.import_module(request.module).run(job)
    except Failed as error:
        return _fail(folder, str(error), RAISED)
    except Exception as error:
        return _raised(folder, error)
    finally:
        job.close()
        _report_vram(folder)
    return FAILED_ITEMS if job.failed else 0


def _run_rounds(
    folder: RunFolder, request: JobRequest, work: Callable[[Job, Kept, Path], None]
) -> int:
    try:
        well = Part(folder, request, _attempt(), _inputs(request), work).run()
    except Exception as error:
        return _raised(folder, error)
    finally:
        _report_vram(folder)
    return 0 if well else FAILED_ITEMS


def _attempt() -> int:
    return int(os.environ.get("DEVBOX_ATTEMPT", "1"))


def _lacks_memory(wanted: int) -> str:
    """Why the GPUs of this box are too small for the job; "" when they are not, or do not tell."""
    have = vram.total() if wanted else None
    if have is None or have >= wanted:
        return ""
    gigabytes = f"{wanted / (1 << 30):.0f} GB of GPU memory"
    if not have:
        return f"the job needs a GPU with {gigabytes}, and this box has none"
    return f"the job needs {gigabytes}, and this box has {have / (1 << 30):.0f} GB"


def _report_vram(folder: RunFolder) -> None:
    """torch knows the exact peak of what it held; sampling from outside may miss it."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return
    peak = sum(torch.cuda.max_memory_reserved(i) for i in range(torch.cuda.device_count()))
    _report(folder, {"vram": int(peak)})


def _say(text: str) -> None:
    print(text, flush=True)


def _fail(folder: RunFolder, message: str, code: int) -> int:
    print(message, file=sys.stderr, flush=True)
    _report(folder, {"error": message[:500]})
    return code


def _raised(folder: RunFolder, error: Exception) -> int:
    traceback.print_exception(type(error), error, error.__traceback__)
    return _fail(folder, f"{type(error).__name__}: {error}", RAISED)


def _report(folder: RunFolder, report: Mapping[str, object]) -> None:
    with folder.reports.open("ab") as stream:
        stream.write(json.dumps(report).encode() + b"\n")
