"""What the dashboard looks up for a user: blocking questions over the same functions as the
command line, each run by `background.call`. Nothing here changes a box."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from devbox.errors import DevboxError
from devbox.model import Box, Offer, Run
from devbox.text import dollars, size
from devbox.tui.feed import BoxView

if TYPE_CHECKING:
    from devbox.lifecycle import Stop
    from devbox.spec import BoxSpec, JobSpec
    from devbox.sync.status import Difference
    from devbox.templates import Template
    from devbox.tui.ledger_view import Costs
    from devbox.wire.messages import Check
    from devbox.workspace import Workspace

LogKind = Literal["run", "box", "build"]


class Choice(NamedTuple):
    """A box that could be brought up, with what its provider offers: cheapest first, and which of
    them the spec chooses. why: why there is none. pauses: its watchdog will be able to pause it,
    or to end it where it `ends`. ceiling: something will keep its max_uptime."""

    name: str
    wanted: BoxSpec
    offers: list[Offer]
    chosen: Offer | None
    why: str
    pauses: bool = True
    ceiling: bool = True
    ends: bool = False


class Asks:
    """start: the folder whose devbox.toml counts; it is read again where it may have changed."""

    def __init__(self, start: Path) -> None:
        self.start = start

    def editor(self) -> str:
        return self._open().spec.editor

    def names(self) -> list[tuple[str, BoxSpec]]:
        """The boxes of devbox.toml."""
        return list(self._open().spec.boxes.items())

    def templates(self) -> list[Template]:
        """What a devbox.toml can be made from; empty where there is one already."""
        from devbox import spec, templates

        return [] if spec.find(self.start) else templates.catalogue()

    def write_template(self, name: str) -> list[Path]:
        from devbox import templates

        return templates.write(templates.get(name), self.start)

    def choice(self, name: str) -> Choice:
        """Offers and prices for one box of devbox.toml."""
        from devbox import lifecycle
        from devbox.money.fit import best
        from devbox.money.offers import select
        from devbox.providers.base import CanPause

        ws = self._open()
        name, wanted = ws.spec.box(name)
        offers: list[Offer] = []
        pauses, ceiling, ends = True, True, False
        try:
            provider = ws.provider(wanted.provider)
            found = lifecycle.guards_for(ws, wanted)
            pauses, ceiling = found.pauses, found.ceiling
            ends = not isinstance(provider, CanPause)
            offers = select(provider.offers_for(wanted))
            chosen, why = best(provider, wanted), ""
        except DevboxError as error:
            chosen, why = None, error.what
        return Choice(name, wanted, offers, chosen, why, pauses, ceiling, ends)

    def before_stop(self, box: Box, verb: str) -> Stop:
        """What `verb` on the box means and would lose, and what it fetches first."""
        from devbox import lifecycle

        return lifecycle.before_stop(self._open(), box, verb)

    def own(self, boxes: list[Box]) -> list[Box]:
        """Those of them that belong to this folder's project."""
        here = self._open().here
        return [box for box in boxes if here.has(box)]

    def saved_before_pause(self, boxes: list[Box]) -> list[Box]:
        from devbox import lifecycle

        ws = self._open()
        return [box for box in boxes if lifecycle.is_saved_before_pause(ws, box)]

    def difference(self, box: Box) -> Difference:
        from devbox.sync import status

        return status.status(self._open(), box)

    def costs(self) -> Costs:
        from devbox.tui import ledger_view

        return ledger_view.costs(self._open())

    def jobs(self) -> dict[str, JobSpec]:
        from devbox.jobs import catalogue

        return catalogue.all_jobs(self._open().spec)

    def check_words(self, job: JobSpec, words: list[str]) -> None:
        """UsageError when the job would refuse these words."""
        from devbox.jobs import arguments

        arguments.parse(job, words)

    def doctor(self, box: Box | None) -> list[Check]:
        from devbox import doctor

        ws = self._open()
        return doctor.box(ws, box) if box else doctor.laptop(ws)

    def open_editor(self, box: Box) -> tuple[str, bool]:
        """The link, and whether an editor took it."""
        from devbox.remote import editor
        from devbox.remote.config import include

        which = editor.editor(self.editor())
        path = editor.workdir(box)
        include.install()
        return editor.link(which, box, path), editor.open_in(which, box, path)

    def logs(self, kind: LogKind, box: Box, run: Run | None) -> Iterator[str]:
        """Lines of a log as they come, for as long as someone reads. Untrusted text."""
        if kind == "run":
            return self._run_log(run)
        return self._provider_log(kind, box)

    def _run_log(self, run: Run | None) -> Iterator[str]:
        from devbox.jobs.follow import Ended, Line, Note, follow

        if run is None:
            yield "no run on this box yet"
            return
        ws = self._open()
        for message in follow(ws, run, wait=not run.state.is_over):
            match message:
                case Line(text, end, dropped):
                    if dropped:
                        yield f"… {size(dropped)} were dropped here …"
                    if end != "\r":
                        yield text
                case Note(text):
                    yield f"— {text}"
                case Ended(ended, _):
                    yield f"— run {ended.id} {ended.state}"

    def _provider_log(self, kind: LogKind, box: Box) -> Iterator[str]:
        from devbox.providers.base import HasBuildLogs, HasRunLogs

        provider = self._open().provider_of(box)
        if kind == "build" and isinstance(provider, HasBuildLogs):
            yield from provider.build_logs(box.handle, follow=True)
        elif kind == "box" and isinstance(provider, HasRunLogs):
            yield from provider.run_logs(box.handle, follow=True)
        else:
            yield f"boxes of {box.provider} have no {kind} log"

    def _open(self) -> Workspace:
        from devbox.workspace import Workspace

        return Workspace.open(self.start)


def bill(view: BoxView) -> list[str]:
    """What a box costs and has cost, for a dialog."""
    if not view.costing:
        return [view.may or "it costs nothing now"]
    lines = [f"it costs {dollars(view.micro, per_hour=True)} ({view.box.price.source})"]
    if view.spends:
        lines.append(f"spent today: {dollars(view.today)}")
    return lines


def forward(box: Box, ports: str, ready: Callable[[str], None], stop: Callable[[], bool]) -> None:
    """Hold a forward open until `stop`; `ready` gets where it answers. Runs on a thread."""
    from devbox.remote import forward as ssh_forward
    from devbox.remote.preconditions import check_running

    wish = ssh_forward.parse(ports)
    check_running(box)
    with ssh_forward.opened(box, wish):
        ready(f"127.0.0.1:{wish.local}")
        while not stop():
            time.sleep(0.1)
