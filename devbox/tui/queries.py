"""What the dashboard looks up for a user: blocking questions over the same functions as the
command line, each run by `background.call`. Nothing here changes a box."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import msgspec

from devbox.errors import DevboxError
from devbox.model import Box, Offer, Run
from devbox.text import dollars, duration, size
from devbox.tui.feed import BoxView

if TYPE_CHECKING:
    from devbox.lifecycle import Stop
    from devbox.spec import BoxSpec, JobSpec
    from devbox.sync.status import Difference
    from devbox.templates import NewBox
    from devbox.tui.ledger_view import Costs
    from devbox.wire.messages import Check
    from devbox.workspace import Workspace

LogKind = Literal["run", "box", "build"]
_TAIL = 64 * 1024  # bytes
_TAIL_LINES = 500


class Choice(NamedTuple):
    """A box that could be brought up, with what its provider offers: cheapest first, and which of
    them the spec chooses. why: why there is none. pauses: its watchdog will be able to pause it,
    or to end it where it `ends`. ceiling: something will keep its max_uptime. limit: dollars above
    which the user is asked."""

    name: str
    wanted: BoxSpec
    offers: list[Offer]
    chosen: Offer | None
    why: str
    pauses: bool = True
    ceiling: bool = True
    ends: bool = False
    limit: float | None = None


class Runnable(NamedTuple):
    """A job or a service that can be started. own: the project's."""

    job: JobSpec
    is_service: bool
    own: bool


class Asks:
    """start: the folder whose devbox.toml counts; it is read again where it may have changed."""

    def __init__(self, start: Path) -> None:
        self.start = start

    def editor(self) -> str:
        return self._open().spec.editor

    def names(self) -> list[tuple[str, BoxSpec]]:
        """The boxes of devbox.toml."""
        return list(self._open().spec.boxes.items())

    def free_name(self) -> str:
        """A name for a new box: the folder's, or one that devbox.toml does not have yet."""
        from devbox import spec

        taken, first = self._open().spec.boxes, spec.project_name(self.start)
        more = (f"{first}-{number}" for number in range(2, len(taken) + 3))
        return next(name for name in (first, *more) if name not in taken)

    def providers(self) -> list[str]:
        from devbox.providers import registry

        return list(registry.NAMES)

    def offers(self, provider: str) -> list[Offer]:
        """All hardware of a provider, cheapest first; unknown prices last."""
        from devbox.money.offers import select
        from devbox.spec import BoxSpec

        return select(self._open().provider(provider).offers_for(BoxSpec(provider=provider)))

    def add_box(self, name: str, new: NewBox) -> None:
        """Write a new box into devbox.toml; the comments in it stay."""
        from devbox import spec, templates

        file = spec.find(self.start)
        if file:
            templates.add(new, name, file)
        else:
            templates.create(new, self.start, name)

    def wakes(self, box: Box) -> list[str]:
        """What a box that is not up will cost when it is resumed."""
        from devbox import spec
        from devbox.money import projection
        from devbox.money.fit import best

        ws = self._open()
        wanted = spec.decode_box(box.spec)
        if box.hardware:
            wanted = msgspec.structs.replace(wanted, hardware=box.hardware)
        try:
            limits = ws.project_of(box).budget
            offer = best(ws.provider_of(box), wanted)
        except DevboxError as error:
            before = dollars(box.price.micro_per_hour, per_hour=True)
            return [f"price unknown: {error.what}", f"it was {before} when it last ran"]
        price = dollars(offer.price.micro_per_hour, per_hour=True)
        found = projection.projected(limits, offer.price, wanted.max_uptime)
        lines = [
            f"{box.hardware or offer.hardware.name} at {price} ({offer.price.source})",
            f"for {duration(wanted.max_uptime)} (max_uptime): {dollars(found.micro)}",
        ]
        return [*lines, found.question] if found.question else lines

    def resizes(self, box: Box) -> Choice:
        """The hardware that a box can move to, and which it has. ProviderError where it keeps
        what it has."""
        from devbox import lifecycle, spec
        from devbox.money.offers import select

        ws = self._open()
        lifecycle.require_can_resize(ws, box)
        wanted = spec.decode_box(box.spec)
        offers = select(ws.provider_of(box).offers_for(wanted))
        chosen = next((each for each in offers if each.hardware.name == box.hardware), None)
        return Choice(box.name, wanted, offers, chosen, "")

    def choice(self, name: str) -> Choice:
        """Offers and prices for one box of devbox.toml."""
        from devbox import lifecycle
        from devbox.money.fit import best
        from devbox.money.offers import select
        from devbox.providers.abilities import CanPause

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
        limit = ws.spec.budget.ask_above
        return Choice(name, wanted, offers, chosen, why, pauses, ceiling, ends, limit)

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

    def jobs(self) -> list[Runnable]:
        """Jobs and services: the project's own before the bundled ones."""
        from devbox.jobs import catalogue
        from devbox.services import catalogue as services

        config = self._open().spec
        found = [
            *(Runnable(job, False, job.name in config.jobs)
              for job in catalogue.all_jobs(config).values()),
            *(Runnable(one, True, one.name in config.services)
              for one in services.all_services(config).values()),
        ]  # fmt: skip
        return sorted(found, key=lambda each: not each.own)

    def url_of(self, run: Run) -> str:
        """Where a service answers on this computer; '' where it does not."""
        from devbox.services import reach

        return reach.url_of(run)

    def log_tail(self, run: Run) -> list[str]:
        """The end of a run's log: of its box, or of what was fetched from it."""
        from devbox.jobs import fetch
        from devbox.jobs.follow import Line, follow

        ws = self._open()
        if batch := ws.store.batches.get(run.id):
            from collections import deque

            from devbox.scale.logs import log_lines

            return list(deque(log_lines(ws, batch, wait=False), _TAIL_LINES))
        fetched = fetch.default_folder(ws, run) / fetch.NOTES / "log.txt"
        if run.state.is_over and fetched.is_file():
            with fetched.open("rb") as stream:
                stream.seek(max(0, fetched.stat().st_size - _TAIL))
                return stream.read(_TAIL).decode(errors="replace").splitlines()
        messages = follow(ws, run, after="tail", wait=False)
        return [each.text for each in messages if isinstance(each, Line) and each.end != "\r"]

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
        from devbox.providers.abilities import HasBuildLogs, HasRunLogs

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


def forward(
    box: Box,
    ports: str,
    ready: Callable[[str], None],
    stop: Callable[[], bool],
    service: Run | None = None,
) -> None:
    """Hold a forward open until `stop`; `ready` gets where it answers. That of a service is noted,
    as `devbox serve` does, opened again when it is cut, and on another local port where none was
    named and that is in use. Runs on a thread."""
    from devbox.remote import forward as ssh_forward
    from devbox.remote.preconditions import check_running
    from devbox.services.reach import Reach

    wish = ssh_forward.parse(ports)
    check_running(box)
    if service:
        with Reach(box, service, wish.remote, wish=wish.local, fixed=":" in ports) as link:
            ready(link.url)
            while not stop():
                link.see_to()
                time.sleep(0.1)
        return
    with ssh_forward.opened(box, wish):
        ready(f"127.0.0.1:{wish.local}")
        while not stop():
            time.sleep(0.1)
