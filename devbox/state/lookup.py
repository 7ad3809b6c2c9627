"""Which box a name means: a box belongs to the project it was made from, and a name is looked up
in the project of the current folder first. NAME, PROJECT/NAME and FOLDER/NAME are taken."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from typing import NamedTuple

from devbox import names
from devbox.errors import Conflict, NotFound, UsageError
from devbox.model import Box
from devbox.text import clean, nearest

_FILE = "devbox.toml"
_LONGEST = 40


class Here(NamedTuple):
    """Where a name is typed. root: the project's folder, absolute and resolved. project: its
    name. inside: there is a devbox.toml at or above the current folder. boxes: the names in
    it."""

    root: str
    project: str
    inside: bool = True
    boxes: tuple[str, ...] = ()

    def has(self, box: Box) -> bool:
        """Whether `box` belongs to this project. One whose folder is not known, or has no
        devbox.toml any more (the project was moved), belongs to the project of its name."""
        if box.root == self.root:
            return True
        return box.project == self.project and not (
            box.root and os.path.isfile(os.path.join(box.root, _FILE))
        )

    def own(self, found: Sequence[Box]) -> Box | None:
        """This project's one of several boxes of a name: a live one first, then the latest."""
        mine = [box for box in found if self.has(box)]
        return min(mine, key=lambda b: (b.state.is_over, b.root != self.root), default=None)


def parts(asked: str) -> tuple[str, str]:
    """(owner, name) of what was typed; owner is '', a project's name or an absolute folder.
    UsageError when it is no such thing."""
    owner, slash, name = asked.rpartition("/")
    if not slash:
        return "", names.name(asked)
    names.name(name)
    if owner[:1] in ("", ".", "~", "/"):
        if not owner.isprintable():
            raise UsageError(f"{clean(owner, 60)!r} is not a usable folder")
        return os.path.realpath(os.path.expanduser(owner or "/")), name
    return names.name(owner, "project name"), name


def choose(
    found: Sequence[Box], owner: str, name: str, here: Here, live_names: Sequence[str] = ()
) -> Box:
    """The one of `found` (all of this name: live ones first, then the latest) that is meant.
    Raises as `Boxes.pick`. live_names: what a name that is not found may have been meant as."""
    if owner:
        found = [box for box in found if owner in (box.root, box.project)]
    own = None if owner else here.own(found)
    live = [box for box in found if not box.state.is_over]
    if own and (here.inside or not own.state.is_over):
        return own
    if len(live) > 1:
        raise _ambiguous(name, live)
    if live and (owner or not here.inside):
        return live[0]
    if live:
        raise _elsewhere(live[0], here)
    if found and (owner or not here.inside):
        return found[0]
    asked = f"{owner}/{name}" if owner else name
    raise NotFound(
        f"there is no box {clean(asked, 200)}", fix=_instead(owner, name, here, live_names)
    )


def _instead(owner: str, name: str, here: Here, live_names: Sequence[str]) -> str:
    if owner:
        return "devbox ls --all shows all boxes"
    if name in here.boxes:
        return f"make it with: devbox up {name}"
    if close := nearest(name, [*live_names, *here.boxes]):
        return f"did you mean {close}? devbox ls shows all boxes"
    if here.boxes:
        return f"devbox ls shows all boxes; {_FILE} has {', '.join(here.boxes)}"
    return "devbox ls shows all boxes; a new project begins with: devbox init"


def only(live: Sequence[Box], here: Here) -> Box:
    """The one live box of this project; outside any project, of all. NotFound otherwise."""
    own = [box for box in live if here.has(box)] if here.inside else list(live)
    if len(own) == 1:
        return own[0]
    known = ", ".join(box.name for box in own) or "none"
    others = [box for box in live if box not in own]
    if others:
        known += "; of other projects: " + ", ".join(box.qualified for box in others)
    raise NotFound(f"name a box (live boxes: {known})", fix="devbox ls shows all boxes")


def free_slug(box: Box, taken: Collection[str]) -> str:
    """A valid name that no live box has: its own, else with its project's in front, else with a
    part of its id."""
    joined = f"{box.project or 'x'}-{box.name}"
    for slug in (box.name, joined, f"{joined[: _LONGEST - 5]}-{box.id[:4]}"):
        if len(slug) <= _LONGEST and slug not in taken:
            return slug
    return f"{box.name[: _LONGEST - 9].rstrip('-')}-{box.id[:8]}"


def _elsewhere(box: Box, here: Here) -> Conflict:
    owner = f"project {clean(box.project, 60)}" if box.project else "no project"
    return Conflict(
        f"{box.name} is a box of {owner} ({clean(box.root, 200) or 'folder unknown'}), "
        f"not of {clean(here.project, 60)} ({clean(here.root, 200)})",
        means="nothing was done",
        fix=f"name it as {box.ref if box.project == here.project else box.qualified}",
    )


def _ambiguous(name: str, live: Sequence[Box]) -> Conflict:
    told = ", ".join(f"{box.qualified} ({clean(box.root, 200) or 'no folder'})" for box in live)
    by_folder = len({box.project for box in live}) < len(live)
    form = f"FOLDER/{name}" if by_folder else f"PROJECT/{name}"
    return Conflict(
        f"several projects have a box {name}: {told}",
        means="nothing was done",
        fix=f"say which one, as {form}; or type it in that project's folder",
    )
