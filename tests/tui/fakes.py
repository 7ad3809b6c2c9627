"""A feed that exists nowhere: fixed time, fixed numbers, questions answered from memory."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from devbox.errors import SshError
from devbox.lifecycle import Stop
from devbox.model import (
    Box,
    BoxState,
    Endpoint,
    Event,
    Hardware,
    Offer,
    Price,
    Run,
    RunState,
)
from devbox.spec import BoxSpec
from devbox.state.spending import Line
from devbox.sync.status import Difference, Differing, File
from devbox.telemetry.live import LiveTelemetry
from devbox.tui.feed import BoxView, RunView, Totals
from devbox.tui.history import History
from devbox.tui.ledger_view import Costs, Spent
from devbox.tui.operation_manager import Message, Operation
from devbox.tui.queries import Asks, Choice, LogKind
from devbox.wire.messages import (
    Check,
    Cpu,
    Disk,
    Gpu,
    Memory,
    Net,
    Process,
    Sample,
    Ssh,
    TopProcess,
    Verdict,
)

NOW = time.mktime((2026, 7, 21, 15, 4, 5, 0, 0, -1))
GB = 1024**3
CHEAP = Offer("modal", Hardware("t4", "T4", 1, 16 * GB, 4, 16 * GB), Price(590_000, "live"), NOW)
DEAR = Offer(
    "modal", Hardware("h100", "H100", 1, 80 * GB, 16, 128 * GB), Price(3_950_000, "live"), NOW
)
UNPRICED = Offer("modal", Hardware("b300", "B300", 1, 288 * GB), Price(None, "unknown"), NOW)


def box(name: str, state: BoxState = BoxState.RUNNING, **fields: Any) -> Box:
    values: dict[str, Any] = {
        "id": f"id-{name}",
        "name": name,
        "provider": "local",
        "token": name,
        "state": state,
        "hardware": "cpu",
        "price": Price(1_000_000, "config"),
        "created": NOW - 4000,
        "updated": NOW,
        "seen": NOW,
        "started": NOW - 3720,
        "deadline": NOW + 6 * 3600,
        "endpoint": Endpoint("127.0.0.1", 2222) if state is BoxState.RUNNING else None,
        "project": "demo",
    }
    return Box(**{**values, **fields})


def view(name: str, state: BoxState = BoxState.RUNNING, **fields: Any) -> BoxView:
    """A box that bills when it runs."""
    extra: dict[str, Any] = {
        key: fields.pop(key) for key in ("goal", "step", "today") if key in fields
    }
    made = box(name, state, **fields)
    costing = state not in (BoxState.PAUSED, BoxState.FAILED, BoxState.LOST)
    values: dict[str, Any] = {"today": 1_240_000, "spends": True, **extra}
    return BoxView(made, costing, made.price.micro_per_hour if costing else None, **values)


def gpu(index: int, t: float, **fields: Any) -> Gpu:
    wave = math.sin((t - NOW) / 17 + index)
    values: dict[str, Any] = {
        "index": index,
        "name": "NVIDIA H100 80GB HBM3",
        "util": round(72 + 25 * wave),
        "mem_used": int((52 + 6 * wave) * GB),
        "mem_total": 80 * GB,
        "power_w": round(520 + 150 * wave),
        "power_limit_w": 700.0,
        "temp_c": round(61 + 8 * wave),
        "sm_mhz": 1980,
        "throttle": (),
        "processes": (Process(4242 + index, "python train.py", int((51 + 6 * wave) * GB)),),
    }
    return Gpu(**{**values, **fields})


def sample(seq: int, t: float, gpus: int | tuple[Gpu, ...] = 0, **fields: Any) -> Sample:
    wave = math.sin((t - NOW) / 23)
    values: dict[str, Any] = {
        "cpu": Cpu(round(34 + 20 * wave, 1), 32, 11.2),
        "mem": Memory(int((96 + 20 * wave) * GB), 256 * GB),
        "disk": Disk("/", 412 * GB, 1024 * GB, 3.2e6, 88.1e6),
        "net": Net(1.4e6, 22.8e6),
        "ssh": Ssh(2, 0, 0),
        "jobs": (),
        "processes": (
            *(TopProcess(4242 + n, "python train.py", 97.4 - n, 14 * GB) for n in range(8)),
            TopProcess(977, "dataloader", 61.0, 3 * GB),
            TopProcess(801, "sshd", 0.2, 9_000_000),
        ),
        "gpus": gpus if isinstance(gpus, tuple) else tuple(gpu(n, t) for n in range(gpus)),
    }
    return Sample("boot", seq, t, **{**values, **fields})


class FakeFeed:
    """Boxes, cells and the rest are plain attributes a test sets; `fill` gives a box a past."""

    def __init__(self, views: Sequence[BoxView] = (), now: float = NOW) -> None:
        self.now = now
        self.clock: Callable[[], float] = lambda: self.now
        self.views: Sequence[BoxView] = views
        micro = [v.micro for v in views if v.costing]
        rate = sum(m for m in micro if m is not None)
        today = sum(view.today or 0 for view in views)
        self.totals = Totals(rate, micro.count(None), today, today + 38_000_000)
        self.recent: Sequence[Run] = ()
        self.changes = 0
        self.error = ""
        self.cells: dict[str, LiveTelemetry] = {}
        self.histories: dict[str, History] = {}
        self.verdicts: dict[str, Verdict] = {}
        self.box_runs: dict[str, list[RunView]] = {}
        self.box_events: dict[str, list[Event]] = {}
        self.hurried: list[str] = []
        self.looked: tuple[str | None, Collection[str], str] = (None, (), "")
        self.started = self.stopped = False
        self.ticks = 0

    def fill(self, view: BoxView, gpus: int, seconds: int = 300, **fields: Any) -> LiveTelemetry:
        cell = self.cells[view.box.id] = LiveTelemetry(view.box.name)
        history = self.histories[view.box.id] = History()
        for seq in range(seconds):
            made = sample(seq, self.now - seconds + 1 + seq, gpus, **fields)
            cell.put(made, self.now)
            history.put(made)
        cell.samples.clear()
        return cell

    def cell(self, box_id: str) -> LiveTelemetry | None:
        return self.cells.get(box_id)

    def history(self, box_id: str) -> History | None:
        return self.histories.get(box_id)

    def verdict(self, box_id: str) -> Verdict | None:
        return self.verdicts.get(box_id)

    def runs(self, box_id: str) -> Sequence[RunView]:
        return self.box_runs.get(box_id, [])

    def events(self, box_id: str) -> Sequence[Event]:
        return self.box_events.get(box_id, [])

    async def start(self) -> None:
        self.started = True

    async def stop(self) -> None:
        self.stopped = True

    def tick(self) -> None:
        self.ticks += 1

    def look(self, selected: str | None, visible: Collection[str], pane: str) -> None:
        self.looked = (selected, visible, pane)

    def hurry(self, box_ids: Collection[str]) -> None:
        self.hurried += box_ids


class FakeAsks(Asks):
    """Answers from memory. `log_lines`: what every log holds."""

    def __init__(self, start: Path) -> None:
        super().__init__(start)
        self.boxes: list[tuple[str, BoxSpec]] = [("train", BoxSpec()), ("new", BoxSpec())]
        self.lost = ["train: 2 files on it are not on this computer:", "  model.pt", "  notes.md"]
        self.log_lines = [f"epoch {n}: loss {1 / (n + 1):.4f}" for n in range(200)]
        self.edited: list[str] = []
        self.fails = ""

    def editor(self) -> str:
        return "code"

    def names(self) -> list[tuple[str, BoxSpec]]:
        return list(self.boxes)

    def own(self, boxes: list[Box]) -> list[Box]:
        return boxes

    def free_name(self) -> str:
        return "dev"

    def offers(self, provider: str) -> list[Offer]:
        if self.fails:
            raise SshError(self.fails)
        return [CHEAP, DEAR, UNPRICED]

    def wakes(self, box: Box) -> list[str]:
        return [f"{box.hardware} at $1.80/h (live)", "for 8h (max_uptime): $14.40"]

    def resizes(self, box: Box) -> Choice:
        return Choice(box.name, BoxSpec(), [CHEAP, DEAR, UNPRICED], CHEAP, "")

    def log_tail(self, run: Run) -> list[str]:
        if self.fails:
            raise SshError(self.fails, fix="devbox doctor")
        return self.log_lines

    def choice(self, name: str) -> Choice:
        wanted = dict(self.boxes).get(name, BoxSpec())
        return Choice(name, wanted, [CHEAP, DEAR], CHEAP, "", limit=20.0)

    def before_stop(self, box: Box, verb: str) -> Stop:
        if self.fails:
            raise SshError(self.fails)
        means = {"down": "this will delete what is on it"}
        return Stop(means.get(verb, f"a {verb} keeps its files"), tuple(self.lost), "Sure?")

    def difference(self, box: Box) -> Difference:
        if self.fails:
            raise SshError(self.fails, fix="devbox doctor")
        return Difference(
            box.name,
            "/home/me/project",
            "work",
            (File("new.py", 1200, NOW),),
            (File("results/model.pt", 3 * GB, NOW), File("notes.md", 900, NOW)),
            (Differing("train.py", 4000, 4100, "here"),),
        )

    def costs(self) -> Costs:
        today, month = 38_850_000, 76_850_000  # of `fleet`
        rows = [
            Line("train", 86400.0, month - 2_000_000, 0.0),
            Line("render", 7200.0, 2_000_000, 60.0),
        ]
        days = [
            Line("2026-07-20", 86400.0, month - today, 0.0),
            Line("2026-07-21", 9e3, today, 0.0),
        ]
        return Costs(Spent(NOW, today, month, {}), rows, days, rows[:1])

    def doctor(self, box: Box | None) -> list[Check]:
        return [Check("ok", "ssh: OpenSSH", ""), Check("warn", "no include", "devbox ssh-config")]

    def open_editor(self, box: Box) -> tuple[str, bool]:
        self.edited.append(box.name)
        return f"vscode://vscode-remote/ssh-remote+{box.alias}/work", True

    def logs(self, kind: LogKind, box: Box, run: Run | None) -> Iterator[str]:
        yield f"{kind} log of {box.name}"
        yield from self.log_lines


class FakeOperations:
    """Remembers what was started; a test ends it with `finish`."""

    clock = staticmethod(lambda: NOW)

    def __init__(self) -> None:
        self.all: dict[str, Operation] = {}
        self.changes = 0
        self.begun: list[tuple[str, ...]] = []
        self.stopped: list[str] = []
        self._ended: list[Operation] = []

    def start(self, title: str, box: str, *words: str) -> Operation:
        self.begun.append(words)
        return self.add(Operation(f"{len(self.all):03}", words[0], title, box, NOW - 12))

    def add(self, operation: Operation) -> Operation:
        self.all[operation.key] = operation
        self.changes += 1
        return operation

    def running(self, box: str | None = None) -> list[Operation]:
        found = [o for o in self.all.values() if o.state == "running"]
        return found if box is None else [o for o in found if o.box == box]

    def recent(self) -> set[str]:
        return {operation.box for operation in self.running()}

    def finish(self, operation: Operation, message: Message) -> None:
        operation.take(message)
        self._ended.append(operation)

    def poll(self) -> list[Operation]:
        ended, self._ended = self._ended, []
        return ended

    def pids(self) -> list[int]:
        return []

    def stop(self, operation: Operation) -> None:
        self.stopped.append(operation.title)


def verdict(state: str = "active", pauses_in: float | None = None, **fields: Any) -> Verdict:
    values: dict[str, Any] = {
        "state": state,
        "idle_for": 600.0,
        "pauses_at": None if pauses_in is None else NOW + pauses_in,
        "reasons": ("GPU below 5 % for 10m", "no job runs"),
        "now": NOW,
    }
    return Verdict(**{**values, **fields})


def run(number: int, state: RunState, status: bytes = b"{}", **fields: Any) -> Run:
    values: dict[str, Any] = {
        "id": f"track-20260721-15000{number}-abcd",
        "box_id": "id-train",
        "box_name": "train",
        "job": "track",
        "state": state,
        "created": NOW - 60 * number,
        "started": NOW - 60 * number,
        "ended": NOW - 10 if state.is_over else None,
        "status": status,
    }
    return Run(**{**values, **fields})
