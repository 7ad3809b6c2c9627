"""Every action of the dashboard with its key, in one list. Bindings, the command palette, the
help screen, the footer and docs/dashboard.md are made from it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from textual.binding import Binding

from devbox.tui.fleet import SORTS

PANES = {"gpu": "GPU", "jobs": "Jobs", "logs": "Logs", "sync": "Sync", "cost": "Cost",
         "events": "Events"}  # fmt: skip


class Action(NamedTuple):
    """id: also the binding's, for the keymap. keys: comma-separated. changes: it changes a box,
    files or money, and is off with --readonly. footer: shown at the bottom."""

    id: str
    keys: str
    label: str
    tooltip: str
    group: str
    changes: bool = False
    footer: bool = False


_BOXES = (
    Action("up", "u", "Up", "Bring a box up: a new one, or finish what was begun", "Boxes",
           changes=True, footer=True),
    Action("pause", "z", "Pause", "Stop paying; says first what is kept and what would be lost",
           "Boxes", changes=True, footer=True),
    Action("resume", "w", "Resume", "Bring a paused box back", "Boxes", changes=True),
    Action("keep", "h", "Keep", "Hold off the idle pause for a while", "Boxes", changes=True),
    Action("terminate", "ctrl+d", "Terminate", "End a box permanently; asks, and says what is lost",
           "Boxes", changes=True, footer=True),
    Action("reconcile", "ctrl+e", "Reconcile",
           "Compare with the providers and finish what a crash left open", "Boxes", changes=True),
    Action("doctor", "x", "Doctor", "Check the selected box, or this computer without one",
           "Boxes"),
)  # fmt: skip
_CONNECT = (
    Action("shell", "s", "Shell", "Open a shell on the box; the dashboard waits meanwhile",
           "Connect", changes=True, footer=True),
    Action("editor", "e", "Editor", "Open the box's work folder in your editor", "Connect",
           changes=True),
    Action("forward", "f", "Forward", "Make a port of the box answer on this computer", "Connect"),
)  # fmt: skip
_FILES = (
    Action("sync", "y", "Sync", "Send what changed here, or fetch what changed there", "Files",
           changes=True, footer=True),
)  # fmt: skip
_JOBS = (
    Action("run", "r", "Run job", "Fill in a job's form and run it on the box", "Jobs",
           changes=True, footer=True),
    Action("cancel", "c", "Cancel run", "End the selected run; what it did is kept", "Jobs",
           changes=True),
    Action("retry", "a", "Retry run", "Run again what failed or is missing", "Jobs", changes=True),
    Action("fetch", "o", "Fetch outputs", "Bring what the run made to this computer", "Jobs",
           changes=True),
)  # fmt: skip
_LOOK = (
    Action("details", "enter,d", "Details", "Go to the selected box's details", "Look"),
    Action("back", "escape", "Back", "Leave the filter, the search or the details", "Look"),
    Action("filter", "slash", "Filter", "Filter the fleet; search while in the logs", "Look",
           footer=True),
    Action("logs", "l", "Logs", "Follow the box's logs", "Look", footer=True),
    Action("log_source", "v", "Log source", "Next log: run, box, build", "Look"),
    Action("follow", "full_stop", "Follow", "Follow the end of the log, or hold still", "Look"),
    Action("match_next", "n", "Next match", "Next match of the search in the log", "Look"),
    Action("match_previous", "b", "Previous match", "Previous match in the log", "Look"),
    Action("window", "t", "Chart window", "Charts of 5 minutes or of the last hour", "Look"),
    Action("which_gpu", "g", "Which GPU", "Charts of all GPUs together, or of one", "Look"),
    Action("display", "p", "Pause display", "Hold the screen still; everything continues", "Look"),
    Action("refresh", "ctrl+r", "Refresh", "Ask the providers, connect what is cut", "Look"),
    Action("work", "m", "Work", "What is under way, and its output", "Look"),
)  # fmt: skip
_MOVE = (
    Action("down", "j,down", "Down", "Next row", "Move"),
    Action("up_row", "k,up", "Up", "Previous row", "Move"),
    Action("page_down", "pagedown,ctrl+f", "Page down", "A page on", "Move"),
    Action("page_up", "pageup,ctrl+b", "Page up", "A page back", "Move"),
    Action("first", "home", "First", "First row", "Move"),
    Action("last", "end", "Last", "Last row", "Move"),
    Action("mark", "space", "Mark", "Mark the box, to act on several at once", "Move"),
    Action("unmark", "ctrl+u", "Unmark all", "Take all marks away", "Move"),
    Action("next_pane", "right_square_bracket", "Next tab", "Next tab of the details", "Move"),
    Action("previous_pane", "left_square_bracket", "Previous tab", "Previous tab", "Move"),
    *(
        Action(f"pane_{name}", str(number), f"{title} tab", f"The {title} tab", "Move")
        for number, (name, title) in enumerate(PANES.items(), 1)
    ),
)
_SORT = tuple(
    Action(f"sort_{column.key}", column.letter, f"Sort by {column.title.lower()}",
           f"Sort by {column.title.lower()}; again turns it round", "Sort")
    for column in SORTS.values()
)  # fmt: skip
_PROGRAM = (
    Action("help", "question_mark", "Help", "All keys", "Dashboard", footer=True),
    Action("palette", "colon,ctrl+p", "Commands", "Find any action by its name", "Dashboard",
           footer=True),
    Action("theme", "ctrl+t", "Theme", "Choose the colours", "Dashboard"),
    Action("screenshot", "ctrl+s", "Screenshot", "Save the screen as an SVG file", "Dashboard"),
    Action("quit", "q,ctrl+q", "Quit", "Leave at once; what is under way continues by itself",
           "Dashboard", footer=True),
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


def keys(action: Action, keymap: Mapping[str, str]) -> str:
    """The keys in force, as a user reads them."""
    return "  ".join(shown(key) for key in keymap.get(action.id, action.keys).split(","))


def shown(key: str) -> str:
    """'slash' → '/', 'ctrl+d' → 'ctrl+d', 'N' → 'shift+n'."""
    key = key.strip()
    if len(key) == 1 and key.isupper():
        return f"shift+{key.lower()}"
    return _NAMES.get(key, key)
