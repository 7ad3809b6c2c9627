"""Screenshots of the dashboard for the README and docs/dashboard.md: `make screenshots`.

Most are of real local boxes on this machine, with a real run of the `track` job. The picture of
GPUs is of the tests' made-up fleet, since few machines have eight of them; its caption says so.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "images"
TOML = """
[boxes.train]
[boxes.train.sync]
down = ["results/"]
[boxes.render]
[boxes.notebook]
[providers.local]
price = 0.60
"""


async def main() -> None:
    from devbox import lifecycle
    from devbox.workspace import Workspace

    FOLDER.mkdir(parents=True, exist_ok=True)
    await _made_up()
    with tempfile.TemporaryDirectory(prefix="dbx", dir="/tmp") as home:
        os.environ["HOME"], os.environ["DEVBOX_HOME"] = home, f"{home}/.devbox"
        project = Path(home) / "project"
        project.mkdir()
        (project / "devbox.toml").write_text(TOML)
        ws = Workspace.open(project)
        try:
            for name in ws.spec.boxes:
                await asyncio.to_thread(lifecycle.up, ws, name)
            await asyncio.to_thread(lifecycle.pause, ws, ws.box("notebook"))
            await _real(project)
        finally:
            for box in ws.store.boxes.all():
                await asyncio.to_thread(lifecycle.down, ws, box, save=False)


async def _made_up() -> None:
    from devbox.tui.app import Dashboard
    from devbox.tui.settings import Settings
    from tests.tui import fakes

    asks, operations = fakes.FakeAsks(ROOT), fakes.FakeOperations()
    app = Dashboard(fakes.fleet(), asks, operations, Settings())  # type: ignore[arg-type]
    async with app.run_test(size=(140, 42)) as pilot:
        await pilot.pause(0.5)
        app.fleet.go(app.fleet.keys.index("id-train"))
        await pilot.pause(0.6)
        _save(app, "dashboard-gpu")


async def _real(project: Path) -> None:
    from devbox.jobs import demo_clip
    from devbox.tui.app import Dashboard
    from devbox.tui.asks import Asks
    from devbox.tui.live import LiveFeed
    from devbox.tui.operations import Operations
    from devbox.tui.settings import Settings

    demo_clip.make(ROOT / "templates/demo/astronaut.jpg", project / "clip.mp4")
    (project / "train.py").write_text("print('hello')\n")
    operations = Operations(project)
    app = Dashboard(LiveFeed(project), Asks(project), operations, Settings())
    async with app.run_test(size=(120, 34)) as pilot:

        async def until(condition: Callable[[], object]) -> None:
            deadline = time.monotonic() + 120
            while not condition():
                if time.monotonic() > deadline:
                    raise TimeoutError
                await pilot.pause(0.1)

        await until(lambda: len(app.fleet.keys) == 3 and app.view)
        names = [view.box.name for view in app.feed.views]
        order = [app.feed.views[names.index(n)].box.id for n in names]
        app.fleet.go(app.fleet.keys.index(order[names.index("train")]))
        words = [f"--video={project / 'clip.mp4'}"]
        operations.start("submit", "run track", "train", job="track", words=words, extra=[])
        await pilot.press("2")
        await until(lambda: app.jobs_pane.run and app.jobs_pane.run.state.is_over)
        await until(lambda: app.view and app.feed.verdict(app.view.box.id))
        await pilot.pause(8)
        app.clear_notifications()
        await pilot.pause(0.6)
        _save(app, "dashboard-jobs")
        await pilot.press("l")
        await until(lambda: app.logs_pane.view.lines)
        await pilot.pause(1)
        _save(app, "dashboard-logs")
        await pilot.press("escape", "4")
        await until(lambda: "train.py" in app.sync_pane.text)
        _save(app, "dashboard-sync")
        await pilot.press("r")
        await pilot.pause(2)
        await pilot.press("enter")
        await pilot.pause(1)
        _save(app, "dashboard-form")
        await pilot.press("escape", "ctrl+d")
        await until(lambda: len(app.screen_stack) > 1)
        await until(lambda: "looking" not in str(app.screen.query_one("#losses").render()))
        await pilot.pause(0.3)
        _save(app, "dashboard-terminate")
        await pilot.press("escape")
        await app.action_quit()


def _save(app: object, name: str) -> None:
    from devbox.tui.app import Dashboard

    assert isinstance(app, Dashboard)
    (FOLDER / f"{name}.svg").write_text(app.export_screenshot(title="devbox ui"))
    print(FOLDER / f"{name}.svg", file=sys.stderr)


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    asyncio.run(main())
