"""Sync against raw rsync to the same server, in pairs; and how soon a save arrives.

Ours is the whole `devbox sync up` process, bytecode cached as an installed package has it. The
peer is `rsync -a` over a connection of its own, as a user types it, to the same box; the rows
say too how long it takes over the shared connection that devbox keeps open. The server is a local
box's embedded one; the unchanged case is also run against OpenSSH, which most boxes have.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import msgspec

from devbox import paths
from devbox.model import Box
from devbox.remote.config import ssh_config
from devbox.spec import BoxSpec, encode_box, load
from devbox.sync.watch import Event, watch
from devbox.workspace import Workspace
from tests.bench.rows import Row, ms, seconds
from tests.boxes import bring_up
from tests.remote.sshd import serve

_GOAL = 0.95
_WATCH_GOAL = 0.4


class Bench(NamedTuple):
    """root: the project. ours, peers: the folders on the box that each fills, as seen here; the
    peer's is `peer` on the box."""

    ws: Workspace
    box: Box
    root: Path
    ours: Path
    peers: Path
    peer: str


def rows(home: Path, *, pairs: int = 5, megabytes: int = 1024, count: int = 10_000) -> list[Row]:
    """home: an empty folder that is HOME and holds DEVBOX_HOME."""
    root = home / "project"
    root.mkdir()
    (root / "devbox.toml").write_text('project = "bench"\n[boxes.b]\n[boxes.one]\n')
    ws = Workspace(load(root / "devbox.toml"))
    out: list[Row] = []
    try:
        with _local(ws) as bench:
            out.append(_big_file(bench, pairs, megabytes))
            _small_files(bench, count)
            out.append(_compare(bench, f"sync {count:,} small files", pairs, fresh=True))
            out.append(_compare(bench, f"sync {count:,} unchanged", 3 * pairs, fresh=False))
            out.append(_watch(bench))
        _small_files(bench, count)
        with _openssh(ws, home) as bench:
            name = f"sync {count:,} unchanged, OpenSSH server"
            out.append(_compare(bench, name, 3 * pairs, fresh=False))
    finally:
        ws.store.close()
    return out


def _big_file(bench: Bench, pairs: int, megabytes: int) -> Row:
    _clear(bench.root)
    with (bench.root / "big.bin").open("wb") as stream:
        for _ in range(megabytes):
            stream.write(os.urandom(1 << 20))
    return _compare(bench, f"sync {megabytes} MB", pairs, fresh=True)


def _small_files(bench: Bench, count: int) -> None:
    _clear(bench.root)
    for number in range(count):
        folder = bench.root / f"d{number % 100:02d}"
        folder.mkdir(exist_ok=True)
        (folder / f"f{number}.txt").write_text(f"{number}\n" * 20)


def _watch(bench: Bench, saves: int = 40) -> Row:
    """From the save returning to the new bytes being readable on the box."""
    _clear(bench.root)
    file, there = bench.root / "edited.py", bench.ours / "edited.py"
    file.write_text("0")
    ready, stop = threading.Event(), threading.Event()

    def on_event(event: Event) -> None:
        if event.kind == "ready":
            ready.set()

    watcher = threading.Thread(
        target=watch, args=(bench.ws, bench.box, on_event), kwargs={"stopped": stop.is_set}
    )
    watcher.start()
    took = []
    try:
        assert ready.wait(60)
        for number in range(1, saves + 1):
            file.write_text(str(number))
            begun = time.perf_counter()
            while there.read_text() != str(number):
                assert time.perf_counter() - begun < 30
                time.sleep(0.002)
            took.append(time.perf_counter() - begun)
    finally:
        stop.set()
        watcher.join(10)
    p95 = sorted(took)[max(0, round(0.95 * len(took)) - 1)]
    middle = f"median {ms(statistics.median(took))}"
    goal = f"≤ {ms(_WATCH_GOAL)}"
    return Row("watch: save → file on box, p95", ms(p95), "", middle, goal, p95 <= _WATCH_GOAL)


def _compare(bench: Bench, name: str, pairs: int, *, fresh: bool) -> Row:
    """fresh: the target is emptied before each run."""
    sides: list[tuple[list[float], Path, Callable[[], None]]] = [
        ([], bench.ours, lambda: _devbox(bench)),
        ([], bench.peers, lambda: _rsync(bench, "-o", "ControlPath=none")),
        ([], bench.peers, lambda: _rsync(bench)),
    ]
    for _, target, run in sides:  # not counted: caches, and the shared connection
        _clear(target)
        run()
    for turn in range(pairs):
        for times, target, run in sides[turn % 3 :] + sides[: turn % 3]:
            if fresh:
                _clear(target)
            os.sync()
            times.append(seconds(run))
    ours, peer, shared = (times for times, _, _ in sides)
    ratio = statistics.median(b / a for a, b in zip(ours, peer, strict=True))
    beside = f"rsync -a {ms(statistics.median(peer))} ({ms(statistics.median(shared))} shared)"
    took = ms(statistics.median(ours))
    return Row(name, took, beside, f"{ratio:.2f}× rsync", f"≥ {_GOAL}×", ratio >= _GOAL)


def _devbox(bench: Bench) -> None:
    # An installed package has its bytecode; the environment of a test run may forbid writing it.
    env = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    env["PYTHONPYCACHEPREFIX"] = str(bench.root.parent / "pycache")
    script = Path(sys.executable).parent / "devbox"
    argv = [str(script), "sync", "up", "--quiet", bench.box.name]
    subprocess.run(argv, cwd=bench.root, env=env, check=True)


def _rsync(bench: Bench, *options: str) -> None:
    ssh = " ".join(["ssh", "-F", str(paths.ssh_config()), *options])
    target = f"{bench.box.alias}:{bench.peer}/"
    subprocess.run(["rsync", "-a", "-e", ssh, f"{bench.root}/", target], check=True)


@contextmanager
def _local(ws: Workspace) -> Iterator[Bench]:
    box = bring_up(ws, "b", BoxSpec())
    there = paths.local_boxes() / box.token / "home"
    try:
        yield Bench(ws, box, ws.spec.root, there / box.workdir, there / "peer", "peer")
    finally:
        ssh_config.forget(box)
        ws.provider("local").terminate(box.handle)


@contextmanager
def _openssh(ws: Workspace, home: Path) -> Iterator[Bench]:
    """The same folders behind sshd. Its login folder is the real home, so the paths are whole."""
    with serve() as server:
        ours, peers = home / "sshd-ours", home / "sshd-peer"
        box = msgspec.structs.replace(
            server.box(), workdir=str(ours), project="bench", spec=encode_box(BoxSpec())
        )
        now = time.time()
        intent = ws.store.boxes.insert(box, "running", {}, now)
        ws.store.boxes.finish(intent, "done", now)
        ssh_config.publish(ws.store.boxes.all)
        try:
            yield Bench(ws, box, ws.spec.root, ours, peers, str(peers))
        finally:
            ssh_config.forget(box)


def _clear(folder: Path) -> None:
    """Empty it, but for devbox.toml."""
    if not folder.is_dir():
        return
    for child in folder.iterdir():
        if child.name == "devbox.toml":
            continue
        if child.is_dir():
            shutil.rmtree(child)
        else:
            child.unlink()
