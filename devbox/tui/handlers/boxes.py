"""Boxes: new, up, pause, resume, keep, resize, restart, terminate, reconcile, doctor, and syncing
their files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from devbox.errors import Conflict
from devbox.model import Box, BoxState
from devbox.text import parse_duration
from devbox.tui import background
from devbox.tui.feed import BoxView
from devbox.tui.queries import bill
from devbox.tui.screens.ask import Choose, Confirm, Item, Prompt
from devbox.tui.screens.dialog import Answer
from devbox.tui.screens.doctor import Doctor
from devbox.tui.screens.new_box import NewBoxForm
from devbox.tui.screens.up import Up

if TYPE_CHECKING:
    from devbox.tui.app import Dashboard

_SYNCS = (
    Item("up", "Send", "what changed here goes to the box"),
    Item("down", "Fetch", "what changed on the box comes here"),
    Item("up --dry-run", "Send, dry run", "say what would be sent, change nothing"),
    Item("down --dry-run", "Fetch, dry run", "say what would be fetched, change nothing"),
)


async def up(app: Dashboard) -> None:
    """Choose a box of devbox.toml, see its offers, start it."""
    names = await background.call(app.asks.names, "spec")
    if not names:
        await new(app)
        return
    alive = [view.box for view in app.feed.views if not view.box.state.is_over]
    own = await background.call(lambda: app.asks.own(alive), "spec")
    live = {box.name: box for box in own}
    items = [
        Item(name, name, str(live[name].state) if name in live else f"{wanted.provider}, not up")
        for name, wanted in names
    ]
    name: str | None = items[0].key
    if len(items) > 1:
        name = await app.push_screen_wait(Choose("Bring up which box?", items))
    if name is None:
        return
    if name not in live:
        await _bring_up(app, name)
    elif live[name].state is BoxState.RUNNING:
        app.operations.start(f"up {name}", live[name].ref, "up", live[name].ref)
    elif await _wake(app, "Bring up", [live[name]]):
        app.operations.start(f"up {name}", live[name].ref, "up", live[name].ref, "--yes")


async def new(app: Dashboard) -> None:
    """Write a box into devbox.toml and offer to bring it up."""
    name = await background.call(app.asks.free_name, "spec")
    form = NewBoxForm(name, app.asks.providers(), app.asks.offers, app.asks.add_box)
    written = await app.push_screen_wait(form)
    if written:
        app.tell(f"box {written} is in devbox.toml")
        await _bring_up(app, written)


async def _bring_up(app: Dashboard, name: str) -> None:
    """With the hardware that the user chooses, its price in sight."""
    asked = Up(f"Bring up {name}", "Bring it up", lambda: app.asks.choice(name))
    hardware = await app.push_screen_wait(asked)
    if hardware is not None:
        app.fleet.await_box(name)
        chosen = ["--hardware", hardware] if hardware else []
        app.operations.start(f"up {name}", name, "up", name, *chosen, "--yes")


async def _wake(app: Dashboard, word: str, boxes: list[Box]) -> bool:
    """Whether the user wants boxes that are not up to run, at the price that is shown."""

    def look() -> list[str]:
        return [f"{box.name}: {line}" for box in boxes for line in app.asks.wakes(box)]

    names = ", ".join(box.name for box in boxes)
    asked = Confirm(f"{word} {names}?", ["from then on it costs:"], (Answer("go", word),), look,
                    "asking for the price …")  # fmt: skip
    return await app.push_screen_wait(asked) is not None


async def pause(app: Dashboard) -> None:
    views = _in(app, "pause", BoxState.RUNNING)
    fact = "a paused box costs nothing for its hardware"
    await _stop(app, "pause", "Pause", views, fact)


async def save_before_pause(app: Dashboard, boxes: list[Box]) -> None:
    """Fetch what a pause that their watchdogs announced would lose. Not a key's: see `StandBy`."""
    for box in await background.call(lambda: app.asks.saved_before_pause(boxes), "spec"):
        title = f"fetch from {box.name} before it pauses"
        app.operations.start(title, box.ref, "sync", "down", box.ref, "--before-pause")


async def resume(app: Dashboard) -> None:
    views = _in(app, "resume", BoxState.PAUSED)
    if not views or not await _wake(app, "Resume", [view.box for view in views]):
        return
    for view in views:
        ref = view.box.ref
        app.operations.start(f"resume {view.box.name}", ref, "resume", ref, "--yes")


