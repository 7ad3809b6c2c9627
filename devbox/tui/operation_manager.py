"""What the dashboard started and has under way. Each is a verb of the command line in a process of
its own that continues when the dashboard ends; the next one finds it in DEVBOX_HOME/operations."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Literal, TypedDict

from devbox import paths
from devbox.box import processes
from devbox.files import private_dir
from devbox.model import Box
from devbox.text import clean
from devbox.wire.codec import decode
from devbox.wire.messages import Identity

#: in the folder of each: what was started, what it says (see cli/event_log.py), which process it is
REQUEST, LOG, OWNER = "request.json", "log.jsonl", "process.json"
_KEPT = 40  # folders of finished operations
_LINES = 500
_MOMENT = 10.0  # seconds

State = Literal["running", "done", "failed"]


class Message(TypedDict, total=False):
    """One line of a log, with the keys of one kind (`cli.event_log`). progress: done, total."""

    say: str
    progress: tuple[float, float]
    note: str
    step: str
    done: str
    error: dict[str, str]


class Operation:
    """One thing under way. kind: its verb. summary: its result, or the error's text. share: 0 to 1,
    None where there is no measure. stop, wait: set for what this program itself holds, such as a
    forward."""

    def __init__(self, key: str, kind: str, title: str, box: str, began: float) -> None:
        self.key, self.kind, self.title, self.box, self.began = key, kind, title, box, began
        self.state: State = "running"
        self.summary = ""
        self.note = ""
        self.share: float | None = None
        self.lines: deque[str] = deque(maxlen=_LINES)
        self.error: dict[str, str] = {}
        self.ended: float | None = None
        self.stop: Callable[[], None] | None = None
        self.wait: Callable[[float], None] | None = None
        self.process: subprocess.Popen[bytes] | None = None
        self.owner: Identity | None = None
        self.read = 0
        self.rest = b""

    def concerns(self, box: Box) -> bool:
        """`box` holds how it was named: its `ref`, or its name where that was all there was."""
        return self.box in (box.ref, box.name)

    def take(self, message: Message) -> None:
        """One line of its log."""
        if "say" in message:
            self.note = clean(str(message["say"]), 500)
            self.lines.append(self.note)
        elif "progress" in message:
            done, total = message["progress"]
            self.share = done / total if total else None
            self.note = clean(str(message.get("note", "")), 200)
        elif "step" in message:
            self.note = clean(str(message["step"]), 60)
        elif "done" in message:
            self.finish("done", clean(str(message["done"]), 500))
        elif "error" in message:
            self.error = {k: clean(str(v), 1000) for k, v in message["error"].items()}
            self.lines += [text for text in self.error.values() if text]
            self.finish("failed", self.error.get("what", ""))

    def finish(self, state: State, summary: str) -> None:
        self.state, self.summary = state, summary
        self.share = None
        self.ended = time.time()


class Operations:
    """changes counts up with everything that becomes another."""

    clock = staticmethod(time.time)

    def __init__(self, start: Path) -> None:
        self._start = start
        self._folder = private_dir(paths.home() / "operations")
        self.all: dict[str, Operation] = {}
        self.changes = 0
        self._untold: dict[str, Operation] = {}
        self._adopt()

    def start(self, title: str, box: str, *words: str) -> Operation:
        """Begin `devbox WORDS`; it is a process before this returns. box: what names the box it
        is for."""
        key = f"{time.time():.3f}-{uuid.uuid4().hex[:6]}"
        folder = self._folder / key
        folder.mkdir(mode=0o700)
        operation = Operation(key, words[0], title, box, time.time())
        request = {"v": 2, "kind": words[0], "title": title, "box": box, "began": operation.began}
        (folder / REQUEST).write_text(json.dumps(request))
        (folder / REQUEST).chmod(0o600)
        command = [sys.executable, "-P", "-m", "devbox.cli.main", "--events", str(folder), *words]
        with (folder / "errors.txt").open("wb") as errors:
            operation.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=errors,
                stderr=errors,
                cwd=self._start,
                start_new_session=True,
            )
        return self.add(operation)

    def add(self, operation: Operation) -> Operation:
        self.all[operation.key] = self._untold[operation.key] = operation
        self.changes += 1
        return operation

    def running(self, box: str | None = None) -> list[Operation]:
        found = [o for o in self.all.values() if o.state == "running"]
        return found if box is None else [o for o in found if o.box == box]

    def recent(self) -> set[str]:
        """What named the boxes (`Box.ref`, or a name) that something was under way for until a
        moment ago."""
        now = self.clock()
        return {o.box for o in self.all.values() if o.ended is None or now - o.ended < _MOMENT}

    def pids(self) -> list[int]:
        """Processes that continue without us."""
        return [o.process.pid for o in self.running() if o.process]

    def poll(self) -> list[Operation]:
        """Read what is new; those that ended since the last time, also by themselves."""
        ended = []
        for operation in list(self._untold.values()):
            if operation.state == "running" and self._read(operation):
                self.changes += 1
            if operation.state == "running" and self._is_over(operation):
                self._read(operation)
                if operation.state == "running":
                    self._died(operation)
                self.changes += 1
            if operation.state != "running":
                ended.append(self._untold.pop(operation.key))
                if operation.process:
                    operation.process.wait()
        return ended

    def stop(self, operation: Operation) -> None:
        """Ask it to end. What it had begun stays in the journal."""
        if operation.stop:
            operation.stop()
        elif operation.process:
            operation.process.terminate()
        elif operation.owner and processes.is_alive(operation.owner):
            os.kill(operation.owner.pid, signal.SIGTERM)

    def _read(self, operation: Operation) -> bool:
        try:
            with (self._folder / operation.key / LOG).open("rb") as stream:
                stream.seek(operation.read)
                data = stream.read(1 << 20)
        except OSError:
            return False
        operation.read += len(data)
        *lines, operation.rest = (operation.rest + data).split(b"\n")
        for line in lines:
            with suppress(ValueError, TypeError, AttributeError):
                operation.take(json.loads(line))
        return bool(lines)

    def _is_over(self, operation: Operation) -> bool:
        if operation.stop:
            return False
        if operation.process:
            return operation.process.poll() is not None
        return not processes.is_alive(operation.owner)

    def _died(self, operation: Operation) -> None:
        said = ""
        with suppress(OSError):
            said = (self._folder / operation.key / "errors.txt").read_text(errors="replace")[-2000:]
        operation.lines += clean(said, 2000).splitlines()
        operation.finish("failed", "it ended without a word; devbox reconcile finishes it")

    def _adopt(self) -> None:
        """What an earlier dashboard left running; and the oldest finished ones go."""
        if not self._folder.is_dir():
            return
        folders = sorted(path for path in self._folder.iterdir() if path.is_dir())
        over = []
        for folder in folders:
            try:
                owner = decode((folder / OWNER).read_bytes(), Identity)
                request = json.loads((folder / REQUEST).read_text())
            except (OSError, ValueError):
                over.append(folder)
                continue
            if not processes.is_alive(owner):
                over.append(folder)
                continue
            operation = Operation(
                folder.name, request["kind"], request["title"], request["box"], request["began"]
            )
            operation.owner = owner
            self.add(operation)
        for folder in over[:-_KEPT]:
            shutil.rmtree(folder, ignore_errors=True)
