"""Start-up, ls, up and exec: what a user waits for."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import msgspec

from devbox import lifecycle, spec
from devbox.model import BoxState, Interval, Price
from devbox.remote import command
from devbox.state import ledger
from devbox.state.store import Store
from devbox.workspace import Workspace
from tests.bench.rows import Row, median, ms, paired, seconds
from tests.core.test_state import a_box

BIN = Path(sys.executable).parent


def rows(home: Path) -> list[Row]:
    """home: an empty folder that is HOME and holds DEVBOX_HOME."""
    return [*_startup(), _ls(200, 0.2), _ls(10_000, 0.4), *_up_and_exec(home)]


def _startup() -> list[Row]:
    click = _call(sys.executable, "-c", "import click")
    out = []
    for flag in ("--version", "--help"):
        ours, peer, ratio = paired(_call(str(BIN / "devbox"), flag), click, runs=15)
        goal, value = "≤ 2×", f"{ratio:.2f}×"
        out.append(
            Row(f"devbox {flag}", ms(ours), f"import click {ms(peer)}", value, goal, ratio <= 2)
        )
    hf = median(_call(str(BIN / "hf"), "version"), runs=5)
    return [*out, Row("hf version (for comparison)", "", ms(hf), "", "", None)]


def _ls(count: int, goal: float) -> Row:
    store = Store.open()
    with store.database.write() as connection:
        for index in range(count):
            state = (BoxState.RUNNING, BoxState.PAUSED)[index % 2]
            box = a_box(f"box-{index}", state=state, handle=f"h{index}")
            connection.execute(
                "INSERT INTO boxes (id, name, state, project, created, body, root, slug) "
                "VALUES (?, ?, ?, ?, 1.0, ?, '', ?)",
                (box.id, box.name, state, box.project, msgspec.json.encode(box), box.name),
            )
            end = 3600.0 if index % 2 else None
            price = Price(1_000_000, "config")
            new = Interval(0, box.id, box.name, box.provider, box.hardware, price, 1.0, end)
            ledger.put(connection, [new])
    took = median(_call(str(BIN / "devbox"), "ls"), runs=9)
    with store.database.write() as connection:
        for name in ("boxes", "intervals"):
            connection.execute(f"DELETE FROM {name}")
    store.close()
    name = f"devbox ls, {count:,} boxes"
    return Row(name, ms(took), "", ms(took), f"≤ {goal * 1000:.0f} ms", took <= goal)


def _up_and_exec(home: Path) -> list[Row]:
    devbox = str(BIN / "devbox")
    project = Path(tempfile.mkdtemp(dir=home))
    (project / "devbox.toml").write_text("[boxes.b]\n")
    with ExitStack() as stack:
        ws = Workspace(spec.load(project / "devbox.toml"))
        stack.callback(_down, ws)

        def up() -> None:
            subprocess.run([devbox, "up", "-q"], cwd=project, check=True, capture_output=True)
            subprocess.run(command.argv(ws.box("b"), ["true"]), check=True, capture_output=True)

        times = []
        for _ in range(6):
            times.append(seconds(up))
            _down(ws)
        took = sorted(times[1:])[len(times[1:]) // 2]
        up()
        box = ws.box("b")
        start = median(_call(devbox, "--version"), runs=9)
        ssh = command.argv(box, ["true"])
        ours, peer, _ = paired(_call(devbox, "exec", "b", "true"), _call(*ssh), runs=15)
        ratio = ours / (peer + start)
    return [
        Row("devbox up local → usable ssh", ms(took), "", ms(took), "≤ 1.5 s", took <= 1.5),
        Row(
            "devbox exec BOX true, warm",
            ms(ours),
            f"ssh + CLI start {ms(peer + start)}",
            f"{ratio:.2f}×",
            "≤ 1.2×",
            ratio <= 1.2,
        ),
    ]


def _down(ws: Workspace) -> None:
    for box in ws.store.boxes.all():
        lifecycle.down(ws, box, save=False)


def _call(*argv: str) -> Callable[[], object]:
    return lambda: subprocess.run(argv, check=True, capture_output=True)