async def keep(app: Dashboard) -> None:
    views = _in(app, "keep", BoxState.RUNNING)
    if not views:
        return
    line = await app.push_screen_wait(
        Prompt(f"Keep {_names(views)} awake", "for how long, such as 30m or 2h", "2h",
               parse_duration)
    )  # fmt: skip
    for view in views if line else []:
        ref, time = view.box.ref, line or ""
        app.operations.start(f"keep {view.box.name} {time}", ref, "keep", ref, time)


async def terminate(app: Dashboard) -> None:
    views = [view for view in app.fleet.targets() if not view.box.state.is_over]
    if not views:
        app.tell("no box to end is selected")
    await _stop(app, "down", "End", views, "it ends permanently")


async def restart(app: Dashboard) -> None:
    views = _in(app, "restart", BoxState.RUNNING)
    await _stop(app, "restart", "Restart", views, "its app starts again")


async def resize(app: Dashboard) -> None:
    """Other hardware for the selected box, its price in sight."""
    views = [app.view] if app.view and app.view.box.state is BoxState.RUNNING else []
    if not views:
        raise Conflict("only a box that runs can move to other hardware", fix="w resumes one")
    box = views[0].box
    asked = Up(f"Move {box.name} to other hardware", "Choose", lambda: app.asks.resizes(box))
    hardware = await app.push_screen_wait(asked)
    if hardware:
        fact = f"it moves to {hardware}"
        await _stop(app, "resize", "Move", views, fact, hardware)
    elif hardware == "":
        app.tell(f"{box.name} has that hardware already")


async def _stop(
    app: Dashboard, verb: str, word: str, views: list[BoxView], fact: str, *words: str
) -> None:
    """word: the verb as the dialog says it. fact: what is true of every such stop. words: those
    that follow the box's name."""
    if not views:
        return

    def look() -> list[str]:
        found = [(view.box.name, app.asks.before_stop(view.box, verb)) for view in views]
        means = [f"{name}: {stop.means}" for name, stop in found]
        return means + [line for _, stop in found for line in stop.lines]

    answers = (
        Answer("save", f"Fetch, then {word.lower()}"),
        Answer("leave", f"{word} without fetching", danger=True),
    )
    asked = Confirm(f"{word} {_names(views)}?", [*_bills(views), fact], answers, look)
    which = await app.push_screen_wait(asked)
    save = [] if which == "save" else ["--no-save"]
    for view in views if which else []:
        ref = view.box.ref
        title = " ".join((verb, view.box.name, *words))
        app.operations.start(title, ref, verb, ref, *words, "--yes", *save)


async def reconcile(app: Dashboard) -> None:
    app.operations.start("reconcile", "", "reconcile")


async def doctor(app: Dashboard) -> None:
    view = app.view
    box = view.box if view else None
    name = box.name if box else "this computer"
    app.push_screen(Doctor(name, lambda: app.asks.doctor(box)))


async def sync(app: Dashboard) -> None:
    views = _in(app, "sync", BoxState.RUNNING)
    if not views:
        return
    which = await app.push_screen_wait(Choose(f"Sync {_names(views)}", _SYNCS))
    for view in views if which else []:
        ref, (direction, *dry) = view.box.ref, (which or "").split()
        title = f"sync {direction} {view.box.name}" + (" (dry run)" if dry else "")
        app.operations.start(title, ref, "sync", direction, ref, *dry)
    if which:
        app.open_pane("sync")


def _in(app: Dashboard, verb: str, state: BoxState) -> list[BoxView]:
    """The boxes to act on that are in that state; says so when there are none."""
    views = [view for view in app.fleet.targets() if view.box.state is state]
    if not views:
        app.tell(f"nothing to {verb}: no {state} box is selected", "warning")
    return views


def _names(views: list[BoxView]) -> str:
    if len(views) <= 3:
        return ", ".join(view.box.name for view in views)
    return f"{len(views)} boxes"


def _bills(views: list[BoxView]) -> list[str]:
    return [line for view in views for line in (f"{view.box.name}:", *_indent(bill(view)))]


def _indent(lines: list[str]) -> list[str]:
    return [f"  {line}" for line in lines]
