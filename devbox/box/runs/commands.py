"""`devbox-box job …`: start, look after and follow runs on the box. Answers are JSON on stdout.

    start                            request JSON on stdin → status
    status ID                        → status
    list [ID …]                      → {"runs": [status, …]}, newest last
    follow ID [--after CURSOR|tail] [--once]
    cancel ID                        → status, once it is over
    input prepare|finish KEY         → {"complete": bool}

A request: {"v": 1, "id", "job", "attempt": 1, "module" | "command": [...], "template": bool,
"extra": [], "args": {}, "inputs": {name: path}, "patterns": {name: [...]}, "checkpoints":
{name: path}, "env": {}, "packages": [], "vram": bytes, "workdir": path, "timeout": s | null,
"grace": s}. Paths are absolute or relative to the login folder. template: replace {name} in the
command; extra: further words for it, taken as they are. Starting the same id and attempt again
changes nothing. Every answer holds "now", the box's clock. Errors: {"error": {"kind",
"message"}} and exit code 1.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from typing import Any, Dict, List, Optional

from devbox.box import processes
from devbox.box.runs import inputs
from devbox.box.runs.folder import OVER, BadRequest, RunFolder, all_runs, write_json
from devbox.box.runs.follow import follow
from devbox.box.runs.process_group import python_command
from devbox.box.runs.worker import home

MAX_REQUEST = 4 << 20  # bytes
MAX_LISTED = 500
GRACE = 10.0  # seconds between SIGTERM and SIGKILL
_START_PATIENCE = 60.0
# field → (type, value when left out)
_FIELDS: Dict[str, Any] = {
    "module": (str, ""),
    "command": (list, []),
    "template": (bool, False),
    "extra": (list, []),
    "args": (dict, {}),
    "inputs": (dict, {}),
    "patterns": (dict, {}),
    "checkpoints": (dict, {}),
    "fetch": (dict, {}),
    "secrets": (dict, {}),
    "env": (dict, {}),
    "packages": (list, []),
    "workdir": (str, "work"),
    "attempt": (int, 1),
    "vram": (int, 0),
    "grace": ((int, float), GRACE),
}


def main(argv: List[str]) -> int:
    try:
        if argv[:1] == ["follow"] and len(argv) > 1:
            after = argv[argv.index("--after") + 1] if "--after" in argv[:-1] else ""
            return follow(RunFolder(argv[1]), after, wait="--once" not in argv)
        print(json.dumps({**_answer(argv), "now": time.time()}))
        return 0
    except BadRequest as error:
        answer = {"v": 1, "error": {"kind": error.kind, "message": str(error)}}
        print(json.dumps({**answer, "now": time.time()}))
        return 1


def _answer(argv: List[str]) -> Dict[str, Any]:
    verb, words = (argv[0] if argv else ""), argv[1:]
    if verb == "start" and not words:
        return start(_read_request())
    if verb == "list":
        folders = [RunFolder(word) for word in words] or all_runs()
        found = [folder.settled() for folder in folders[-MAX_LISTED:]]
        return {"v": 1, "runs": [status for status in found if status]}
    if verb == "status" and len(words) == 1:
        return RunFolder(words[0]).require()
    if verb == "cancel" and len(words) == 1:
        return cancel(RunFolder(words[0]))
    if verb == "input" and words[:1] == ["prepare"] and len(words) == 2:
        return inputs.prepare(words[1])
    if verb == "input" and words[:1] == ["finish"] and len(words) == 2:
        return inputs.finish(words[1])
    raise BadRequest("bad_request", "usage: job start|status|list|follow|cancel|input …")


def start(request: Dict[str, Any]) -> Dict[str, Any]:
    """Start a run, or a further attempt of one; returns its status once it is running."""
    request = normal(request)
    folder = RunFolder(request["id"])
    folder.settled()
    with folder.lock():
        before = folder.status()
        if before is not None and before["attempt"] >= request["attempt"]:
            return before
        if before is not None and before["state"] not in OVER:
            raise BadRequest("conflict", f"run {folder.id} is still running")
        _require_places(request)
        folder.out.mkdir(exist_ok=True)
        folder.cancel_mark.unlink(missing_ok=True)
        secrets = request.pop("secrets")
        if secrets:  # not in the request, which stays: these are read once, then gone
            write_json(folder.path / "secrets.json", secrets)
        write_json(folder.path / "request.json", request)
        _spawn(folder)
        deadline = time.monotonic() + _START_PATIENCE
        while True:  # two starts at once: the supervisor that was first writes the status
            status = folder.status()
            if status is not None and status["attempt"] >= request["attempt"]:
                return status
            if time.monotonic() > deadline:
                raise BadRequest("conflict", _last_words(folder))
            time.sleep(0.02)


def cancel(folder: RunFolder) -> Dict[str, Any]:
    """End a run with everything it started; returns its final status."""
    status = folder.require()
    if status["state"] in OVER:
        return status
    folder.cancel_mark.touch()
    if processes.is_alive(status["supervisor"]):
        processes.send([status["supervisor"]["pid"]], signal.SIGTERM)
    while status["state"] not in OVER:
        time.sleep(0.05)
        status = folder.require()
    return status


def normal(request: Any) -> Dict[str, Any]:
    """The request with every field present and of its type. BadRequest says which is not."""
    if not isinstance(request, dict) or request.get("v") != 1:
        raise BadRequest("bad_request", "the request is not version 1: update devbox")
    found = dict(request)
    for field, (kind, default) in _FIELDS.items():
        found.setdefault(field, default)
        if not isinstance(found[field], kind) or (kind is int and found[field] is True):
            raise BadRequest("bad_request", f"{field} has the wrong type")
    if not isinstance(found.get("job"), str) or bool(found["module"]) == bool(found["command"]):
        raise BadRequest("bad_request", "a run has a job name, and a module or a command")
    timeout: Optional[Any] = found.setdefault("timeout", None)
    if timeout is not None and (isinstance(timeout, bool) or not isinstance(timeout, (int, float))):
        raise BadRequest("bad_request", "timeout has the wrong type")
    words = [*found["command"], *found["extra"], *found["packages"], found["workdir"]]
    for field in ("env", "inputs", "checkpoints", "secrets"):
        words += [*found[field].keys(), *found[field].values()]
    for word in words:
        if not isinstance(word, str) or "\0" in word or not _encodes(word):
            raise BadRequest("bad_request", "words, paths and variables are text without NUL")
    if any(not name or "=" in name for name in found["env"]):
        raise BadRequest("bad_request", "a variable's name is not empty and holds no '='")
    if any(package.startswith("-") for package in found["packages"]):
        raise BadRequest("bad_request", "a package does not begin with '-'")
    return found


def _encodes(word: str) -> bool:
    try:
        word.encode()
    except UnicodeEncodeError:
        return False
    return True


def _require_places(request: Dict[str, Any]) -> None:
    for name, path in request["inputs"].items():
        if not home(path).exists():
            raise BadRequest("missing", f"input {name} is not on the box: {path}")


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
    child.returncode = 0  # it goes on without us


def _last_words(folder: RunFolder) -> str:
    with open(folder.path / "supervisor.log", "rb") as stream:
        text = stream.read()[-500:].decode(errors="replace").strip()
    return f"the run's supervisor did not come up: {text or 'it said nothing'}"


def _read_request() -> Any:
    data = sys.stdin.buffer.read(MAX_REQUEST + 1)
    if len(data) > MAX_REQUEST:
        raise BadRequest("bad_request", "the request is over 4 MB")
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise BadRequest("bad_request", "the request is not JSON") from error
