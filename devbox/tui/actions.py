"""Every action of the dashboard with its key, in one list. Bindings, the command palette, the
help screen, the footer and docs/dashboard.md are made from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, NamedTuple

from textual.binding import Binding

from devbox.tui.fleet import SORTS

PANES = {"load": "Load", "jobs": "Jobs", "logs": "Logs", "sync": "Sync", "cost": "Cost",
         "events": "Events"}  # fmt: skip


class Action(NamedTuple):
    """id: also the binding's, for the keymap. keys: comma-separated. handler: the function of
    `handlers` that is called with the dashboard and `args`. changes: it changes a box, files or
    money, and is off with --readonly. footer: shown at the bottom. pane: the tab that it acts on,
    opened first."""

    id: str
    keys: str
    handler: str
    label: str
    tooltip: str
    group: str
    changes: bool = False
    footer: bool = False
    args: tuple[int | str, ...] = ()
    pane: str = ""


_BOXES = (
    Action("up", "u", "boxes.up", "Up", "Bring a box up: a new one, or finish what was begun",
           "Boxes", changes=True, footer=True),
    Action("pause", "z", "boxes.pause", "Pause",
           "Stop paying; says first what is kept and what would be lost", "Boxes", changes=True,
           footer=True),
    Action("resume", "w", "boxes.resume", "Resume", "Bring a paused box back", "Boxes",
           changes=True),
    Action("keep", "h", "boxes.keep", "Keep", "Hold off the idle pause for a while", "Boxes",
           changes=True),
    Action("terminate", "ctrl+d", "boxes.terminate", "Terminate",
           "End a box permanently; asks, and says what is lost", "Boxes", changes=True,
           footer=True),
    Action("reconcile", "ctrl+e", "boxes.reconcile", "Reconcile",
           "Compare with the providers and finish what a crash left open", "Boxes", changes=True),
    Action("doctor", "x", "boxes.doctor", "Doctor",
           "Check the selected box, or this computer without one", "Boxes"),
)  # fmt: skip
_CONNECT = (
    Action("shell", "s", "connect.shell", "Shell",
           "Open a shell on the box; the dashboard waits meanwhile", "Connect", changes=True,
           footer=True),
    Action("editor", "e", "connect.editor", "Editor", "Open the box's work folder in your editor",
           "Connect", changes=True),
    Action("forward", "f", "connect.forward", "Forward",
           "Make a port of the box answer on this computer", "Connect"),
)  # fmt: skip
_FILES = (
    Action("sync", "y", "boxes.sync", "Sync",
           "Send what changed here, or fetch what changed there", "Files", changes=True,
           footer=True),
)  # fmt: skip
_JOBS = (
    Action("run", "r", "jobs.run", "Run job", "Fill in a job's form and run it on the box", "Jobs",
           changes=True, footer=True),
    Action("cancel", "c", "jobs.cancel", "Cancel run", "End the selected run; what it did is kept",
           "Jobs", changes=True),
    Action("retry", "a", "jobs.retry", "Retry run", "Run again what failed or is missing", "Jobs",
           changes=True),
    Action("fetch", "o", "jobs.fetch", "Fetch outputs", "Bring what the run made to this computer",
           "Jobs", changes=True),
)  # fmt: skip
_LOOK = (
    Action("details", "enter,d", "look.details", "Details", "Go to the selected box's details",
           "Look"),
    Action("back", "escape", "look.back", "Back", "Leave the filter, the search or the details",
           "Look"),
    Action("filter", "slash", "look.filter_", "Filter",
           "Filter the fleet; search while in the logs", "Look", footer=True),
    Action("logs", "l", "look.logs", "Logs", "Follow the box's logs", "Look", footer=True),
    Action("log_source", "v", "look.log_source", "Log source", "Next log: run, box, build", "Look",
           pane="logs"),
    Action("follow", "full_stop", "look.follow", "Follow",
           "Follow the end of the log, or hold still", "Look", pane="logs"),
    Action("match_next", "n", "look.match", "Next match", "Next match of the search in the log",
           "Look", args=(1,), pane="logs"),
    Action("match_previous", "b", "look.match", "Previous match", "Previous match in the log",
           "Look", args=(-1,), pane="logs"),
    Action("window", "t", "look.window", "Chart window", "Charts of 5 minutes or of the last hour",
           "Look", pane="load"),
    Action("which_gpu", "g", "look.which_gpu", "Which GPU",
           "Charts of all GPUs together, or of one", "Look", pane="load"),
    Action("display", "p", "look.display", "Pause display",
           "Hold the screen still; everything continues", "Look"),
    Action("refresh", "ctrl+r", "look.refresh", "Refresh",
           "Ask the providers, connect what is cut", "Look"),
    Action("work", "m", "look.work", "Work", "What is under way, and its output", "Look"),
)  # fmt: skip
_MOVE = (
    Action("down", "j,down", "look.move", "Down", "Next row", "Move", args=(1,)),
    Action("up_row", "k,up", "look.move", "Up", "Previous row", "Move", args=(-1,)),
    Action(
        "page_down", "pagedown,ctrl+f", "look.page", "Page down", "A page on", "Move", args=(1,)
    ),
    Action("page_up", "pageup,ctrl+b", "look.page", "Page up", "A page back", "Move", args=(-1,)),
    Action("first", "home", "look.first", "First", "First row", "Move"),
    Action("last", "end", "look.last", "Last", "Last row", "Move"),
    Action("mark", "space", "look.mark", "Mark", "Mark the box, to act on several at once", "Move"),
    Action("unmark", "ctrl+u", "look.unmark", "Unmark all", "Take all marks away", "Move"),
    Action(
        "next_pane",
        "right_square_bracket",
        "look.pane_step",
        "Next tab",
        "Next tab of the details",
        "Move",
        args=(1,),
    ),
    Action(
        "previous_pane",
        "left_square_bracket",
        "look.pane_step",
        "Previous tab",
        "Previous tab",
        "Move",
        args=(-1,),
    ),
    *(
        Action(
            f"pane_{name}", str(number), "", f"{title} tab", f"The {title} tab", "Move", pane=name
        )
        for number, (name, title) in enumerate(PANES.items(), 1)
    ),
)
_SORT = tuple(
    Action(f"sort_{column.key}", column.letter, "look.sort", f"Sort by {column.title.lower()}",
           f"Sort by {column.title.lower()}; press again to reverse", "Sort",
           args=(column.key,))
    for column in SORTS.values()
)  # fmt: skip
_PROGRAM = (
    Action("help", "question_mark", "look.help_", "Help", "All keys", "Dashboard", footer=True),
    Action("palette", "colon,ctrl+p", "look.palette", "Commands", "Find any action by its name",
           "Dashboard", footer=True),
    Action("theme", "ctrl+t", "look.theme", "Theme", "Choose the colours", "Dashboard"),
    Action("screenshot", "ctrl+s", "look.screenshot", "Screenshot",
           "Save the screen as SVG under DEVBOX_HOME/screenshots", "Dashboard"),
    Action("quit", "q,ctrl+q", "look.quit_", "Quit",
           "Leave at once; what is under way continues by itself", "Dashboard", footer=True),
)  # fmt: skip

ACTIONS = (*_BOXES, *_CONNECT, *_FILES, *_JOBS, *_LOOK, *_MOVE, *_SORT, *_PROGRAM)
BY_ID = {action.id: action for action in ACTIONS}

_NAMES = {
    "slash": "/", "colon": ":", "question_mark": "?", "full_stop": ".", "escape": "esc",
    "right_square_bracket": "]", "left_square_bracket": "[", "pagedown": "page down",
    "pageup": "page up",
}  # fmt: skip


def bindings() -> list[Binding]:
    """One binding an action; the keymap overrides its keys by id."""
    return [
        Binding(
            action.keys,
            f"do('{action.id}')",
            action.label,
            show=action.footer,
            tooltip=action.tooltip,
            id=action.id,
            key_display=shown(action.keys.split(",")[0]),
        )
        for action in sorted(ACTIONS, key=lambda action: action.group != "Dashboard")
    ]


def handler(name: str) -> Callable[..., Any]:
    """MODULE.FUNCTION of `handlers`, loaded now: the first picture does without them."""
    module, _, function = name.partition(".")
    return getattr(import_module(f"devbox.tui.handlers.{module}"), function)  # type: ignore[no-any-return]


def keys(action: Action, keymap: Mapping[str, str]) -> str:
    """The keys in force, as a user reads them."""
    return "  ".join(shown(key) for key in keymap.get(action.id, action.keys).split(","))


def shown(key: str) -> str:
    """'slash' → '/', 'ctrl+d' → 'ctrl+d', 'N' → 'shift+n'."""
    key = key.strip()
    if len(key) == 1 and key.isupper():
        return f"shift+{key.lower()}"
    return _NAMES.get(key, key)
