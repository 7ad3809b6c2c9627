"""Looking around: moving, tabs, filter, search, sort, marks, themes, help, quit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from devbox.tui import picture, settings
from devbox.tui.actions import PANES
from devbox.tui.handlers import jobs
from devbox.tui.screens.ask import Choose, Item
from devbox.tui.screens.help import Help
from devbox.tui.screens.work import Work

if TYPE_CHECKING:
    from devbox.tui.app import Dashboard


async def details(app: Dashboard) -> None:
    """One step in: the details; there, the chosen run."""
    if app.in_details and app.panes[app.pane].run_view:
        await jobs.detail(app)
    else:
        app.panes[app.pane].target().focus()


def back(app: Dashboard) -> None:
    """One step out: the search, the filter, the details, the marks."""
    if app.pane == "logs" and app.logs_pane.view.words and app.in_details:
        app.logs_pane.end_search()
    elif app.filtering or app.fleet.words:
        app.end_filter()
    elif app.in_details:
        app.fleet.focus()
    else:
        unmark(app)


def filter_(app: Dashboard) -> None:
    if app.pane == "logs" and app.in_details:
        app.logs_pane.start_search()
    else:
        app.start_filter()


def logs(app: Dashboard) -> None:
    chosen = app.panes[app.pane].run_view if app.in_details else None
    if chosen and not chosen.is_batch:
        app.logs_pane.show_run(chosen.run)
    app.open_pane("logs")
    app.logs_pane.view.focus()


def log_source(app: Dashboard) -> None:
    app.logs_pane.next_kind()


def follow(app: Dashboard) -> None:
    view = app.logs_pane.view
    view.set_follow(not view.follow)
    app.logs_pane.refresh_from(app.seen())


def match(app: Dashboard, direction: int) -> None:
    app.logs_pane.step(direction)


def window(app: Dashboard) -> None:
    app.load_pane.next_window()
    app.redraw()


def which_gpu(app: Dashboard) -> None:
    history = app.feed.history(app.view.box.id) if app.view else None
    app.load_pane.next_gpu(history.gpus if history else 0)
    app.redraw()


def display(app: Dashboard) -> None:
    app.held = not app.held
    app.redraw(always=True)


def refresh(app: Dashboard) -> None:
    targets = app.fleet.targets() if app.fleet.marked else app.feed.views
    app.feed.hurry([view.box.id for view in targets])
    if app.pane == "sync" and app.view:
        app.sync_pane.ask(app.seen())
    app.tell("asking the providers")


def work(app: Dashboard) -> None:
    app.push_screen(Work(app.operations))


def move(app: Dashboard, rows: int) -> None:
    app.movable.move(rows)
    app.moved()


def page(app: Dashboard, direction: int) -> None:
    app.movable.move(direction * app.movable.page)
    app.moved()


def first(app: Dashboard) -> None:
    app.movable.go(0)
    app.moved()


def last(app: Dashboard) -> None:
    app.movable.go(10**9)
    app.moved()


def mark(app: Dashboard) -> None:
    if app.view:
        app.fleet.marked ^= {app.view.box.id}
        app.redraw()
        app.fleet.move(1)


def unmark(app: Dashboard) -> None:
    app.fleet.marked.clear()
    app.redraw()


def pane_step(app: Dashboard, direction: int) -> None:
    names = list(PANES)
    app.open_pane(names[(names.index(app.pane) + direction) % len(names)])


def sort(app: Dashboard, column: str) -> None:
    app.fleet.sort_on(column)
    app.redraw()


def palette(app: Dashboard) -> None:
    app.action_command_palette()


async def theme(app: Dashboard) -> None:
    names = sorted(app.available_themes, key=lambda name: (not name.startswith("devbox"), name))
    items = [Item(name, name, "in force" if name == app.theme else "") for name in names]
    name = await app.push_screen_wait(Choose("Colours", items))
    if name:
        app.theme = name
        settings.save_theme(name)


def screenshot(app: Dashboard) -> None:
    app.tell(f"saved {picture.save(app, app.now)}")


def help_(app: Dashboard) -> None:
    app.push_screen(Help(app.settings.keys, str(settings.file())))


async def quit_(app: Dashboard) -> None:
    await app.action_quit()
