"""The Sync tab: what is here and not there, the other way round, and a transfer under way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from devbox.errors import DevboxError
from devbox.model import Box, BoxState
from devbox.text import duration, size
from devbox.text_layout import Line, bar, percent, plain
from devbox.tui import background
from devbox.tui.operation_manager import Operation
from devbox.tui.panes.base import Page, Seen

if TYPE_CHECKING:
    from devbox.sync.status import Difference, Differing, File

_SHOWN = 200


class SyncPane(Page):
    """The comparison is made when it opens and after every sync; `ctrl+r` makes it again."""

    _found: Difference | None = None
    _of: str | None = None
    _at = 0.0
    _asking = False
    _failed = ""
    _synced = 0

    def draw(self, seen: Seen, width: int) -> list[Line]:
        assert seen.view
        box = seen.view.box
        syncs = [o for o in seen.operations.all.values() if o.kind == "sync" and o.concerns(box)]
        done = sum(o.state != "running" for o in syncs)
        if self._of != box.id or done != self._synced:
            self._synced = done
            self.ask(seen)
        lines = [line for operation in syncs[-1:] for line in transfer(operation)]
        if self._failed:
            lines.append([(f" {plain(self._failed, 400)}", "bad")])
        if self._found is None:
            text = " comparing …" if self._asking else f" {box.name} is {box.state}"
            return [*lines, [(text, "dim")]]
        age = max(0.0, seen.now - self._at)
        return [*lines, *difference(self._found, age)]

    def opened(self, seen: Seen) -> None:
        if seen.view and (self._of != seen.view.box.id or seen.now - self._at > 30):
            self.ask(seen)
        super().opened(seen)

    def ask(self, seen: Seen) -> None:
        """Compare both sides."""
        assert seen.view
        box = seen.view.box
        if self._of != box.id:
            self._found, self._failed = None, ""
        self._of = box.id
        if box.state is BoxState.RUNNING and not self._asking:
            self._asking = True
            self.run_worker(self._compare(seen, box))

    async def _compare(self, seen: Seen, box: Box) -> None:
        try:
            found = await background.call(lambda: seen.asks.difference(box), "compare")
            if self._of == box.id:
                self._found, self._failed, self._at = found, "", seen.feed.clock()
        except DevboxError as error:
            if self._of == box.id:
                self._failed = f"{error.what} ({error.fix})" if error.fix else error.what
        finally:
            self._asking = False
        self.refresh_from(seen._replace(now=seen.feed.clock()))


def transfer(operation: Operation) -> list[Line]:
    """A sync under way, or how the last one ended."""
    if operation.state != "running":
        good = operation.state == "done"
        shape, style = ("✔", "good") if good else ("✖", "bad")
        return [[(f" {shape} {operation.title}: {operation.summary}", style)], []]
    share = None if operation.share is None else operation.share * 100
    line: Line = [(f" {operation.title}  ", "bold"), *bar(share, 24, style="info")]
    return [[*line, (f" {percent(share)}  {operation.note}", "")], []]


def difference(found: Difference, age: float) -> list[Line]:
    here, there, both = found.only_here, found.only_there, found.differing
    head: Line = [
        (f" {plain(found.root)}", "bold"),
        (" ⇄ ", "accent"),
        (plain(found.folder), "bold"),
    ]
    head.append((f"   compared {duration(age)} ago", "dim"))
    if found.in_step:
        return [head, [(" ✔ the synced files are in step", "good")], *_ignored(found)]
    return [
        head,
        *_files(f"Only on the box, not here: {len(there)} ({_size(there)})", "warn bold", there),
        *_differing(both),
        *_files(f"Only here, not on the box: {len(here)} ({_size(here)})", "info bold", here),
        *_ignored(found),
    ]


def _files(title: str, style: str, files: Sequence[File]) -> list[Line]:
    if not files:
        return []
    rows: list[Line] = [[], [(f" {title}", style)]]
    rows += [
        [(f" {size(file.size):>10}  ", "dim"), (plain(file.path, 1000), "")]
        for file in files[:_SHOWN]
    ]
    if len(files) > _SHOWN:
        rows.append([(f"            … and {len(files) - _SHOWN} more", "dim")])
    return rows


def _differing(files: Sequence[Differing]) -> list[Line]:
    if not files:
        return []
    rows: list[Line] = [[], [(f" Not the same on both sides: {len(files)}", "accent bold")]]
    for file in files[:_SHOWN]:
        newer = "newer here" if file.newer == "here" else "newer on the box"
        rows.append([(f" {newer:>16}  ", "dim"), (plain(file.path, 1000), "")])
    return rows


def _ignored(found: Difference) -> list[Line]:
    if not found.ignored_there:
        return []
    text = f" {len(found.ignored_there)} more on the box are left out by your ignore files"
    return [[], [(text, "dim")]]


def _size(files: Sequence[File]) -> str:
    return size(sum(file.size for file in files))
