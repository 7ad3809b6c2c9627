"""What a verb that changes a box shows of its way, on a real pty: stages, builds folded to their
step, trouble that stays, and a terminal that is left clean."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from devbox import paths
from devbox.cli.steps import Stages
from devbox.images.build_progress import BuildProgress, count, is_trouble
from tests.emulators.hf import HfEmulator, Times
from tests.emulators.terminal import Screen, Terminal
from tests.providers.hf.conftest import hub, project

__all__ = ["hub", "project"]

DEVBOX = [sys.executable, "-m", "devbox.cli.main"]
#: shows a build of hostile lines, and waits
DRIVER = """
import sys, time
from devbox.cli import common, steps
from devbox.lifecycle.operation import BoxOperation
from devbox.model import Box, BoxState, Price

ws = common.workspace()
box = Box(id="1", name="b", provider="local", token="t", state=BoxState.BUILDING, hardware="cpu",
          price=Price(1_800_000, "live"), created=0.0, updated=0.0, seen=0.0)
try:
    with steps.shown(ws, after=("sync",)):
        ws.on_plan(("create", "start"))
        ws.on_stage("create")
        ws.narrate("b: made")
        ws.on_stage("start")
        with BoxOperation(ws, box).waiting("building", 600):
            for line in open(sys.argv[1], encoding="utf-8", newline="\\n"):
                ws.on_build("b", line, 12)
            time.sleep(600)
except KeyboardInterrupt:
    sys.exit(130)
