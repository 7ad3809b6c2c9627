"""A process that has imported everything and forks once per verb, so that a trial costs no start.

One JSON request a line on stdin; two JSON lines answer it: {"pid"} at once, and {"code", "said"}
when the fork has ended: its exit status (negative: the signal), and what it wrote.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import fabric
import huggingface_hub
import modal
import modal_proto.api_pb2
import msgspec

import devbox.jobs.submit
import devbox.providers.docker.provider
import devbox.providers.hf.job
import devbox.providers.hf.space
import devbox.providers.host.provider
import devbox.providers.local.provider
import devbox.providers.modal.provider
from devbox import lifecycle, spec
from devbox.cli import net
from devbox.errors import DevboxError
from devbox.lifecycle.untracked import Strangers
from devbox.model import Box
from devbox.providers.base import Provider
from devbox.remote import agent
from devbox.remote.connection import connect
from devbox.workspace import Workspace
from tests.boxes import put
from tests.emulators.common import Clock
from tests.faults.points import Point
from tests.faults.tripwire import Tripwire

# The client libraries import parts of themselves lazily; a fork must not pay for that again.
_LOADED = (fabric.Connection, huggingface_hub.HfApi, huggingface_hub.SpaceHardware)
_LOADED_MODAL = (modal.Client, modal.Sandbox, modal.Image, modal_proto.api_pb2)

PROVIDERS: dict[str, type[Any]] = {
    "local": devbox.providers.local.provider.Local,
    "ssh": devbox.providers.host.provider.Host,
    "hf-space": devbox.providers.hf.space.HfSpace,
    "hf-job": devbox.providers.hf.job.HfJob,
    "modal": devbox.providers.modal.provider.Modal,
    "docker": devbox.providers.docker.provider.Docker,
}
# Waiting is politeness here: the emulators' faults count calls.
_LONGEST_WAIT = 0.05
NOTE = "work/kept.txt"


def main() -> None:
    spec.trust_file(Path(spec.FILE_NAME).absolute())
    for line in sys.stdin:
        request = json.loads(line)
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(reading)
            _child(request, writing)
        os.close(writing)
        _tell({"pid": pid})
        with os.fdopen(reading, "rb") as pipe:
            said = pipe.read()
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        _tell({"code": status, "said": json.loads(said) if said else None})


def _child(request: dict[str, Any], writing: int) -> NoReturn:
    """Do what is asked. Exit codes: 0 done, 1 a devbox error, 2 anything else."""
    code = 2
    os.set_inheritable(writing, False)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    trip = Tripwire(msgspec.convert(request["point"], Point | None))
    said: dict[str, Any] = {}
    try:
        ws = open_workspace(request["clock"], trip, request["provider"], request["trip"])
        said["result"] = _perform(ws, request["op"])
        code = 0
    except DevboxError as error:
        said["error"] = error.render()
        code = 1
    except BaseException as error:
        known = net.of_system(error) if isinstance(error, OSError) else None
        code = 1 if known else 2
        said["error"] = known.render() if known else f"{type(error).__name__}: {error}"
        import traceback

        said["trace"] = traceback.format_exc()
    said |= {"routes": trip.routes, "reached": trip.reached}
    os.write(writing, json.dumps(said).encode())
    os._exit(code)


def open_workspace(clock: list[float], trip: Tripwire, name: str, where: str | None) -> Workspace:
    """The workspace of the current folder in the emulator's time."""
    emulated = Clock(speed=clock[2], start=clock[0])
    emulated._origin = clock[1]
    loaded = spec.load(spec.find(Path.cwd()))
    provider: Provider = PROVIDERS[name](loaded.provider(name), clock=emulated.now)
    if where == "provider":
        trip.on_provider(provider)
    elif where == "person":
        trip.on_person()
    return Workspace(
        loaded,
        providers=[provider],
        clock=emulated.now,
        sleep=lambda seconds: time.sleep(min(seconds, _LONGEST_WAIT)),
    )


def _perform(ws: Workspace, op: str) -> Any:
    if op in ("pause", "down"):
        return getattr(lifecycle, op)(ws, ws.box("b"), save=False).state
    return _OPS[op](ws)


def _remember(ws: Workspace) -> None:
    with connect(ws.box("b")) as connection:
        put(connection, b"precious", NOTE)


def _recall(ws: Workspace) -> str:
    with connect(ws.box("b")) as connection:
        return connection.run(["cat", NOTE]).out


_AGENT = "sed 's/.*\"pid\":\\([0-9]*\\).*/\\1/' .devbox-box/agent.json"


def _kill_watchdog(ws: Workspace) -> int:
    """kill -9 of the box's agent; its pid."""
    with connect(ws.box("b")) as connection:
        pid = int(connection.run(["sh", "-c", _AGENT]).out)
        connection.run(["kill", "-KILL", str(pid)])
    return pid


def _watchdog(ws: Workspace) -> int:
    """The pid of the agent that answers for the box; an error when none does."""
    with connect(ws.box("b")) as connection:
        agent.verdict(connection)
        return int(connection.run(["sh", "-c", _AGENT]).out)


def _reconcile(ws: Workspace, wanted: Strangers = "list") -> list[Any]:
    (name,) = lifecycle.providers_in_use(ws)
    found = lifecycle.reconcile(ws, provider=name, wanted=wanted)
    return [msgspec.to_builtins(finding) for finding in found]


def look(ws: Workspace) -> dict[str, Any]:
    """Our record beside the provider's word, and the goals that are open."""
    box = ws.store.boxes.own("b", ws.here)
    if box is None:
        return {"box": None, "open": [], "seen": None, "bills": False}
    seen = None if not box.handle else ws.provider(box.provider).observe(box.handle)
    return {
        "box": str(box.state),
        "message": box.message,
        "handle": box.handle,
        "token": box.token,
        "open": [[i.goal, i.step] for i in ws.store.boxes.open_intents()],
        "seen": None if seen is None else {"state": str(seen.state), "billed": seen.billed},
        "bills": ws.store.ledger.current(box.id) is not None,
        "costs": _costs(ws, box),
    }


def _costs(ws: Workspace, box: Box) -> list[list[Any]]:
    return [
        [i.start, i.end, i.price.micro_per_hour, i.price.unit]
        for each in ws.store.boxes.all(over=True)
        if each.name == box.name
        for i in ws.store.ledger.of_box(each.id)
    ]


_OPS: dict[str, Callable[[Workspace], Any]] = {
    "up": lambda ws: lifecycle.up(ws, "b").state,
    "resume": lambda ws: lifecycle.resume(ws, ws.box("b")).state,
    "reconcile": _reconcile,
    "clear": lambda ws: _reconcile(ws, "remove"),
    "look": look,
    "remember": _remember,
    "recall": _recall,
    "kill watchdog": _kill_watchdog,
    "watchdog": _watchdog,
}


def _tell(answer: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
