"""What a stop costs in data, as lines to read before it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec

from devbox.text import clean, size

if TYPE_CHECKING:
    from devbox.sync.unsaved import Group, Kind

SHOWN = 10
#: kind of group → (what its files are, how they are fetched when the save does not)
_TOLD: Mapping[Kind, tuple[str, str]] = {
    "only": ("only on it", "devbox sync down {box}"),
    "edited": ("newer on it than here", "devbox sync down {box}"),
    "conflict": ("changed on it and here", "devbox sync down {box} --force --path {file}"),
    "unnamed": (
        "synced, but not named by sync.down",
        "add them to down in devbox.toml, then: devbox sync down {box}",
    ),
    "held": (
        "held back, because programs here act on such files",
        "devbox sync down {box} --path {file}",
    ),
    "ignored": (
        "left out of syncs by ignore files, `exclude` or as secrets",
        "--fetch-ignored fetches these",
    ),
    "links": ("links that lead out of the folder", "make them again here"),
    "outside": ("outside the synced folder", "copy what you want: scp {alias}:{file} ."),
}


class Losses(msgspec.Struct, frozen=True):
    """What a stop that ends the disk of `box` costs in data. running, unfetched: ids of runs that
    it cuts off, and whose results are on the box alone. groups: files, by why they are not here.
    compared: says which files were looked at. unknown: why they could not be. saved: the kinds of
    group that are fetched before the stop, with the results of runs when `runs_saved`."""

    box: str
    alias: str = ""
    running: tuple[str, ...] = ()
    unfetched: tuple[str, ...] = ()
    groups: tuple[Group, ...] = ()
    compared: str = ""
    unknown: str = ""
    saved: tuple[str, ...] = ()
    runs_saved: bool = False

    @property
    def left(self) -> int:
        """Files that the stop loses although it saves first."""
        return sum(group.count for group in self.groups if group.kind not in self.saved)

    def lines(self) -> list[str]:
        """For the question before the stop."""
        lines = [f"{self.box}: run {run} has not ended: this ends it" for run in self.running]
        lines += self._runs()
        for group in self.groups:
            lines += self._group(group)
        if self.unknown:
            lines.append(f"{self.box}: {self.unknown}")
        elif self.compared and not self.groups:
            lines.append(f"{self.box}: found no file that is not here; {self.compared}")
        elif self.compared:
            lines.append(f"  {self.compared}")
        return lines

    def _runs(self) -> list[str]:
        how = "fetched first" if self.runs_saved else "devbox attach {}"
        lines = [
            f"{self.box}: the results of run {run} were never fetched ({how.format(run)})"
            for run in self.unfetched[:SHOWN]
        ]
        more = len(self.unfetched) - SHOWN
        return [*lines, f"  … nor those of {more} more (devbox runs)"] if more > 0 else lines

    def _group(self, group: Group) -> list[str]:
        what, how = _TOLD[group.kind]
        least = "" if group.complete else "at least "
        noun = "file" if group.count == 1 else "files"
        if group.kind in self.saved:
            end = "fetched first"
        else:
            file = shlex.quote(group.largest[0].path if group.largest else ".")
            end = "NOT fetched: " + how.format(box=self.box, alias=self.alias, file=file)
        lines = [f"{self.box}: {least}{group.count} {noun} {what}, {size(group.bytes)} ({end})"]
        lines += [f"  {clean(f.path, 200)}  {size(f.size)}" for f in group.largest[:SHOWN]]
        more = group.count - min(SHOWN, len(group.largest))
        return [*lines, f"  … and {more} more"] if more else lines