"""
HOSTILE = [
    "--> FROM python:3.12",
    "--> RUN pip install " + "很" * 300,
    "\x1b[2J\x1b[31mred\x1b[0m\x1b]0;title\x07",
    "x" * 5000,
    "a tab\there, \x07bell, \x08back",
    "10%\r20%\r ERROR: lost\r30%\r\r",
    "宽" * 200 + "\u202e reversed",
]


@pytest.fixture
def on_terminal() -> Iterator[Callable[..., Terminal]]:
    opened: list[Terminal] = []

    def start(*argv: str, **kw: object) -> Terminal:
        opened.append(Terminal(argv, **kw))  # type: ignore[arg-type]
        return opened[-1]

    yield start
    for terminal in opened:
        terminal.close()


@pytest.mark.parametrize(
    ("lines", "shown"),
    [
        (["#1 x", "[base  2/10] RUN a", "  out"], "build 2/10 RUN a"),
        (["[ 3/12] COPY . /app"], "build 3/12 COPY . /app"),
        (["Step 1/2 : FROM x", "Step 2/2 : RUN b"], "build 2/2 RUN b"),
        (["=> Step 0: FROM base", "=> Step 1: RUN c"], "build 1 RUN c"),
        (["--> FROM x", "--> RUN d", "--> DONE", "--> ERROR: no"], "build 2/4 RUN d"),
        (["[1/99999999999999] RUN e"], "build 1 RUN e"),
        (["nothing yet"], ""),
    ],
)
def test_each_builders_log_says_which_step_runs(lines: list[str], shown: str) -> None:
    progress = BuildProgress()
    for line in lines:
        progress.line(line, 4 if "-->" in line else None)
    assert progress.shown() == shown


def test_the_steps_of_a_dockerfile_are_counted_as_its_builder_runs_them() -> None:
    text = "ARG V=3\nFROM a AS b\nRUN x\nFROM b\nENV Y=1\nRUN <<E\nRUN not\nE\nCOPY . .\nCMD z\n"
    assert count(text) == 5
    progress = BuildProgress()
    for _ in range(6):  # more than were counted: the count was wrong, and no longer shown
        progress.line("--> RUN x", 5)
    assert progress.shown() == "build 6 RUN x"


def test_what_tells_of_trouble_is_known_and_a_step_is_none() -> None:
    for line in ("ERROR: pip's resolver", "ModuleNotFoundError: x", "E: no space left on device"):
        assert is_trouble(line)
    assert not is_trouble("--> RUN echo error")
    assert not is_trouble("Collecting torch")


def test_a_stage_that_was_not_planned_is_a_part_of_the_one_before() -> None:
    now = [0.0]
    stages = Stages(("sync",), lambda: now[0])
    stages.plan(("create", "start"))
    assert not stages.begin("resume")
    assert stages.title == ""
    assert stages.begin("start")
    now[0] = 75.2
    assert (stages.title, stages.lasted) == ("2/3 start", "1m15s")
    assert stages.begin("sync")
    assert (stages.title, stages.lasted) == ("3/3 sync", "")


@pytest.mark.parametrize("columns", [80, 24])
def test_hostile_lines_break_no_screen_and_ctrl_c_leaves_it_clean(
    on_terminal: Callable[..., Terminal], home: Path, columns: int
) -> None:
    log = home / "log"
    log.write_text("\n".join(HOSTILE) + "\n", newline="\n")
    terminal = on_terminal(sys.executable, "-c", DRIVER, str(log), columns=columns, folder=home)
    terminal.until(lambda s: "2/3 start 1s" in "".join(s.lines[-3:-2]) and "宽" in s.lines[-1])
    stays = len(terminal.screen.rows) - 3
    assert "build 2/12 RUN pip" in terminal.screen.lines[-2]
    assert all(len(cells) < columns for cells in terminal.screen.rows[-3:])
    terminal.resize(columns - 5)
    terminal.until(lambda s: "2/3 start 2s" in s.lines[-3] and len(s.rows[-2]) < columns - 5)
    assert len(terminal.screen.rows) == stays + 3
    terminal.type(b"\x03")
    assert terminal.end() == 130
    screen = terminal.screen
    (kept,) = (paths.home() / "builds").glob("*.log")
    told = "".join(screen.lines)
    assert "✓ 1/3 create" in told
    assert told.count("b |  ERROR: lost") == 1
    assert "✗ 2/3 start  " in told
    assert f"build log: 10 lines: {kept}" in told
    assert [line for line in screen.lines if "building" in line or "宽" in line] == []
    assert (screen.column, screen.unknown) == (0, [])
    text = kept.read_text()
    assert text.count("\n") == 10
    assert "\x1b" not in text
    assert "20%" in text


def test_a_spaces_build_is_folded_and_its_failure_ends_with_the_log(
    hub: HfEmulator, project: Callable[..., Path], on_terminal: Callable[..., Terminal]
) -> None:
    hub.hub.times = Times(build=3.0, start=0.1, schedule=0.1)
    folder = project("hf-space")
    text = "FROM python:3.12\nWORKDIR /app\nRUN true\nRUN false\nCMD sleep infinity\n"
    (folder / "Dockerfile").write_text(text)
    seen: list[str] = []
    terminal = on_terminal(*DEVBOX, "up", columns=100, folder=folder)

    def built(screen: Screen) -> bool:
        seen.extend(line for line in screen.lines if line.startswith("  build "))
        return any("fix:" in line for line in screen.lines)

    terminal.until(built)
    assert terminal.end() == 14
    assert any(line.startswith("  build 3/4 RUN true") for line in seen)
    lines = terminal.screen.lines
    failed = next(n for n, line in enumerate(lines) if line.startswith("✗ 2/6 start"))
    assert lines[failed + 1] == "  the build log ends with:"
    assert any("--> RUN false" in line for line in lines[failed:])
    trouble = 'train | --> ERROR: process "/bin/sh -c false" did not complete successfully'
    assert any(line.startswith(trouble) for line in lines[:failed])
    assert sum("build log: " in line for line in lines) == 1
    assert terminal.screen.unknown == []


def test_verbose_shows_all_of_a_build_and_a_dumb_terminal_only_lines(
    hub: HfEmulator, project: Callable[..., Path], on_terminal: Callable[..., Terminal]
) -> None:
    folder = project("hf-space")
    (folder / "Dockerfile").write_text("FROM python:3.12\nRUN false\nCMD sleep infinity\n")
    terminal = on_terminal(*DEVBOX, "up", "-v", folder=folder)
    assert terminal.end() == 14
    assert "train | --> RUN false" in terminal.screen.lines
    assert any(line.startswith("✗ 2/6 start") for line in terminal.screen.lines)
    plain = on_terminal(*DEVBOX, "up", folder=folder, term="dumb")
    assert plain.end() == 14
    assert "train | --> RUN false" in plain.screen.lines
    assert not any("2/6" in line for line in plain.screen.lines)
