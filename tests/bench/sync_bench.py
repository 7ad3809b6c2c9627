"""Sync against raw rsync, both to the same local box, in pairs; and how soon a save arrives.

Ours is the whole `devbox sync up` process. The peer is `rsync -a` over a connection of its own,
as typed by a person; `peer_warm_s` is the same over the shared connection that ours uses.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from devbox import paths
from devbox.model import Box
from devbox.spec import BoxSpec, load
from devbox.ssh import config
from devbox.sync.watch import Event, watch
from devbox.workspace import Workspace
from tests.boxes import bring_up

_GOAL = 0.95
_WATCH_GOAL_S = 0.4
Row = dict[str, Any]


class Bench(NamedTuple):
    """A project folder and its box; other: the folder on the box that the peer fills."""

    ws: Workspace
    box: Box
    root: Path
    home: Path
    other: str


def rows(*, pairs: int = 5, big_mb: int = 1024, small: int = 10_000) -> list[Row]:
    """All rows of the sync table. {name, ours_s, peer_s, peer_warm_s, ratio, goal, ok};
    ratio = peer / ours, so larger is better; watch has its p95 in ours_s."""
    with _bench() as bench:
        return [
            big_file(bench, pairs, big_mb),
            *small_files(bench, pairs, small),
            watch_latency(bench),
        ]


def big_file(bench: Bench, pairs: int, megabytes: int) -> Row:
    """One file of random bytes, new on the box each time."""
    _clear(bench.root)
    with (bench.root / "big.bin").open("wb") as stream:
        for _ in range(megabytes):
            stream.write(os.urandom(1 << 20))
    row = _compare(bench, f"sync {megabytes} MB", pairs, fresh=True)
    _clear(bench.root)
    return row


def small_files(bench: Bench, pairs: int, count: int) -> Iterator[Row]:
    """Small files in a hundred folders: new each time, then unchanged."""
    _clear(bench.root)
    for number in range(count):
        folder = bench.root / f"d{number % 100:02d}"
        folder.mkdir(exist_ok=True)
        (folder / f"f{number}.txt").write_text(f"{number}\n" * 20)
    yield _compare(bench, f"sync {count:,} small files", pairs, fresh=True)
    yield _compare(bench, f"sync {count:,} unchanged", pairs * 2, fresh=False)


def watch_latency(bench: Bench, saves: int = 40) -> Row:
    """From the save returning to the new bytes being readable on the box."""
    _clear(bench.root)
    file, there = bench.root / "edited.py", bench.home / bench.box.workdir / "edited.py"
    file.write_text("0")
    ready, stop = threading.Event(), threading.Event()

    def on_event(event: Event) -> None:
        if event.kind == "ready":
            ready.set()

    watcher = threading.Thread(
        target=watch,
        args=(bench.ws, bench.box, on_event),
        kwargs={"stopped": stop.is_set},
        daemon=True,
    )
    watcher.start()
    assert ready.wait(60)
    took = []
    for number in range(1, saves + 1):
        file.write_text(str(number))
        begun = time.perf_counter()
        while there.read_text() != str(number):
            assert time.perf_counter() - begun < 30
            time.sleep(0.002)
        took.append(time.perf_counter() - begun)
    stop.set()
    watcher.join(10)
    p95 = sorted(took)[max(0, round(0.95 * len(took)) - 1)]
    return {
        "name": "watch: save to file on box, p95",
        "ours_s": p95,
        "peer_s": None,
        "ratio": None,
        "goal": f"<= {_WATCH_GOAL_S * 1000:.0f} ms",
        "ok": p95 <= _WATCH_GOAL_S,
    }


def _compare(bench: Bench, name: str, pairs: int, *, fresh: bool) -> Row:
    ours: list[float] = []
    cold: list[float] = []
    warm: list[float] = []
    mine, theirs = bench.home / bench.box.workdir, bench.home / bench.other
    runs: list[tuple[list[float], Path, Callable[[], None]]] = [
        (ours, mine, lambda: _devbox(bench)),
        (cold, theirs, lambda: _rsync(bench, "-o", "ControlPath=none")),
        (warm, theirs, lambda: _rsync(bench)),
    ]
    for _, _, run in runs:  # the first of each is not counted: caches, shared connection
        run()
    for turn in range(pairs):
        for times, target, run in runs[turn % 3 :] + runs[: turn % 3]:
            if fresh:
                _clear(target)
            os.sync()
            begun = time.perf_counter()
            run()
            times.append(time.perf_counter() - begun)
    ratio = statistics.median(peer / own for own, peer in zip(ours, cold, strict=True))
    return {
        "name": name,
        "ours_s": statistics.median(ours),
        "peer_s": statistics.median(cold),
        "peer_warm_s": statistics.median(warm),
        "ratio": ratio,
        "ratio_warm": statistics.median(peer / own for own, peer in zip(ours, warm, strict=True)),
        "goal": f">= {_GOAL}",
        "ok": ratio >= _GOAL,
    }


def _devbox(bench: Bench) -> None:
    subprocess.run(
        [sys.executable, "-m", "devbox.cli.main", "sync", "up", "--quiet", bench.box.name],
        cwd=bench.root,
        check=True,
    )


def _rsync(bench: Bench, *options: str) -> None:
    ssh = " ".join(["ssh", "-F", str(paths.ssh_config()), *options])
    target = f"{bench.box.alias}:{bench.other}/"
    subprocess.run(["rsync", "-a", "-e", ssh, f"{bench.root}/", target], check=True)


@contextmanager
def _bench() -> Iterator[Bench]:
    before = {key: os.environ.get(key) for key in ("HOME", "DEVBOX_HOME")}
    with tempfile.TemporaryDirectory(prefix="dbx", dir="/tmp") as folder:
        home = Path(folder).resolve()
        os.environ.update(HOME=str(home), DEVBOX_HOME=str(home / ".devbox"))
        root = home / "project"
        root.mkdir()
        (root / "devbox.toml").write_text('project = "bench"\n[boxes.b]\n')
        ws = Workspace(load(root / "devbox.toml"))
        box = bring_up(ws, "b", BoxSpec())
        try:
            place = home / ".devbox" / "local" / box.token / "home"
            yield Bench(ws, box, root, place, "peer")
        finally:
            config.forget(box)
            ws.provider("local").terminate(box.handle)
            ws.store.close()
            for key, value in before.items():
                os.environ.pop(key, None) if value is None else os.environ.update({key: value})


def _clear(folder: Path) -> None:
    """Empty it, but for devbox.toml."""
    if not folder.is_dir():
        return
    for child in folder.iterdir():
        if child.name == "devbox.toml":
            continue
        shutil.rmtree(child) if child.is_dir() else child.unlink()


if __name__ == "__main__":
    for each in rows(pairs=int(sys.argv[1]) if sys.argv[1:] else 5):
        print(each)
