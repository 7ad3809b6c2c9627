"""Every action of the dashboard with its key, in one list. Bindings, the command palette, the
help screen, the footer and docs/dashboard.md are made from it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from importlib import import_module
from typing import NamedTuple

from textual.binding import Binding

from devbox.tui.fleet import SORTS

PANES = {"load": "Load", "jobs": "Jobs", "services": "Services", "logs": "Logs", "sync": "Sync",
         "cost": "Cost", "events": "Events"}  # fmt: skip


class Action(NamedTuple):
    """id: also the binding's, for the keymap. keys: comma-separated. handler: the function of
    `handlers` that is called with the dashboard and `args`. changes: it changes a box, files or
    money, and is off with --readonly. pane: the tab that it acts on, opened first. verbs: those of
    the command line that it does."""

    id: str
    keys: str
    handler: str
    label: str
    tooltip: str
    group: str
    changes: bool = False
    args: tuple[int | str, ...] = ()
    pane: str = ""
    verbs: tuple[str, ...] = ()


_BOXES = (
    Action("up", "u", "boxes.up", "Up", "Bring a box up: a new one, or finish what was begun",
           "Boxes", changes=True, verbs=("up",)),
    Action("new", "b", "boxes.new", "New box",
           "Write a new box into devbox.toml: where, which GPU, which image", "Boxes",
           changes=True, verbs=("init",)),
    Action("pause", "p", "boxes.pause", "Pause",
           "Stop paying; says first what is kept and what would be lost", "Boxes", changes=True,
           verbs=("pause",)),
    Action("resume", "w", "boxes.resume", "Resume", "Wake a paused box; says its price first",
           "Boxes", changes=True, verbs=("resume",)),
    Action("keep", "K", "boxes.keep", "Keep", "Hold off the idle pause for a while", "Boxes",
           changes=True, verbs=("keep",)),
    Action("resize", "z", "boxes.resize", "Resize",
           "Move the box to other hardware; says its price first", "Boxes", changes=True,
           verbs=("resize",)),
    Action("restart", "R", "boxes.restart", "Restart", "Start the box's app again", "Boxes",
           changes=True, verbs=("restart",)),
    Action("terminate", "ctrl+d", "boxes.terminate", "Terminate",
           "End a box permanently; asks, and says what is lost", "Boxes", changes=True,
           verbs=("down",)),
    Action("reconcile", "ctrl+e", "boxes.reconcile", "Reconcile",
           "Compare with the providers and finish what a crash left open", "Boxes", changes=True,
           verbs=("reconcile",)),
    Action("doctor", "x", "boxes.doctor", "Doctor",
           "Check the selected box, or this computer without one", "Boxes", verbs=("doctor",)),
)  # fmt: skip
_CONNECT = (
    Action("shell", "s", "connect.shell", "Shell",
           "Open a shell on the box; the dashboard waits meanwhile", "Connect", changes=True,
           verbs=("ssh",)),
    Action("editor", "e", "connect.editor", "Editor", "Open the box's work folder in your editor",
           "Connect", changes=True, verbs=("code",)),
    Action("forward", "f", "connect.forward", "Forward",
           "Make a port of the box answer on this computer", "Connect", verbs=("forward",)),
)  # fmt: skip
_FILES = (
    Action("sync", "y", "boxes.sync", "Sync",
           "Send what changed here, or fetch what changed there", "Files", changes=True,
           verbs=("sync",)),
)  # fmt: skip
_JOBS = (
    Action("run", "r", "jobs.run", "Run",
           "Fill in the form of a job or service and run it on the box", "Jobs", changes=True,
           verbs=("run", "exec", "serve")),
    Action("cancel", "c", "jobs.cancel", "Cancel",
           "End the selected run or service; what a run did is kept", "Jobs", changes=True,
           verbs=("cancel", "services")),
    Action("retry", "a", "jobs.retry", "Again", "Run again what failed or is missing", "Jobs",
           changes=True, verbs=("retry",)),
    Action("fetch", "o", "jobs.fetch", "Outputs", "Bring what the run made to this computer",
           "Jobs", changes=True, verbs=("attach",)),
)  # fmt: skip
_LOOK = (
    Action("details", "enter,d", "look.details", "Details",
           "Go to the selected box's details; there, to the run", "Look", verbs=("status",)),
    Action("logs", "L", "look.logs", "Logs", "Follow the box's logs", "Look", verbs=("logs",)),
    Action("filter", "slash", "look.filter_", "Find",
           "Filter the fleet; search while in the logs", "Look"),
    Action("match_next", "n", "look.match", "Next", "Next match of the search in the log",
           "Look", args=(1,), pane="logs"),
    Action("match_previous", "N", "look.match", "Previous", "Previous match in the log",
           "Look", args=(-1,), pane="logs"),
    Action("log_source", "v", "look.log_source", "Source", "Next log: run, box, build", "Look",
           pane="logs"),
    Action("follow", "full_stop", "look.follow", "Follow",
           "Follow the end of the log, or hold still", "Look", pane="logs"),
    Action("window", "t", "look.window", "Time", "Charts of 5 minutes or of the last hour",
           "Look", pane="load"),
    Action("which_gpu", "i", "look.which_gpu", "Which GPU",
           "Charts of all GPUs together, or of one", "Look", pane="load"),
    Action("refresh", "ctrl+r", "look.refresh", "Refresh",
           "Ask the providers, connect what is cut", "Look"),
    Action("display", "F", "look.display", "Freeze",
           "Hold the screen still; everything continues", "Look"),
    Action("work", "m", "look.work", "Work", "What is under way, and its output", "Look"),
    Action("back", "escape", "look.back", "Back", "Leave the filter, the search or the details",
           "Look"),
)  # fmt: skip
_MOVE = (
    Action("down", "j,down", "look.move", "Down", "Next row", "Move", args=(1,)),
    Action("up_row", "k,up", "look.move", "Up", "Previous row", "Move", args=(-1,)),
    Action("previous_pane", "h,left", "look.pane_step", "Previous tab", "Previous tab", "Move",
           args=(-1,)),
    Action("next_pane", "l,right", "look.pane_step", "Next tab", "Next tab of the details", "Move",
           args=(1,)),
    Action("page_down", "pagedown,ctrl+f", "look.page", "Page down", "A page on", "Move",
           args=(1,)),
    Action("page_up", "pageup,ctrl+b", "look.page", "Page up", "A page back", "Move", args=(-1,)),
    Action("first", "g,home", "look.first", "First", "First row", "Move"),
    Action("last", "G,end", "look.last", "Last", "Last row", "Move"),
    Action("mark", "space", "look.mark", "Mark", "Mark the box, to act on several at once", "Move"),
    Action("unmark", "ctrl+u", "look.unmark", "Unmark all", "Take all marks away", "Move"),
    *(
        Action(f"pane_{name}", str(number), "", f"{title} tab", f"The {title} tab", "Move",
               pane=name)
        for number, (name, title) in enumerate(PANES.items(), 1)
    ),
)  # fmt: skip
_SORT = tuple(
    Action(f"sort_{column.key}", column.letter, "look.sort", f"Sort by {column.title.lower()}",
           f"Sort by {column.title.lower()}; press again to reverse", "Sort",
           args=(column.key,))
    for column in SORTS.values()
)  # fmt: skip
_PROGRAM = (
    Action("help", "question_mark", "look.help_", "Help", "All keys", "Dashboard"),
    Action("palette", "colon,ctrl+p", "look.palette", "Commands", "Find any action by its name",
           "Dashboard"),
    Action("theme", "ctrl+t", "look.theme", "Theme", "Choose the colours", "Dashboard"),
    Action("screenshot", "ctrl+s", "look.screenshot", "Screenshot",
           "Save the screen as SVG under DEVBOX_HOME/screenshots", "Dashboard"),
    Action("command", "exclamation_mark", "connect.command", "Command",
           "Run any verb of the command line in this terminal", "Dashboard", changes=True),
    Action("quit", "q,ctrl+q", "look.quit_", "Quit",
           "Leave at once; what is under way continues by itself", "Dashboard"),
)  # fmt: skip

ACTIONS = (*_BOXES, *_CONNECT, *_FILES, *_JOBS, *_LOOK, *_MOVE, *_SORT, *_PROGRAM)
BY_ID = {action.id: action for action in ACTIONS}

#: what the bottom line shows in each view, the more needed first; and in all of them
SHOWN = {
    "fleet": "up pause resume new run shell sync logs details filter terminate keep mark palette",
    "load": "back next_pane window which_gpu logs shell editor pause keep run palette",
    "services": "back next_pane run cancel forward details logs palette",
    "jobs": "back details run cancel retry fetch logs next_pane palette",
    "logs": "back next_pane filter match_next match_previous log_source follow last palette",
    "sync": "back next_pane sync refresh palette",
    "cost": "back next_pane refresh palette",
    "events": "back next_pane refresh palette",
}
SHOWN_ALWAYS = "help quit"

#: verbs that no action does, and what of the dashboard shows the same
SEEN = {
    "ls": "the fleet", "runs": "the Jobs tab", "cost": "the Cost tab", "events": "the Events tab",
    "budget": "the Cost tab",
    "top": "the Load tab", "offers": "New box, Up and Resize", "trust": "asked before it opens",
    "ui": "the dashboard",
}  # fmt: skip
#: verbs that only `command` does
TYPED = (
    "renew", "cp", "ssh-config", "deploy", "pull-edits", "publish", "checkpoints", "pose-check",
    "plan", "idle", "image", "guard", "schedule", "notify", "wait", "login", "config", "schema",
    "demo", "completion",
)  # fmt: skip

_NAMES = {
    "slash": "/", "colon": ":", "question_mark": "?", "full_stop": ".", "escape": "esc",
    "pagedown": "page down", "pageup": "page up", "exclamation_mark": "!",
}  # fmt: skip


def bindings() -> list[Binding]:
    """One binding an action; the keymap overrides its keys by id."""
    return [
        Binding(
            action.keys,
            f"do('{action.id}')",
            action.label,
            show=False,
            tooltip=action.tooltip,
            id=action.id,
        )
        for action in sorted(ACTIONS, key=lambda action: action.group != "Dashboard")
    ]


def of_view(ids: str, *, readonly: bool = False) -> list[Action]:
    """The actions of a part of the bottom line."""
    found = [BY_ID[name] for name in ids.split()]
    return [action for action in found if not (readonly and action.changes)]


def handler(name: str) -> Callable[..., Awaitable[None] | None]:
    """MODULE.FUNCTION of `handlers`, loaded now: the first picture does without them."""
    module, _, function = name.partition(".")
    return getattr(import_module(f"devbox.tui.handlers.{module}"), function)  # type: ignore[no-any-return]


def keys(action: Action, keymap: Mapping[str, str]) -> str:
    """The keys in force, as a user reads them."""
    return "  ".join(shown(key) for key in keymap.get(action.id, action.keys).split(","))


def shown(key: str) -> str:
    """'slash' → '/', 'ctrl+d' → 'ctrl+d', 'N' → 'N': shift and n."""
    key = key.strip()
    return _NAMES.get(key, key)
