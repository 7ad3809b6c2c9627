"""Reaching a box: shell, editor, forward; and the command line itself."""

from __future__ import annotations

import shlex
import subprocess
import sys
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from textual.app import SuspendNotSupported

from devbox.errors import DevboxError, NotFound, UsageError
from devbox.model import Box, Run
from devbox.tui import background, queries
from devbox.tui.operation_manager import Operation
from devbox.tui.panes.services import port_of
from devbox.tui.screens.ask import Prompt

if TYPE_CHECKING:
    from devbox.tui.app import Dashboard


async def shell(app: Dashboard) -> None:
    """The user's terminal becomes the box's until the shell ends."""
    from devbox.process import require
    from devbox.remote.command import argv

    box = _running(app)
    line = argv(box, tty=True)
    try:
        with app.suspend():
            print(f"— shell on {box.name}; its end leads back to the dashboard —", flush=True)
            subprocess.run([require(line[0]), *line[1:]], check=False)
    except SuspendNotSupported:
        app.tell(f"a shell needs a terminal: devbox ssh {box.name}", "warning")


async def command(app: Dashboard) -> None:
    """Any verb of the command line, in the user's terminal; as work where there is none."""
    line = await app.push_screen_wait(
        Prompt("Run devbox …", "a verb and its words, such as: checkpoints list", "", _verb)
    )
    words = _verb(line) if line else []
    if not words:
        return
    try:
        with app.suspend():
            argv = [sys.executable, "-P", "-m", "devbox.cli.main", *words]
            code = subprocess.run(argv, check=False, cwd=app.asks.start).returncode
            print(f"— exit code {code}; enter leads back to the dashboard —", flush=True)
            with suppress(EOFError, KeyboardInterrupt):
                input()
    except SuspendNotSupported:
        app.operations.start(f"devbox {line}", "", *words)
    app.feed.hurry([view.box.id for view in app.feed.views])


def _verb(line: str) -> list[str]:
    """The words of a verb. UsageError, ValueError for what is none."""
    words = shlex.split(line)
    words = words[1:] if words[:1] == ["devbox"] else words
    if not words or words[0] == "ui":
        raise UsageError("name a verb of the command line", fix="devbox --help lists all verbs")
    return words


async def editor(app: Dashboard) -> None:
    box = _running(app)
    link, opened = await background.call(lambda: app.asks.open_editor(box), "editor")
    app.tell(f"opening {link}" if opened else f"no editor was found; open this link: {link}")


async def forward(app: Dashboard) -> None:
    """Held open by this dashboard; `work` lists it and stops it."""
    from devbox.remote import forward as ssh_forward

    box = _running(app)
    service = app.panes[app.pane].run_view if app.pane == "services" else None
    port = str((service and port_of(service.run)) or 8888)
    line = await app.push_screen_wait(
        Prompt(f"Forward a port of {box.name}", "[LOCAL:]REMOTE, such as 8888", port,
               ssh_forward.parse)
    )  # fmt: skip
    if line:
        app.operations.add(held(box, line, service.run if service else None))


def held(box: Box, ports: str, service: Run | None = None) -> Operation:
    """A forward on a thread of its own, as work that can be stopped."""
    work = Operation(f"forward-{time.monotonic_ns()}", "forward", f"forward {box.name} {ports}",
                     box.name, time.time())  # fmt: skip
    leave = threading.Event()

    def ready(where: str) -> None:
        work.note = f"answers on {where}"
        work.lines.append(work.note)

    def hold() -> None:
        try:
            queries.forward(box, ports, ready, leave.is_set, service)
            work.finish("done", "ended")
        except DevboxError as error:
            work.error = {"what": error.what, "means": error.means, "fix": error.fix}
            work.finish("failed", error.what)

    thread = threading.Thread(target=hold, name="devbox-forward", daemon=True)
    work.stop, work.wait = leave.set, thread.join
    thread.start()
    return work


def _running(app: Dashboard) -> Box:
    from devbox.remote.preconditions import check_running

    if app.view is None:
        raise NotFound("no box is selected")
    check_running(app.view.box)
    return app.view.box
